# make demo    the main job, on a server of its own        make check   lint, types, import contracts
# make test    all tests                                   make matrix  them on PostgreSQL 14 to 17
# make soak    the long runs                               make bench   the benchmark tables
# make system  Debian's packages for some tests (root)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three keep two processors busy: tests often wait, for locks and for servers.
JOBS ?= 3
# Further options for pytest, such as PYTEST="-x -k fill".
PYTEST ?=

.DEFAULT_GOAL := test
.PHONY: demo test matrix check soak bench system servers clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("tenantry needs Python 3.11 or newer; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@# Debian's python3 may come without ensurepip: then pip puts itself in.
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,reports,web,dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/tenantry demo

servers: $(VENV)/.test
	@$(BIN)/python tests/fetch_servers.py

# Everything on 18; `make matrix` has the other versions.
test: servers
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --pg 18 $(PYTEST)

# Whatever touches the server's behaviour, on every version from 14 to 17.
matrix: servers
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --pg others -m server $(PYTEST)

check: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: servers
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --soak --timeout 2400 $(PYTEST) tests/soak

bench: $(VENV)/.test
	$(BIN)/python -m bench
	$(BIN)/python -m bench.balances
	$(BIN)/python -m bench.reconciliation
	$(BIN)/python -m bench.validation
	$(BIN)/python -m bench.backups

system:
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "make system: needs root and Debian's apt-get; nothing done"; \
	else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends pgbouncer chromium; fi

clean:
	rm -rf $(VENV) .servers .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
