# Everything a newcomer needs: `make run` shows it working, `make test` proves it.
PY ?= python3
WORKERS ?= 2
PORT := 8080
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
UV := uv pip install -q --python $(BIN)/python
COMPILE := uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 pyproject.toml

.PHONY: help run up test check lint audit asked bench soak minutes lock
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.ok  ## a demo on real servers: bills, points, a tier, messages, and the proof that nothing is lost
	@$(BIN)/pointbank demo

up: $(VENV)/.ok  ## keep everything running; prints URLs, a token and a curl line; PORT=8081 where 8080 is taken
	@$(BIN)/pointbank up --port $(PORT)

test: $(VENV)/.ok  ## every test, on servers that the tests start themselves; WORKERS=1 for one after the other
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

check: lint asked test  ## what continuous integration runs: format, lint, types, import contracts, SQL, advisories, tests

lint: $(VENV)/.ok  ## check without the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/bandit -q -ll -r services shared pointbank
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >$(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(BIN)/sqlfluff lint --disable-progress-bar --nocolor services shared pointbank

audit: $(VENV)/.ok  ## asks the advisory service about the locks; needs the network. Exit 1: something is known, 3: not proved
	@$(BIN)/python -m deploy.audit

asked: $(VENV)/.ok
	@$(BIN)/python -m deploy.audit || [ $$? = 3 ]

bench: $(VENV)/.ok  ## how fast: the bare rate, the pipe, redemptions; writes bench/latest.json
	@$(BIN)/python -m bench

soak: $(VENV)/.ok  ## faults (POINTBANK_SOAK_RUNS, _PROCESSES, _MINUTES; goes on where it stopped; _SEED=7 replays one), then the model beside the bank (_ACTS)
	@$(BIN)/python -m tests.soak
	@$(BIN)/python -m pytest -q -m soak

minutes: $(VENV)/.ok  ## the faults of minutes: a transaction idle for ten, a relay frozen for two to three; about 15 in all
	@$(BIN)/python -m tests.soak --minutes

lock:  ## renew the locks (needs uv); no registry host is written
	@command -v uv >/dev/null 2>&1 || { echo 'hint: $(PY) -m pip install uv'; exit 1; }
	@$(COMPILE) -o requirements.lock
	@$(COMPILE) --extra otel -c requirements.lock -o requirements-otel.lock
	@$(COMPILE) --extra otel --group dev -c requirements-otel.lock -o requirements-dev.lock

$(VENV)/.ok: requirements-dev.lock pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; try: make PY=python3.12")'
	@$(PY) -c 'import sys; sys.version_info < (3, 14) or print("Python 3.14 and later were not tried. Should it fail: make PY=python3.13", file=sys.stderr)'
	@echo 'Installing into $(VENV): this needs the network, and takes some minutes the first time ...' >&2
	@if command -v uv >/dev/null 2>&1 && uv venv -q --allow-existing --python "$(PY)" $(VENV) \
	    && $(UV) --require-hashes -r requirements-dev.lock && $(UV) --no-build-isolation --no-deps -e .; then :; \
	else \
	  { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PY) -m venv --clear $(VENV); } \
	    || { echo 'hint: sudo apt-get install python3-venv'; exit 1; }; \
	  $(PIP) --require-hashes -r requirements-dev.lock && $(PIP) --no-build-isolation --no-deps -e .; \
	fi
	@touch $@
