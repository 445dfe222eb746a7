# Every command of the project. `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --group libraries -e '.[local]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Make the virtual environment with everything the tests use

.PHONY: demo
demo: setup ## The main job: the example shop, traced, on the embedded receiver (ARGS=--exit ends by itself)
	$(BIN)/python examples/shop/demo.py $(ARGS)

.PHONY: test
test: setup ## Run all tests
	$(BIN)/python -m pytest -n 2 -m 'not timing' $(ARGS)
	$(BIN)/python -m pytest -p no:randomly -m timing $(ARGS)

.PHONY: coverage
coverage: setup ## Branch coverage of the parts that must be whole (100 %)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q -m 'not timing' tests/unit tests/faults tests/contract
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --show-missing --fail-under=100 \
	  --include='*/apm_run/guard.py,*/apm_run/instrument/*,*/apm_run/tracer/*,*/apm_run/intake/*,*/apm_run/export/outbox.py,*/apm_run/export/segment.py,*/apm_run/export/open_records.py'

.PHONY: lint
lint: setup ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .

.PHONY: docs
docs: setup ## Write the generated reference pages anew
	$(BIN)/python -m docs.generate

.PHONY: check
check: lint ## All static checks: lint, generated docs up to date, wheel contents
	$(BIN)/python -m pytest -q -n 0 tests/docs

SERVICES := .venv-services
$(SERVICES)/.ready: pyproject.toml
	$(PYTHON) -m venv $(SERVICES)
	$(SERVICES)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(SERVICES)/bin/python -m pip install --quiet --disable-pip-version-check --group services
	@touch $@

.PHONY: services
services: $(SERVICES)/.ready ## The servers of `make integration` that come as packages, in an environment of their own

.PHONY: integration
integration: setup services ## Tests against real services
	$(BIN)/python -m pytest integration $(ARGS)

.PHONY: integration-full
integration-full: setup services ## The libraries' tests with many releases; writes docs/reference/tested-versions.md (ARGS="redis")
	$(BIN)/python integration/library_versions.py $(ARGS)

.PHONY: transparency
transparency: setup ## CPython's own test suite, bare and traced: no outcome may change (ARGS="--python 3.13")
	$(BIN)/python integration/transparency.py $(ARGS)

.PHONY: suites
suites: setup ## The libraries' own test suites, bare and traced; writes docs/reference/suites.md (ARGS="flask --work DIR")
	$(BIN)/python integration/suites.py $(ARGS)

.PHONY: launch
launch: setup ## All ways to start, end and serve, on every CPython found; writes docs/reference/launch-matrix.md (ARGS="--part ends")
	$(BIN)/python integration/launch_matrix.py $(ARGS)

.PHONY: delivery
delivery: setup ## Outages, kills, forks, a soak: what arrives; writes docs/reference/delivery.md (ARGS="--case kills")
	$(BIN)/python integration/delivery.py $(ARGS)

.PHONY: soak
soak: setup ## A million calls, bare and traced: memory stays as it is; writes docs/reference/memory.md (ARGS="redis --calls 100000")
	$(BIN)/python integration/soak.py $(ARGS)

.PHONY: bench
bench: setup ## What each agent adds, side by side; writes docs/reference/performance.md (ARGS="--only start --agents apm-run")
	$(BIN)/python benchmarks/compare.py $(ARGS)

.PHONY: clean
clean: ## Remove what the build made
	rm -rf build dist .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
