# make demo     the main job, on a server of its own
# make example  a service of three organisations on a server of its own; prints what to ask it
# make check    lint, types, import contracts
# make unit     the tests that need no server, in seconds
# make test     every test but those marked `nightly` or `soak`, on PostgreSQL 18
# make matrix   those that touch how a server behaves (marked `server`): on 14 all of them, and on 15, 16 and 17 those
#               marked `differs`, whose outcome may differ there
# make soak     the long tests, on 18: those of tests/soak, and those marked `soak`; those marked `server`, too, on 14 to 17
# make applications  the suites of two real applications, Tryton's stock module and django-oscar, before our enforce and after
#               it, on 18; the tests of django-oscar are in its repository only: OSCAR=… takes them from another one
# make citus    the phase distribute on a Citus cluster: TENANTRY_CITUS_DSN names a database of its coordinator, in which
#               a superuser has made the extension and added two workers
# make newest   the application's tests on a newer Python than ours, and so on the newest Django: NEWEST=… is that Python,
#               3.12 or newer
# make nightly  every test on each version from 14 to 18, those of acceptance once more as an operator with few rights, on
#               databases of a hostile owner, the long ones, and those of real applications
# make bench    the benchmark tables
# make docs     the documentation as pages that need no network, in dist/docs
# make system   Debian's packages for some tests (root)
# .ci/run       system, check, test and matrix; a test that is skipped fails it

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three keep two processors busy: tests often wait, for locks and for servers.
JOBS ?= 3
# Bytecode is kept, whatever the environment says: workers, and programs that tests start, would compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE
# Further options for pytest, such as PYTEST="-x -k fill".
PYTEST ?=

.DEFAULT_GOAL := test
.PHONY: demo unit test matrix nightly newest citus applications check soak bench docs system servers clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("tenantry needs Python 3.11 or newer; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@# Debian's python3 may come without ensurepip: then pip puts itself in.
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml application/pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[embedded,reports,web,dev]' --editable './application[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/tenantry demo

$(VENV)/.example: $(BIN)/python pyproject.toml application/pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[embedded]' --editable './application[example]'
	@touch $@

# EXAMPLE="--port 8080 --folder kept" for another port, and a folder that stays.
example: $(VENV)/.example
	$(BIN)/python examples/enterprise/run.py $(EXAMPLE)

servers: $(VENV)/.test
	@$(BIN)/python tests/fetch_servers.py

RUN := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
# The distribution that applications install, which has its own pyproject.toml.
APPLICATION := cd application && ../$(RUN)
SOAK := $(RUN) --soak --timeout 2400 $(patsubst %,--pg %,14 15 16 17 18)

unit: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 tests/unit $(PYTEST)

# Everything on 18; `make matrix` has the other versions.
test: servers
	$(RUN) --pg 18 $(PYTEST)
	$(APPLICATION) --pg 18 $(PYTEST)

# What differs between versions is what src asks the version for, what SQL brought in between, and in any case a whole
# cycle of each preset, the menagerie and the attacks on isolation; tests/test_versions.py holds the marks to it.
matrix: servers
	$(RUN) --pg matrix -m server $(PYTEST)
	$(APPLICATION) --pg 14 -m server $(PYTEST)

check: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	cd application && ../$(BIN)/mypy
	$(BIN)/lint-imports

soak: servers
	$(SOAK) $(PYTEST)

# What the applications need, each at one version, in an environment of their own.
APPLICATIONS := .venv-applications
OSCAR ?= https://github.com/django-oscar/django-oscar.git
OSCAR_COMMIT := cdbfc4412c87dd9037d62b04755780b76490373c

$(APPLICATIONS)/.installed: tests/applications/requirements.txt
	$(PYTHON) -m venv --clear $(APPLICATIONS) 2>/dev/null || { \
	  $(PYTHON) -m venv --clear --without-pip $(APPLICATIONS) && \
	  $(PYTHON) -m pip --python $(APPLICATIONS)/bin/python install --quiet pip; }
	$(APPLICATIONS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Where it cannot be had, the test of it says so, and the other one runs.
$(APPLICATIONS)/django-oscar: $(APPLICATIONS)/.installed
	@rm -rf $@.part $@ && git init --quiet $@.part && cd $@.part && \
	  git fetch --quiet --depth 1 "$(OSCAR)" $(OSCAR_COMMIT) && git checkout --quiet FETCH_HEAD -- tests && \
	  mv ../$(notdir $@).part ../$(notdir $@) || rm -rf ../$(notdir $@).part

applications: servers $(APPLICATIONS)/django-oscar
	$(BIN)/python -m pytest -n 0 --applications --timeout 7200 tests/applications $(PYTEST)

# Django wants a newer Python than we do: its releases from 6.0 are tried where there is one.
NEWEST ?= $(shell for python in python3.14 python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[2-9]*/bin/python); do \
  $$python -c "" 2>/dev/null && echo $$python && break; done)
NEWER := .venv-newest

$(NEWER)/.installed: pyproject.toml application/pyproject.toml
	@test -n "$(NEWEST)" || { echo "make newest: no Python from 3.12 on is here; NEWEST=… names one"; exit 1; }
	$(NEWEST) -m venv --clear $(NEWER)
	$(NEWER)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[embedded]' --editable './application[dev]' hypothesis psutil
	@touch $@

citus: $(VENV)/.test
	@test -n "$(TENANTRY_CITUS_DSN)" || { echo "make citus: TENANTRY_CITUS_DSN names no database of a Citus coordinator"; exit 1; }
	$(BIN)/python -m pytest -n 0 --pg 18 -s tests/citus $(PYTEST)

newest: servers $(NEWER)/.installed
	cd application && ../$(NEWER)/bin/python -m pytest -n $(JOBS) --dist worksteal --pg 18 $(PYTEST)

# All parts, whatever becomes of the first. The last one is no $(MAKE): `make -n` would run all of the line.
nightly: servers
	@status=0; \
	$(RUN) --pg all $(PYTEST) || status=$$?; \
	for pg in 14 15 16 17; do ($(APPLICATION) --pg $$pg --nightly $(PYTEST)) || status=$$?; done; \
	(export TENANTRY_APP_REQUESTS=10000; $(APPLICATION) --pg 18 --nightly $(PYTEST)) || status=$$?; \
	$(RUN) --pg all --operator tests/acceptance $(PYTEST) || status=$$?; \
	$(SOAK) $(PYTEST) || status=$$?; \
	make applications || status=$$?; \
	if [ -n "$(NEWEST)" ]; then make newest || status=$$?; \
	else echo "left out: the newest Django, since no Python from 3.12 on is here"; fi; \
	exit $$status

# What tenantry-app races against, each at one version, in an environment of its own.
BENCH := .venv-bench
$(BENCH)/.installed: bench/requirements.txt pyproject.toml application/pyproject.toml
	$(PYTHON) -m venv --clear $(BENCH) 2>/dev/null || { \
	  $(PYTHON) -m venv --clear --without-pip $(BENCH) && \
	  $(PYTHON) -m pip --python $(BENCH)/bin/python install --quiet pip; }
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[embedded]' --editable './application[dev]' --requirement $<
	@touch $@

bench: $(VENV)/.test $(BENCH)/.installed
	$(BIN)/python -m bench
	$(BIN)/python -m bench.balances
	$(BIN)/python -m bench.reconciliation
	$(BIN)/python -m bench.validation
	$(BIN)/python -m bench.backups
	$(BIN)/python -m bench.large
	PYTHONPATH=.:tests:tests/integration $(BENCH)/bin/python -m bench.application
	$(BIN)/python -m bench.requests

$(VENV)/.docs: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

# A warning fails it.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

system:
	@if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "make system: needs root and Debian's apt-get; nothing done"; \
	else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends pgbouncer redis-server chromium; fi

clean:
	rm -rf $(VENV) $(APPLICATIONS) $(BENCH) $(NEWER) .servers .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
