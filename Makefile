# `make` lists what there is. Everything works on a machine that has Python 3.11 to 3.13 and nothing else.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# uv takes a Python of this machine; it never downloads one.
export UV_PYTHON_DOWNLOADS := never

BIN := .venv/bin
CODE := libs services deploy tests conftest.py
TYPED := $(wildcard libs/*/src services/*/src deploy/local/src)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Start everything, hold a real call with human speech, show what was said and how long it took
	@$(BIN)/voxbus demo

.PHONY: up
up: install ## Start everything and keep it running until Ctrl-C
	@$(BIN)/voxbus up

.PHONY: test
test: lint ## Check format, lint, types and imports, then run every test
	$(BIN)/pytest

.PHONY: lint
lint: install-dev ## Check format, lint, types and imports
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports

.PHONY: types
types: # For the commit hook: types alone, in the environment that is there
	$(BIN)/mypy $(TYPED)

.PHONY: format
format: install-dev ## Format the code and fix what can be fixed
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

.PHONY: contracts
contracts: install-dev ## Write the message schemas, docs/asyncapi.yaml and docs/openapi.json anew after a change of them
	$(BIN)/python tests/contract/contract_files.py

.PHONY: bench
bench: install-dev ## Run the benchmarks, one after the other
	@set -e; for script in tests/bench/hop.py tests/bench/workers.py tests/bench/websocket.py tests/bench/rest.py; do echo "== $$script"; $(BIN)/python $$script; done

.PHONY: clean
clean: ## Remove the environment, caches and the local state (keys, data, logs, recordings)
	rm -rf .venv .voxbus .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

.PHONY: install
install: # What a demo needs; leaves the development tools that are there
	@uv=$$(deploy/local/bootstrap.sh) && "$$uv" sync --locked --no-dev --inexact

.PHONY: install-dev
install-dev: # All of the workspace
	@uv=$$(deploy/local/bootstrap.sh) && "$$uv" sync --locked
