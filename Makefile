# `make` alone lists the targets. `make demo` and `make test` each do all their set-up.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
# What a developer sets to keep folders clean makes every process of the tests compile this package again.
unexport PYTHONDONTWRITEBYTECODE
# Words for pytest, e.g. make test ARGS="tests/store -k claim"
ARGS ?=
# Worker processes of pytest; each has database servers of its own. One more than processors: tests wait, too.
JOBS ?= $(shell expr $$(nproc) + 1)

.PHONY: help setup-system venv test check format demo schemas docs lock bench chaos-schedule chaos-ssh soak clean

help: ## list the targets
	@awk 'BEGIN {FS = ":[^#]*## "} /^[a-z%-]+:[^#]*## / {sub(/%/, "NAME", $$1); printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: ## build .venv with everything and the program in it (.venv/bin/reconciler)
	@scripts/venv.sh

setup-system: ## install what the tests talk to: MariaDB, Redis, sshd, git (apt; starts no service)
	@scripts/setup-system.sh services

demo: venv ## plan, apply and run a small fleet here for about 20 seconds
	@scripts/setup-system.sh demo
	@scripts/demo.sh

test: setup-system venv ## run all tests with the real services (CI=true: a missing one is a failure)
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

check: venv ## format, lint, types, import contracts and generated schemas; all of them, then what failed
	@scripts/check.sh

format: venv ## rewrite the code in the house style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

schemas: venv ## write schemas/ from the models
	$(BIN)/reconciler schema

docs: venv ## write docs/manifest.md from the models
	@PYTHONPATH=. $(BIN)/python scripts/manifest_reference.py

chaos-schedule: venv ## kill schedulers and their database for SECONDS=180, prove the ledger (SEED=, DATABASE=mysql)
	@$(BIN)/python -m tests.chaos.schedule --seconds $(or $(SECONDS),180) $(if $(SEED),--seed $(SEED)) --database $(or $(DATABASE),mariadb)

chaos-ssh: venv ## kill controllers and workers, cut connections for SECONDS=300, prove that each command ran once, whole (SEED=)
	@RECONCILER_CHAOS_SECONDS=$(or $(SECONDS),300) RECONCILER_CHAOS_SEED=$(SEED) $(BIN)/pytest -n 0 -q -s tests/acceptance/test_chaos_ssh.py

soak: venv ## controllers on git for SECONDS=600 while everything breaks, then compare the world (SEED=)
	@$(BIN)/python -m tests.chaos.soak --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

bench: venv ## run every benchmark beside its peers (tables, and JSON in bench/results/)
	@scripts/bench.sh

bench-%: venv ## run bench/NAME.py only
	@scripts/bench.sh "$*"

lock: ## choose new versions and write the requirements files with their hashes (needs uv)
	@scripts/lock.sh

clean: ## remove what the other targets made
	rm -rf .venv .tests .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench/results dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
