# Every task of the project. `make help` lists them.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests run in so many processes, each with servers of its own, a file never in two.
JOBS ?= 2
SPREAD := -n $(JOBS) --dist loadfile
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Those of deploy build a wheel and render manifests: they are for `make test`.
UNIT := tests/unit tests/contract --ignore=tests/contract/deploy

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up check format lint types imports unit test test-pythons bench chaos lock clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}'

$(VENV)/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Tocsin needs Python 3.11 or newer; none was found on PATH." >&2; exit 1; }
	@echo "setting up $(VENV) ($(PYTHON))" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes --no-deps -r requirements.lock >&2
	@$(PIP) install --no-deps --no-build-isolation --editable . >&2
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	@echo "adding the development tools" >&2
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock >&2
	@touch $@

setup: $(VENV)/.ready ## install what running Tocsin needs into .venv
setup-dev: $(VENV)/.ready-dev ## install what developing Tocsin needs into .venv

demo: setup ## play an attack through the whole platform (ARGS="--json --exit")
	@$(BIN)/tocsin demo $(ARGS)

up: setup ## run the platform here, data under .tocsin/
	@$(BIN)/tocsin up $(ARGS)

check: setup-dev format lint types imports unit ## format, lint, types, imports, unit tests

format: setup-dev ## is everything formatted? (make fix mends it)
	@$(BIN)/ruff format --check --quiet .

.PHONY: fix
fix: setup-dev ## format and mend what ruff can mend
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --fix --quiet .

lint: setup-dev ## ruff
	@$(BIN)/ruff check --quiet .

types: setup-dev ## mypy --strict
	@$(BIN)/mypy

imports: setup-dev ## the boundaries between services
	@$(BIN)/lint-imports --no-cache

unit: setup-dev ## tests without I/O
	@$(BIN)/python -m pytest -q $(SPREAD) $(UNIT) $(ARGS)

test: setup-dev ## the whole suite
	@$(BIN)/python -m pytest $(SPREAD) -m 'not benchmark' $(ARGS)

test-pythons: ## unit and integration tests on every Python 3.11 to 3.13 found
	@for v in 3.11 3.12 3.13; do \
	  p=$$(command -v python$$v) && $$p -c '' 2>/dev/null || { echo "python$$v: not installed, skipped"; continue; }; \
	  echo "python$$v"; $(MAKE) --no-print-directory VENV=.venv-$$v PYTHON=$$p unit || exit 1; \
	done

.PHONY: deadlines-full
deadlines-full: setup-dev ## hold 100,000 deadlines against an independent computation
	@TOCSIN_DEADLINE_CLOCKS=100000 $(BIN)/python -m pytest -q tests/unit/notify/test_deadlines_against_dateutil.py

bench: setup-dev ## print the figures of docs/performance.md
	@$(BIN)/python -m pytest -q -s -m benchmark --override-ini=testpaths=tests/benchmarks --timeout=1800 $(ARGS)

chaos: setup-dev ## the heavy doses: 80 kills under load, 2,000 mutations of the log, 1 GiB of evidence
	@TOCSIN_CHAOS_ROUNDS=20 TOCSIN_KILL_ROUNDS=20 TOCSIN_TAMPER_ROUNDS=2000 TOCSIN_EVIDENCE_MIB=1024 $(BIN)/python -m pytest -q -s \
	  tests/system/test_kill_the_log.py tests/system/test_kill_detect.py tests/system/test_kill_paging.py tests/integration/cases/ledger/test_tampering.py \
	  tests/integration/cases/evidence/test_stores.py $(ARGS)

.PHONY: chaos-triage
chaos-triage: setup-dev ## 40 kills each of escalate and PostgreSQL in triage, paging and conversion
	@TOCSIN_TRIAGE_ROUNDS=20 TOCSIN_CONVERSION_ROUNDS=20 TOCSIN_CHAOS_ROUNDS=20 $(BIN)/python -m pytest -q -s \
	  tests/system/test_kill_triage.py tests/system/test_kill_conversion.py tests/system/test_kill_paging.py $(ARGS)

.PHONY: chaos-ingest chaos-power
chaos-ingest: setup-dev ## 50 kills of ingest and NATS while four protocols pour in
	@TOCSIN_INGEST_KILL_ROUNDS=20 $(BIN)/python -m pytest -q -s tests/system/test_kill_ingest.py $(ARGS)

chaos-power: setup-dev ## 5 simulated power cuts (an ext4 image on a loop mount), and a control that must lose
	@TOCSIN_POWER_CUTS=5 $(BIN)/python -m pytest -q -s tests/system/test_power_cut.py $(ARGS)

.PHONY: chaos-notify
chaos-notify: setup-dev ## 60 kills of notify, PostgreSQL and the mail server while 10,000 notices go out
	@TOCSIN_NOTICE_ROUNDS=20 TOCSIN_NOTICE_TENANTS=500 $(BIN)/python -m pytest -q -s tests/system/test_kill_notify.py $(ARGS)

.PHONY: corpus-full
corpus-full: setup-dev ## the plain evaluator on every event of the public attack logs
	@TOCSIN_PLAIN_SHARE=1 $(BIN)/python -m pytest -q tests/conformance/sigma/test_corpus_hits.py $(ARGS)

.PHONY: fuzz
fuzz: setup-dev ## any request to the cases API, many of them (TOCSIN_FUZZ_EXAMPLES, an operation)
	@TOCSIN_FUZZ_EXAMPLES=$${TOCSIN_FUZZ_EXAMPLES:-200} $(BIN)/python -m pytest -q -s \
	  tests/integration/cases/test_any_request.py --timeout=7200 $(ARGS)

.PHONY: fuzz-doors
fuzz-doors: setup-dev ## 100,000 malformed bodies at the doors of ingest
	@TOCSIN_FUZZ=100000 $(BIN)/python -m pytest -q -s tests/integration/ingest/test_fuzz.py $(ARGS)

.PHONY: bench-peers
bench-peers: setup-dev ## install the peers that benchmarks compare with into .venv-bench
	@$(BIN)/uv venv --quiet --allow-existing .venv-bench
	@VIRTUAL_ENV=.venv-bench $(BIN)/uv pip install --quiet --group bench >&2
	@echo "export TOCSIN_BENCH_EVENTSOURCING=$$PWD/.venv-bench/bin/python"
	@echo "export TOCSIN_BENCH_PYSIGMA=$$PWD/.venv-bench/bin/python"

.PHONY: release-contracts docs-settings calendars
calendars: setup-dev ## write the holiday calendars of notify anew
	@$(BIN)/python -m tests.support.holiday_calendars

release-contracts: setup-dev ## write the schemas of new messages (never changes a released one)
	@$(BIN)/python -m tests.contract.test_released_messages

docs-settings: setup-dev ## write the settings tables of docs/operations.md
	@$(BIN)/python -m tests.support.settings_table

lock: setup-dev ## compile the lock files again
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group build pyproject.toml -o requirements.lock $(ARGS)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group build --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock $(ARGS)

clean: ## remove the environments and caches (not .tocsin)
	@rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
