# Each target also does the set-up that it needs.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: setup demo demo-translation test test-slow mutants lint clean

setup: .venv/ready

# The constraints hold the tested versions; on a machine with CUDA the same torch version brings its CUDA build.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python recipes/language_model/demo.py

demo-translation: setup
	$(BIN)/python recipes/translation/demo.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	# Two scripts with the same name cannot be checked in one call.
	$(BIN)/mypy recipes/translation/*.py

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m "not slow"

mutants: setup
	nice $(BIN)/python tests/mutants.py

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m slow

clean:
	rm -rf .venv runs build dist *.egg-info
