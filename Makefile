# Lecong: `make` is the whole check, `make run` serves, `make demo` plays July 2015. Set-up happens by itself, once.
# PYTHON chooses the interpreter (3.11 or newer) that the virtual environment is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/uv/bin/uv
SOURCES := engine gateway settlement loadtest tests supervise.py
CORE_TESTS := tests/conformance $(patsubst %,tests/engine/test_%.py,accounts against_reference holds jit market \
  dues match match_reasons money orders owners picks) tests/engine/rules

# The system's certificates, where it has them: a machine behind a proxy of its own is trusted as pip trusts it.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),true,false)

# Running needs the run-time set; where the development set (a superset) is installed, it stays.
RUNTIME := $(if $(wildcard $(VENV)/.dev),$(VENV)/.dev,$(VENV)/.run)

.PHONY: check format format-check lint types imports test coverage bounds crash-test quick run demo bench compile setup setup-dev lock clean

check: format-check lint types imports test

format: $(VENV)/.dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

format-check: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)

lint: $(VENV)/.dev
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.dev
	$(BIN)/mypy $(SOURCES)

imports: $(VENV)/.dev
	$(BIN)/lint-imports

test: $(VENV)/.dev compile
	$(BIN)/python -m pytest -n auto --dist loadfile tests

# Three quarters of an hour of real crashes, longer on a busy machine; CRASH="--only power --cuts 500" chooses.
crash-test: $(VENV)/.dev compile
	@$(BIN)/python -m tests.crash $(CRASH)

# The core's tests with its Python run as it stands, which counts lines and branches: 100 % or it fails.
coverage: $(VENV)/.dev
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --cov=engine.core --cov-fail-under=100 \
	  --cov-report=term-missing:skip-covered $(CORE_TESTS)

# The same tests compiled with every index checked; the first time that takes minutes to compile.
bounds: $(VENV)/.dev
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m engine compile
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest -q -n auto --dist loadfile $(CORE_TESTS)

quick: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow" --ignore=tests/end_to_end tests

run: $(RUNTIME) compile
	@LECONG_LOGON_SECONDS=$${LECONG_LOGON_SECONDS:-60} $(BIN)/python supervise.py  # time to sign by hand

demo: $(RUNTIME) compile
	@$(BIN)/python -m loadtest demo

bench: $(RUNTIME) compile
	@$(BIN)/python -m loadtest bench

compile: $(RUNTIME)
	@$(BIN)/python -m engine compile

setup: $(RUNTIME)
setup-dev: $(VENV)/.dev

$(BIN)/python:
	@echo "set-up 1/3: virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.x" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/.uv: requirements/uv.txt | $(BIN)/python
	@echo "set-up 2/3: uv, the installer"
	@$(PYTHON) -m venv $(VENV)/uv && PIP_USER=0 $(VENV)/uv/bin/python -m pip install --quiet --require-hashes -r $< && touch $@

$(VENV)/.run $(VENV)/.dev: $(VENV)/.%: requirements/%.txt | $(VENV)/.uv
	@echo "set-up 3/3: packages of $<"
	@$(UV) pip sync --python $(BIN)/python --require-hashes $< && touch $@

# Moves every pin to the newest version that the .in files admit.
lock: | $(VENV)/.uv
	for set in uv run dev; do $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate requirements/$$set.in -o requirements/$$set.txt || exit 1; done

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
