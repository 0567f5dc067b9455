# Two commands to remember: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "itemrec needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make a virtual environment here; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 2; }

$(VENV)/.base: pyproject.toml itemrec/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.dev: pyproject.toml itemrec/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.base

$(VENV)/.bench: pyproject.toml itemrec/__init__.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	@touch $@ $(VENV)/.dev $(VENV)/.base

install: $(VENV)/.base ## install itemrec into .venv
	@echo "Installed. In this shell, first: . $(BIN)/activate"

demo: $(VENV)/.base ## install and run the main job: make a catalog, index it, recognize photos
	$(BIN)/itemrec demo

# TESTS=PATH runs a part of them.
TESTS ?=
# The tests start many processes, each of which would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE
# A file stays in one worker, which makes its fixtures once; tests/conftest.py puts what takes long first.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev ## install and run the whole test suite, or a part: make test TESTS=tests/docs
	$(PYTEST) $(TESTS)

test-fast: $(VENV)/.dev ## the tests without trainings, kills, browser and servers
	$(PYTEST) -m 'not (train or kill or browser or server or wheel)' $(TESTS)

# MINUTES=10 is how long.
MINUTES ?= 10
fuzz: $(VENV)/.dev ## damage pictures, tables, indexes and snapshots for a while: make fuzz MINUTES=10
	$(BIN)/python -m tests.faults.fuzz --minutes $(MINUTES)

check: $(VENV)/.dev ## style, types, import contracts, docs: side by side
	@$(MAKE) --no-print-directory -j4 check-style check-types check-imports check-docs

check-style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: $(VENV)/.dev
	$(BIN)/mypy

check-imports: $(VENV)/.dev
	$(BIN)/lint-imports

check-docs: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m 'not (train or server)' tests/docs

hooks: $(VENV)/.dev ## run `make check` before every commit
	$(BIN)/pre-commit install

architecture: $(VENV)/.dev ## draw the picture of the rooms again
	$(BIN)/python docs/pictures/rooms.py

format: $(VENV)/.dev ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

starter-model: $(VENV)/.dev ## make the built-in model again, from the photos in GROCERY=DIR and drawings; resumes
	$(BIN)/python -m trainer.starter $(GROCERY) --out retrieval/starter

bench: $(VENV)/.bench ## measure indexing, cold start, search and metrics beside their peers
	$(BIN)/python benchmarks/indexing.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/encoder.py
	$(BIN)/python benchmarks/cold.py
	$(BIN)/python benchmarks/search.py --sizes 1000,20000,200000
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/switch.py
	PYTHONPATH=. $(BIN)/python benchmarks/server.py

clean: ## remove everything that was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache itemrec-demo

.PHONY: help install demo test test-fast fuzz check check-style check-types check-imports check-docs hooks architecture format starter-model bench clean
