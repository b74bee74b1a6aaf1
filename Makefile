# Every target sets itself up: it needs python3 (>= 3.11, with venv), make and the package registries. Nothing else.
# Processes that tests, soak and demo start find our modules compiled: without, each of hundreds compiles them again.
export PYTHONDONTWRITEBYTECODE =
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help venv demo test soak lint format types bench lock cassettes clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Mikomi needs Python 3.11 or newer; try: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "python3 has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {p = 1} p {print} p && !/\\$$/ {exit}' requirements-dev.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements-dev.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

venv: $(STAMP) ## set up .venv and nothing else

demo: $(STAMP) ## both CRMs emulated, 2,000 people, from doctor to a sync that survives being killed
	@$(BIN)/mikomi demo

test: $(STAMP) ## the whole test suite
	@$(BIN)/python -m pytest -n $$($(BIN)/python -c 'import os; print((os.cpu_count() or 2) + 1)') --dist loadgroup

soak: $(STAMP) ## 1,000 histories and 60 process runs of faults on both databases, held against I1-I14
	@$(BIN)/python -m tests.simulation.soak $(SOAK)

lint: $(STAMP) ## style, format, strict types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP) ## put the code into the house format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

bench: $(STAMP) ## the figures of the README, measured here
	@$(BIN)/python -m bench

cassettes: $(STAMP) ## record the cassettes again (a real org if its credentials are in the environment, else the sandbox)
	@$(BIN)/python -m tests.cassettes_record

lock: ## resolve the dependencies anew into the two hash-pinned files
	@$(BIN)/uv pip compile --upgrade --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --upgrade --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## remove what the other targets made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
