# One entry for every check and tool; `make help` lists them. Nothing outside .venv is touched.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
ARGS ?=
MINUTES ?= 10
SERVERS ?= 3
WORKERS ?= 4
SEED ?=
SEEDS ?= 500
PROGRAMS ?= 100
JOBS ?= $(shell nproc)
BIN := .venv/bin
READY := .venv/.ready
PLOTS := .venv/plots/.ready
SOURCES := proto sdk worker server tests docs

# pyright comes with the pins; asking whether a newer one exists would need a network.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test check fmt fmt-check lint types arch tidy faults overload simulate differential bench bench-peers bench-growth docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with pinned versions (PYTHON=python3.12 chooses another Python); instant the second time

# The build backend is installed first, from the pins, so that a second run needs no network.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "perdure needs Python 3.11 or newer: make setup PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling editables
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(READY) ## run the orders example on an embedded Postgres
	@$(BIN)/python docs/examples/orders/demo.py $(ARGS)

test: $(READY) ## run the tests (ARGS="-k name" chooses some)
	@$(BIN)/python -m pytest tests --ignore tests/browser $(ARGS)

check: fmt-check lint types arch tidy test ## everything that must hold before a merge

fmt: $(READY) ## format, and mend what lint can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

fmt-check: $(READY) ## fail on what fmt would change
	@$(BIN)/ruff format --check .

lint: $(READY) ## ruff, every rule that has no reason against it
	@$(BIN)/ruff check .

types: $(READY) ## mypy on everything, pyright on what users see
	@$(BIN)/mypy
	@$(BIN)/pyright
	@PYTHONPATH=$(CURDIR)/sdk:$(CURDIR)/proto:$(CURDIR)/worker:$(CURDIR)/server:$$($(BIN)/python -c \
	'import sysconfig; print(sysconfig.get_path("purelib"))') $(BIN)/pyright --verifytypes perdure --ignoreexternal

arch: $(READY) ## who may import whom
	@$(BIN)/lint-imports --no-cache

tidy: $(READY) ## limits on files, functions and names
	@$(BIN)/python -m pytest tests/tidy --quiet $(ARGS)

faults: $(READY) ## real processes under faults (MINUTES=10 SERVERS=3 WORKERS=4 SEED=… ARGS=--write)
	@$(BIN)/python -m tests.faults --minutes $(MINUTES) --servers $(SERVERS) --workers $(WORKERS) \
	$(if $(SEED),--seed $(SEED)) $(ARGS)

overload: $(READY) ## 10,000 idle connections, 1,000 pollers, a burst on a stalled Postgres, measured
	@$(BIN)/python -m tests.integration.overload

simulate: $(READY) ## run simulated worlds with faults (SEEDS=500, or a..b; JOBS=processes; ARGS=--trace …)
	@$(BIN)/python -m tests.simulation $(SEEDS) --jobs $(JOBS) $(ARGS)

differential: $(READY) ## run random programs on several sides and compare (PROGRAMS=100 SEED=first ARGS="--side …")
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.differential $(PROGRAMS) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(READY) ## measure (ARGS chooses what)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-peers: $(READY) ## measure DBOS and Restate beside perdure (ARGS=--quick: a little of it)
	@$(BIN)/python -m tests.benchmarks.peers $(ARGS)

# Only the page has plots. What draws them stays out of the packages of .venv: no pin and no type check knows it.
bench-growth: $(READY) $(if $(findstring --write,$(ARGS)),$(PLOTS)) ## measure how cost grows (ARGS=--write draws it)
	@$(BIN)/python -m tests.benchmarks.growth $(ARGS)

$(PLOTS): tests/benchmarks/growth/requirements.txt $(READY)
	@$(BIN)/python -m pip install --quiet --upgrade --target $(@D) --constraint constraints.txt --requirement $<
	@touch $@

docs: $(READY) ## write the generated pages of the reference
	@$(BIN)/python docs/generate.py $(ARGS)

lock: $(READY) ## write constraints.txt from .venv
	@{ sed '/^[^#]/,$$d' constraints.txt; \
	   $(BIN)/python -m pip freeze --exclude-editable | sed '/^#/d' | LC_ALL=C sort --ignore-case; } > .venv/pins
	@mv .venv/pins constraints.txt

clean: ## remove what the tools leave behind, .venv excepted
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
