# Every target sets itself up from nothing: Python 3.11 or newer, make and pip are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := semconv cli warehouse tests benchmarks hatch_build.py

.PHONY: help demo test test-slow test-services check format docs bench clean

help:
	@echo "make demo       see everything run on generated data, in ./demo"
	@echo "make test       checks and tests;  make test-slow  the tests that take minutes"
	@echo "make test-services  Feast on Redis and PostgreSQL, which it installs from the system's packages (root)"
	@echo "make check      lint, types, import contracts, documentation"
	@echo "make bench      small benchmarks, JSON into benchmarks/results"
	@echo "make docs       write the generated documentation pages;  make format  format the code"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("semconv needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/semconv demo demo

check: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m semconv_cli.reference docs --check

# One thread a library: small tensors, and two test processes side by side stay fair.
test test-slow: export OMP_NUM_THREADS ?= 1

# Files go to two processes whole, since their tests share what is costly to make.
test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,ray]'
	$(BIN)/python -m pytest -m slow

# The servers run as long as the tests, on free ports of the loopback address, with data in temporary folders.
test-services: export OMP_NUM_THREADS ?= 1
test-services: $(STAMP)
	command -v redis-server && ls /usr/lib/postgresql/*/bin/initdb || \
		{ apt-get update && RUNLEVEL=1 apt-get install -y --no-install-recommends redis-server postgresql; } # 1: start no daemon
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,redis,postgres]'
	$(BIN)/python -m pytest -m services

bench: $(STAMP)
	$(BIN)/python -m benchmarks --size small --output benchmarks/results

docs: $(STAMP)
	$(BIN)/python -m semconv_cli.reference docs

format: $(STAMP)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
