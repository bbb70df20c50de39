# make          what there is to make
# make test     everything is tested, on real engines
# make demo     the whole way of an event on this machine; PA=DIR and FEED=FILE take your own events and holidays
#
# Needs Python >= 3.11 (PYTHON=… names one) and nothing else; everything goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTED := $(VENV)/.installed-test
PYTEST := $(BIN)/python -m pytest -q
LOCK := $(BIN)/uv pip compile --generate-hashes --universal --no-header --no-annotate --quiet
OUTPUT ?= demo-output
SEEDS ?= 100
# Whatever the machine says: what was compiled once need not be compiled again by every program that the tests start.
export PYTHONDONTWRITEBYTECODE :=

# Of the Pythons on the path, the first that is new enough: some systems call an old one python3.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help venv demo test unit laws lint engines seeds bench lock generated clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## install peaktime into .venv

# What is installed is pinned with hashes, where requirements/ has them; the package itself stays where it is.
$(INSTALLED): pyproject.toml $(wildcard requirements/runtime.txt requirements/build.txt)
	@test -n "$(PYTHON)" || { echo "There is no Python >= 3.11 here. Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python cannot make a virtual environment. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing peaktime into $(VENV); this takes a minute, once."
	@if test -f requirements/runtime.txt && test -f requirements/build.txt; then \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
			-r requirements/build.txt -r requirements/runtime.txt && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . ; \
	fi
	@touch $@

demo: $(INSTALLED) ## see the whole way of an event; PA=DIR FEED=FILE for your own
	@$(BIN)/peaktime demo --output "$(OUTPUT)" $(if $(PA),--pa "$(PA)") $(if $(FEED),--feed "$(FEED)")

$(TESTED): $(INSTALLED) requirements/test.txt
	@echo "Installing what the tests need into $(VENV); this takes a minute, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

test: lint unit laws engines ## test everything; builds the engines on first use (3 to 20 minutes, once)
	$(PYTEST) tests/pipeline tests/system -n 2
	$(PYTEST) tests/engines

unit: $(TESTED) ## test what is pure, in seconds
	$(PYTEST) tests/unit -n 2

laws: $(TESTED) ## hold the laws of the core by many more examples than unit does; a minute
	HYPOTHESIS_PROFILE=laws $(PYTEST) tests/unit -m hypothesis -n 2

lint: $(TESTED) ## check style, types, import rules, schemas
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/peaktime schemas check

engines: $(TESTED) ## build or find the engines of the tests
	PYTHONPATH=tests $(BIN)/python -m support.engines build
	PYTHONPATH=tests $(BIN)/python -m support.engines which

seeds: $(TESTED) ## hold the worker against replay on the logs of SEEDS seeds (a hundred; 8 minutes)
	PEAKTIME_SEEDS=$(SEEDS) $(PYTEST) tests/engines/test_replay_seeds.py

bench: $(TESTED) ## measure, on real engines
	PYTHONPATH=tests $(BIN)/python bench/latency.py
	PYTHONPATH=tests $(BIN)/python bench/burst.py
	PYTHONPATH=tests $(BIN)/python bench/scale.py
	$(BIN)/python bench/calendars.py
	$(BIN)/python bench/decoding.py
	PYTHONPATH=tests $(BIN)/python bench/replay.py

generated: $(TESTED) ## write again what is made from other files
	PYTHONPATH=tests $(BIN)/python -m support.generated

lock: $(TESTED) ## pin again what is installed, with hashes and without addresses
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) --group build -o requirements/build.txt
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) pyproject.toml --group test -o requirements/test.txt

clean: ## remove what make made
	rm -rf $(VENV)
	test ! -e "$(OUTPUT)/.peaktime-demo" || rm -rf "$(OUTPUT)"
