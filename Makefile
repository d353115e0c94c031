# Two commands do all the set-up on a fresh machine: make quickstart, make test. They share one .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help quickstart test test-full test-deep lint types docs-check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(READY)  ## the main job: an ablation on the shipped data, into runs/quickstart/
	$(BIN)/muse-lr ablate examples/quickstart/study.yaml --out runs/quickstart --jobs 2

test: $(READY)  ## the tests: a pairwise cover, short Hypothesis profile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-full: $(READY)  ## the whole matrix of parts, and the slow tests
	MUSE_LR_TEST=full OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-deep: $(READY)  ## the pairwise cover with many drawn structures
	MUSE_LR_TEST=deep OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/test_contract.py

lint: $(READY)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy
	$(BIN)/mypy

docs-check: $(READY)  ## the generated pages of docs/ are those that the code would generate
	$(BIN)/python docs/generate.py --check

clean:  ## remove the environment and build products; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# torch comes first and alone: a plain "torch" in a longer list may pull gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "muse_lr needs Python 3.11 or newer, $$($(PYTHON) --version) is too old:" \
	       "make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q '$(TORCH)'
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	@touch $@
