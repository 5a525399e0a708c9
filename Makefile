# make demo and make test are all the set-up there is: each makes what it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-all lint wheel clean

demo: $(VENV)/.train ## Draw, train, export, classify and measure: lmedge-demo/
	$(BIN)/lmedge demo

test: $(VENV)/.dev ## The fast tests
	$(BIN)/python -m pytest

test-all: $(VENV)/.dev ## The slow ones too: real trainings
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(VENV)/.dev wheel ## Format, lint, and types of the installed wheel
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tools/check_types.py

wheel: $(VENV)/.dev ## dist/*.whl
	rm -rf build dist
	$(BIN)/python -m build --wheel --quiet

clean:
	rm -rf $(VENV) build dist *.egg-info lmedge-demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e ".[train]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.train
