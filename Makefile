# Everything runs in the project's own virtual environment; `make setup` makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed
# More options for any job: make defense ARGS="sigma=0.05 seed=1"
ARGS ?=
DATA ?= data/breakhis
BCADV := $(BIN)/bcadv
RUN := $(BCADV) run
# Half the default steps, in half the time: the demo shows that PGD goes further than FGSM.
BOTH := 'attacks=[fgsm,pgd]' attack.pgd.steps=10
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

export MLFLOW_DISABLE_TELEMETRY := true
# Bytecode is kept whatever the shell says: without it each process compiles torch for 15 s.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo data baseline defense paper sweep-epsilon sweep-sigma sweep-epsilon-sigma \
	sweep-seed report ui sync models prune test test-all format lint types docs notebooks bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DONE)  ## install everything into .venv, from the lock

# uv installs the locked set in seconds; pip would take minutes.
$(DONE): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "bcadv needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5,<1'
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(DONE)

demo: setup  ## the main job on synthetic tissue: train, attack, defend, compare (minutes)
	$(RUN) +experiment=baseline $(BOTH) $(ARGS)
	$(RUN) +experiment=defense $(BOTH) $(ARGS)
	$(BCADV) report

data: setup  ## fetch BreakHis (4 GB) into DATA=data/breakhis, or go on fetching it
	$(BCADV) data download=$(DATA) $(ARGS)

baseline: setup  ## train on clean images, attack with FGSM
	$(RUN) +experiment=baseline $(ARGS)

defense: setup  ## train on Gaussian noise, attack with FGSM
	$(RUN) +experiment=defense $(ARGS)

paper: setup  ## both, with the paper's settings on BreakHis (400 epochs: wants a GPU)
	$(RUN) +experiment=baseline data=breakhis data.root=$(DATA) $(ARGS)
	$(RUN) +experiment=defense data=breakhis data.root=$(DATA) $(ARGS)
	$(BCADV) report

sweep-epsilon: setup  ## a job per epsilon; the model is trained once
	$(RUN) +experiment=defense +sweep=epsilon $(ARGS)

sweep-sigma: setup  ## a job and a model per sigma
	$(RUN) +experiment=defense +sweep=sigma $(ARGS)

sweep-epsilon-sigma: setup  ## a job per pair, a model per sigma
	$(RUN) +experiment=defense +sweep=epsilon_sigma $(ARGS)

sweep-seed: setup  ## a job and a model per seed: how much is chance
	$(RUN) +experiment=defense +sweep=seed $(ARGS)

report: setup  ## the page on the newest sweep or jobs: outputs/report/report.html
	$(BCADV) report $(ARGS)

ui: setup  ## the MLflow UI on this machine alone, http://127.0.0.1:5000
	$(BCADV) ui $(ARGS)

sync: setup  ## upload to MLflow what a lost server missed
	$(BCADV) sync $(ARGS)

models: setup  ## list the trained models that are kept
	$(BCADV) models $(ARGS)

prune: setup  ## remove the trained models that no job refers to, after asking
	$(BCADV) models prune=true $(ARGS)

test: setup  ## run the tests but for the long ones (minutes on two cores)
	$(PYTEST) -m "not long" $(ARGS)

test-all: setup  ## run every test, the long ones too
	$(PYTEST) $(ARGS)

format: setup  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup  ## check style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup  ## check types, strictly
	$(BIN)/mypy

# Not --quiet, which keeps warnings from counting as errors.
docs: setup  ## make the documentation of the code: build/docs/index.html
	$(BIN)/mkdocs build

notebooks: setup  ## open the notebooks in JupyterLab, which is installed by the first call
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock \
		--editable '.[notebooks]'
	$(BIN)/jupyter lab notebooks

bench: setup  ## measure speed and memory against other libraries
	$(BIN)/python -m tests.benchmarks $(ARGS)

lock: setup  ## renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra docs \
		--generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock

clean:  ## remove caches and build products; keeps outputs and data
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find bcadv tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
