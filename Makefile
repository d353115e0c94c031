# Two commands do all the set-up on a fresh machine: make quickstart, make test. They share one .venv.
# test-lowest and wheel have environments of their own.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := .venv-lowest
# Some of the lowest versions have no wheels for later versions of Python.
PYTHON_LOWEST ?= python3.11
WHEEL := .venv-wheel
PYTEST := -m pytest -n 2 --dist worksteal
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup quickstart test test-quick test-full test-deep test-lowest wheel lint types \
	docs-check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## create or update .venv

quickstart: $(READY)  ## the main job: an ablation on the shipped data, into runs/quickstart/
	$(BIN)/muse-lr ablate examples/quickstart/study.yaml --out runs/quickstart --jobs 2

test: $(READY)  ## the tests: each kind of part twice, short Hypothesis profile
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m "not slow"

test-quick: $(READY)  ## a short selection: each kind of part once, less than 3 minutes
	MUSE_LR_TEST=quick OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

test-full: $(READY)  ## the whole matrix of parts and the slow tests, with coverage
	MUSE_LR_TEST=full OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) --cov=muse_lr --cov-report=term

test-deep: $(READY)  ## the pairwise cover with many drawn structures
	MUSE_LR_TEST=deep OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) tests/model/test_contract.py

test-lowest: $(LOWEST)/.ready  ## the short selection with the lowest versions, core only
	MUSE_LR_TEST=quick OMP_NUM_THREADS=1 $(LOWEST)/bin/python $(PYTEST)

wheel: $(READY) $(WHEEL)/.ready  ## build wheel and sdist; run the example of README.md on the wheel
	rm -rf build dist
	$(BIN)/python -m build
	$(WHEEL)/bin/pip install -q --force-reinstall --no-deps dist/*.whl
	$(WHEEL)/bin/pip check
	$(WHEEL)/bin/muse-lr doctor
	$(WHEEL)/bin/muse-lr info examples/quickstart/config.yaml
	$(WHEEL)/bin/python -m doctest README.md
	OMP_NUM_THREADS=1 $(WHEEL)/bin/muse-lr train examples/quickstart/config.yaml \
	  --set training.epochs=1 --set training.directory=$(CURDIR)/build/bare

lint: $(READY)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy
	$(BIN)/mypy

docs-check: $(READY)  ## generated pages agree with the code; prose of the guides
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/prose.py

clean:  ## remove the environments and build products; runs/ stays
	rm -rf $(VENV) $(LOWEST) $(WHEEL) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

# torch comes first and alone: a plain "torch" in a longer list may pull gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "muse_lr needs Python 3.11 or newer, $$($(PYTHON) --version) is too old:" \
	       "make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q '$(TORCH)'
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	@touch $@

# Without the extra test, which would bring mace-torch and So3krates-torch and their own bounds.
$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON_LOWEST) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/pip install -q '$(TORCH)'
	$(LOWEST)/bin/pip install -q -c constraints-lowest.txt -e . hypothesis mpmath pytest pytest-xdist
	@touch $@

# The dependencies of a bare installation; the wheel itself is installed by the target.
$(WHEEL)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(WHEEL)
	$(WHEEL)/bin/pip install -q '$(TORCH)'
	$(WHEEL)/bin/pip install -q -c constraints.txt .
	@touch $@
