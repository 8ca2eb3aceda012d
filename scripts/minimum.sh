#!/usr/bin/env bash
# Makes .venv-minimum with the lowest versions that pyproject.toml's ranges allow, and runs a part of the fast tests in it.
# torch is the one of requirements.txt: a find-links folder or mirror need not hold an older build. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=.venv-minimum
PYTHON=.venv/bin/python
# What touches the libraries: numpy and numba kernels, pydantic, yaml, pyarrow, torch, safetensors, pandas, scipy, typer.
TESTS=(tests/test_config.py tests/test_layers.py tests/data/test_lobster.py tests/data/test_nasdaq10.py
    tests/data/test_recording.py tests/market/test_book_parity.py tests/env/test_contract.py tests/models/test_encoder.py
    tests/models/test_policy.py tests/evaluation/test_statistics.py tests/rl/test_gae.py tests/report/test_plots.py)

say() { printf 'minimum: %s\n' "$*" >&2; }

stamp=$(cat pyproject.toml scripts/minimum.sh | sha256sum)
if [[ ! -f $VENV/.stamp || $(<"$VENV/.stamp") != "$stamp" ]]; then
    say "making $VENV"
    "$PYTHON" -m venv --clear "$VENV"
    source scripts/uv_settings.sh
    grep '^torch==' requirements.txt >"$VENV/constraint.txt"
    VIRTUAL_ENV="$PWD/$VENV" .venv/bin/uv pip install --quiet --resolution lowest-direct \
        --constraint "$VENV/constraint.txt" -e '.[dev]'
    echo "$stamp" >"$VENV/.stamp"
fi
"$VENV/bin/python" -m pip list --disable-pip-version-check 2>/dev/null | grep -iE '^(arch|matplotlib|numba|numpy|pandas|pyarrow|pydantic|pyyaml|rich|safetensors|scipy|statsmodels|tensorboard|torch|torch-geometric|typer) '
OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 "$VENV/bin/python" -m pytest -q "${TESTS[@]}" "$@"
