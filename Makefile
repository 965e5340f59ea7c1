# Every target works on a fresh machine: it makes its own virtual environment first. `make` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Tests run side by side: most of them wait for a deadline, a database or a socket.
JOBS   ?= 3
# The lock must be installable on each of these.
PYTHONS := 3.11 3.12 3.13 3.14

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast fuzz bench bench-reports check fmt lint types arch deb systemd-test lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## make the virtual environment with the locked dependencies

$(VENV)/.ready: requirements.txt requirements-dev.txt pyproject.toml
	@echo "1/3 virtual environment in $(VENV), with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "2/3 $$(grep -c '^[a-z].*==' requirements-dev.txt) locked packages, Postgres and Node among them: takes about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r requirements-dev.txt
	@echo "3/3 ingestor itself, editable"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.ready ## private Postgres, simulated hub, daemon and a live screen; ARGS="--for 20 --json"
	@$(BIN)/ingestor demo $(ARGS)

test: $(VENV)/.ready ## all tests, with a real Postgres and Microsoft's own SignalR client
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

test-fast: $(VENV)/.ready ## the tests that take no more than a few seconds each
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(ARGS)

fuzz: $(VENV)/.ready ## damaged records, decoded in both ways, for a minute; ARGS="--seconds 600"
	$(BIN)/python -m tests.properties.fuzz_decode $(ARGS)

bench: $(VENV)/.ready ## compare the daemon with simpler ways to store the same; ARGS=--quick takes a minute
	$(BIN)/python -m tests.benchmarks $(ARGS)

bench-reports: $(VENV)/.ready ## how fast the reports answer on 10 million rows; takes up to ten minutes
	$(BIN)/python -m tests.benchmarks.reports $(ARGS)

check: lint types arch ## before a commit: lint, types, imports, quick tests with coverage
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" --cov $(ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fmt: $(VENV)/.ready ## format, and fix what is safe to fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.ready
	$(BIN)/mypy

arch: $(VENV)/.ready
	$(BIN)/lint-imports

deb: $(VENV)/.ready ## the Debian package and its bill of materials, in dist/
	$(BIN)/python deploy/debian/build.py $(ARGS)

systemd-test: $(VENV)/.ready ## the package on a real Debian, as root, in four minutes; ARGS="--release trixie"
	$(BIN)/python -m tests.systemd $(ARGS)

lock: $(VENV)/.ready ## resolve the lock files again, and ask whether each Python has wheels for them
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-strip-extras --extra demo --extra files --group dev pyproject.toml -o requirements-dev.txt
	@for python in $(PYTHONS); do \
		for list in requirements.txt requirements-dev.txt; do \
			$(BIN)/uv pip install --quiet --dry-run --python-version $$python --require-hashes --no-deps --only-binary :all: --target build/lock -r $$list || exit 1; \
		done; \
		echo "Python $$python: a wheel for every package"; \
	done

clean: ## remove what can be made again
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis
