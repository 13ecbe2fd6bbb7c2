# Each target installs what it needs into .venv the first time, and starts at once afterwards.
#
#   make run     train superposed, gru and lstm on RecallMix at one FLOP budget and print the table
#   make test    the test suite
#   make lint    ruff and mypy
#   make bench   speed of the worlds, of training and of an acting step
#   make results docs/results.md (hours; resumable, in parts: benchmarks/results.py --dry-run)
#   make pretrained the agent that the repository ships, trained again
#   make pictures the pictures in docs/images
#   make claims  the claims, each with its test: docs/claims.md
#   make clean   remove .venv, caches and build leftovers (never runs/)
#
# PYTHON=python3.12 picks another interpreter; pip's own settings are respected
# (PIP_EXTRA_INDEX_URL, for example, to take a CPU-only build of torch).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process: the models are too small to gain from two, and workers share the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: run test lint bench results pretrained pictures claims clean
.DELETE_ON_ERROR:

run: $(VENV)/.base
	$(BIN)/python benchmarks/main.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/worlds.py
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/step_cost.py

results: $(VENV)/.dev
	$(BIN)/python benchmarks/results.py

pretrained: $(VENV)/.base
	$(BIN)/python train.py --env RecallMix-N64-D16-v0 --seed 100 --logdir runs/pretrained --resume
	$(BIN)/python -m experiments.export runs/pretrained/RecallMix-N64-D16-v0/superposed/seed100 pretrained/recall

pictures: $(VENV)/.dev
	$(BIN)/python benchmarks/pictures.py

claims: $(VENV)/.dev
	$(BIN)/python benchmarks/claims/all.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find agents envs experiments tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[contrib,fast,cluster,plot,tune,onnx,notebook,dev]'
	@touch $@ $(VENV)/.base
