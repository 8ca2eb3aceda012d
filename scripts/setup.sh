#!/usr/bin/env bash
# Makes .venv and installs requirements.txt and this package into it; does nothing when that is already done.
# "Done" is a stamp, written last, holding a hash of the inputs: an interrupted run is simply run again.
# PYTHON=/path/to/python chooses the interpreter. Package sources set up for pip (find-links, index) are used.
# EXTRAS=cuda (or more of the package's extras, comma separated) installs these too, with the pins of
# requirements-<extra>.txt. Asking for other extras than last time installs again.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.8
VENV=.venv
STAMP=$VENV/.setup-stamp
EXTRAS=${EXTRAS:-}
EXTRAS=${EXTRAS// /}
pins=(requirements.txt)
for extra in ${EXTRAS//,/ }; do
    [[ ! -f requirements-$extra.txt ]] || pins+=("requirements-$extra.txt")
done

say() { printf 'setup: %s\n' "$*" >&2; }

# Prints the interpreter to use: $PYTHON, else the first on the PATH that runs, is 3.11 to 3.14 and can make venvs.
find_python() {
    local check='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if "$candidate" -c "$check" >/dev/null 2>&1; then
            command -v "$candidate"
            return
        elif [[ $candidate == "${PYTHON:-}" ]]; then
            say "PYTHON=$PYTHON is not a Python 3.11 to 3.14 with venv and ensurepip"
            return 1
        fi
    done
    say "no Python 3.11 to 3.14 with venv and ensurepip on the PATH; install one (Debian, Ubuntu:"
    say "apt install python3 python3-venv; macOS: brew install python@3.13) or name it with PYTHON=/path/to/python"
    return 1
}

# Hash of all an installation depends on: pins, extras, the package's metadata, this script, the place, the Python.
fingerprint() {
    "$1" - "$PWD" "$EXTRAS" "${pins[@]}" pyproject.toml scripts/setup.sh <<'PY'
import hashlib, pathlib, sys

parts = [sys.version, *sys.argv[1:3], *(pathlib.Path(name).read_text() for name in sys.argv[3:])]
print(hashlib.sha256("\0".join(parts).encode()).hexdigest())
PY
}

# Stops at an extra that pyproject.toml does not have (pip would only warn).
check_extras() {
    "$VENV/bin/python" - "$EXTRAS" <<'PY'
import pathlib, sys, tomllib

known = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
for extra in filter(None, sys.argv[1].split(",")):
    if extra not in known:
        sys.exit(f"setup: EXTRAS={extra}: no such extra; there are {', '.join(known)}")
PY
}

install_with_uv() {
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check "uv==$UV_VERSION" || return
    source scripts/uv_settings.sh
    VIRTUAL_ENV="$PWD/$VENV" "$VENV/bin/uv" pip install --quiet "${wanted[@]}"
}

install_with_pip() {
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "${wanted[@]}"
}

if [[ -f $STAMP && -x $VENV/bin/python ]] && [[ $(<"$STAMP") == "$(fingerprint "$VENV/bin/python")" ]]; then
    exit 0
fi

rm -f "$STAMP"
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "making $VENV with $("$python" --version) ($python)"
    "$python" -m venv --clear "$VENV"
fi
check_extras
wanted=("${pins[@]/#/-r}" -e ".${EXTRAS:+[$EXTRAS]}")
say "installing ${pins[*]} and lobgraph (a few minutes the first time)"
if ! install_with_uv; then
    say "uv could not install; trying pip"
    install_with_pip
fi
fingerprint "$VENV/bin/python" >"$STAMP.new"
mv "$STAMP.new" "$STAMP"
say "done"
