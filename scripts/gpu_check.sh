#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: installs what is missing beside the torch that is there, checks bit parity, measures.
#   PYTHON=python3            an interpreter with a CUDA build of torch
#   WHEELS=folder             wheels of what is missing, for a machine without a network (others come from pip's index)
#   JAXMARL=checkout          also runs the side by side with it; JAXMARL_PYTHON=its interpreter (default PYTHON)
#   OUT=folder                where the JSON files go, default artifacts/gpu
#   STEPS="tests bench tune"  which parts, in that order; BENCH=--quick for fewer cases
#   LAYOUTS="mixed env_major env_last"  which layouts to compile for, all kernels at once on as many cores, before the parts
# Packages go to $OUT/site, so that nothing of the machine is changed. A part that fails does not keep the others from running.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-artifacts/gpu}
STEPS=${STEPS:-tests bench tune}
mkdir -p "$OUT"
SITE=$(cd "$OUT" && pwd)/site
export PYTHONPATH="$PWD/src:$SITE${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

say() { printf 'gpu_check: %s\n' "$*"; }

# Prints the packages that the check needs and this Python cannot import.
missing() {
    "$PYTHON" - <<'PY'
from importlib.util import find_spec

needed = {
    "arch": "arch", "matplotlib": "matplotlib", "numba": "numba", "numba_cuda": "numba-cuda", "numpy": "numpy",
    "pandas": "pandas", "pyarrow": "pyarrow", "pydantic": "pydantic", "yaml": "pyyaml", "rich": "rich",
    "safetensors": "safetensors", "scipy": "scipy", "statsmodels": "statsmodels", "tensorboard": "tensorboard",
    "torch_geometric": "torch-geometric", "typer": "typer", "pytest": "pytest", "hypothesis": "hypothesis",
}  # fmt: skip
print(*(package for module, package in needed.items() if find_spec(module) is None))
PY
}

"$PYTHON" -c 'import torch; assert torch.cuda.is_available(), "torch finds no GPU"; print(torch.__version__, torch.cuda.get_device_name())'
if [[ -n ${WHEELS:-} ]]; then # every wheel of the folder, without what it needs: they are complete, or there already
    say "installing the wheels of $WHEELS"
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$SITE" "$WHEELS"/*.whl
fi
# numba finds numba-cuda by a .pth file, which Python reads in folders of packages only: SITE is made one.
mkdir -p "$SITE"
printf 'import site\n\nsite.addsitedir(%s)\n' "'$SITE'" >"$SITE/sitecustomize.py"
lacking=$(missing)
if [[ -n $lacking ]]; then
    say "installing $lacking"
    [[ -z ${WHEELS:-} ]] || { say "not in $WHEELS: $lacking"; exit 1; }
    # --no-deps: the torch and numpy that are there stay; a second round finds what these need
    "$PYTHON" -m pip install -q --target "$SITE" --no-deps $lacking
fi
"$PYTHON" -c 'import numba, numba_cuda; from lobgraph.env.placement import device_of; print("numba", numba.__version__, "numba-cuda", numba_cuda.__version__, device_of("cuda"))'

begun=$SECONDS
failed=()
run() { # name, command: a part that fails does not keep the others from running
    local name=$1
    shift
    if "$@"; then
        say "$name done after $((SECONDS - begun)) s"
    else
        say "$name FAILED after $((SECONDS - begun)) s"
        failed+=("$name")
    fi
}
run compile "$PYTHON" scripts/warm_gpu.py --layouts ${LAYOUTS:-mixed env_major env_last}
for part in $STEPS; do
    case $part in
    tests) run tests "$PYTHON" -m pytest -m gpu -q tests ;;
    bench) run bench "$PYTHON" -m lobgraph bench --device cuda ${BENCH:-} --json "$OUT/bench.json" ;;
    tune) run tune "$PYTHON" -m lobgraph bench --device cuda --tune --quick --json "$OUT/tune.json" ;;
    *) say "no such part: $part" && exit 2 ;;
    esac
done
if [[ -n ${JAXMARL:-} ]]; then
    run "side by side" "$PYTHON" scripts/bench_gpu_vs_jaxmarl.py --jaxmarl "$JAXMARL" \
        --python "${JAXMARL_PYTHON:-$PYTHON}" --device cuda --json "$OUT/jaxmarl.json"
fi
say "figures in $OUT"
if ((${#failed[@]})); then
    say "failed: ${failed[*]}"
    exit 1
fi
