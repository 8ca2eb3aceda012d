#!/usr/bin/env bash
# Asks pip-audit's database about every pinned version. Exceptions stand here, each with its reason: --ignore-vuln ID.
# A package that the database does not know is not audited, which is an error too: silence is not a clean bill.
set -euo pipefail
cd "$(dirname "$0")/.."

EXCEPTIONS=() # none so far

.venv/bin/python -m pip install --quiet --disable-pip-version-check --target .venv/audit 'pip-audit>=2.9'
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
# the name without extras and without a build's local version, which no database has
cat requirements*.txt | sed -nE 's/^([A-Za-z0-9_.-]+)(\[[^]]*\])?==([^ +;]+).*/\1==\3/p' | sort -u >"$pins"
PYTHONPATH=.venv/audit .venv/bin/python -m pip_audit --strict --no-deps --disable-pip --progress-spinner off \
    -r "$pins" "${EXCEPTIONS[@]}" "$@"
