# Every target first runs scripts/setup.sh, which returns at once when .venv is up to date.
# Variables: PYTHON (interpreter for .venv), EXTRAS (extras of the package to install too: EXTRAS=cuda make test),
# ARGS (passed on to pytest, the demo or the benchmark).
SHELL := /bin/bash
PY := .venv/bin/python
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-minimum lint format bench docs fuzz gpu lock licences audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv and install everything into it
	@./scripts/setup.sh

demo: setup ## train makers and an arbitrageur on several books (6 minutes of one core), print table and figures
	@$(PY) scripts/run_multi_asset_gnn.py $(ARGS)

test: setup ## the fast tests (ARGS="-k book" and the like go to pytest)
	@$(ONE_THREAD) $(PY) -m pytest $(ARGS)

test-slow: setup ## the slow tests: long random streams, full data files; then test-minimum
	@$(ONE_THREAD) $(PY) -m pytest -m "slow and not gpu" $(ARGS)
	@./scripts/minimum.sh

test-minimum: setup ## a part of the tests with the lowest versions that pyproject.toml allows, in .venv-minimum
	@./scripts/minimum.sh $(ARGS)

lint: setup ## ruff (rules and format) and pyright
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m pyright

format: setup ## let ruff format and fix
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: setup ## events and steps per second (ARGS="--quick", ARGS="--json bench.json")
	@$(PY) -m lobgraph bench $(ARGS)

docs: ## build the site of the documentation into site/, strictly; its notebook is executed
	@EXTRAS="$${EXTRAS:-docs}" ./scripts/setup.sh
	@$(ONE_THREAD) NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet --clean
	@echo "docs: site/index.html"

fuzz: setup ## engine against exchange, damaged files against the readers (ARGS="--minutes 10 --seed 1")
	@$(ONE_THREAD) $(PY) -m lobgraph fuzz $(ARGS)

lock: setup ## requirements.lock: the pins with their hashes, for CI
	@./scripts/lock.sh

licences: setup ## docs/licences.md, from the installed packages
	@$(PY) scripts/supply/licences.py

audit: setup ## known vulnerabilities of the pinned versions; asks a database on the network
	@./scripts/audit.sh

gpu: ## on a machine with a GPU: parity with the CPU, then speed (see scripts/gpu_check.sh for WHEELS, PYTHON, JAXMARL)
	@./scripts/gpu_check.sh

clean: ## remove .venv and caches; runs in artifacts/ stay
	rm -rf .venv .venv-minimum site .pytest_cache .ruff_cache .hypothesis build dist
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
