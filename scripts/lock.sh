#!/usr/bin/env bash
# Writes requirements.lock: requirements.txt with the hash of every file that may be installed for a pin, for CI.
# torch is left out: it comes as a build for the machine (CPU or a CUDA version) from wherever that is kept, with another
# hash each. To install by it: pip install --require-hashes --no-deps -r requirements.lock, then torch and the package.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/uv_settings.sh

.venv/bin/uv pip compile --quiet --no-deps --generate-hashes --no-emit-package torch --no-header --no-annotate \
    requirements.txt -o requirements.lock.new >/dev/null
mv requirements.lock.new requirements.lock
printf 'written: requirements.lock, %s packages\n' "$(grep -c '==' requirements.lock)"
