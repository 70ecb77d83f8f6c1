# Each target makes the virtual environment on first use; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# A file's tests in one process share what it compiles; those with slow tests come first.
PYTEST := $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder
STUDIES := $(wildcard experiments/*/study.json experiments/*/*/study.json)
EVALUATIONS := $(wildcard experiments/*/*/evaluation.json)

.DEFAULT_GOAL := help
.PHONY: help run study test check types fast format figures bench torture records clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/ready  ## ReLU against tanh, small: CIFAR-10 where it can be had, else the built-in data
	$(RUN) -m src.main --config=configs/quick.py

study: $(VENV)/ready  ## ReLU against tanh, whole: both recipes, tuned rates, fresh seeds (hours on a CPU)
	$(RUN) -m src.main --config=configs/relu_vs_tanh.py

test: $(VENV)/ready  ## all tests
	$(PYTEST)

check: $(VENV)/ready  ## lint, types and the fast tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(MAKE) --no-print-directory --jobs=2 types fast

types: $(VENV)/ready
	$(VENV)/bin/mypy

fast: $(VENV)/ready
	$(PYTEST) -m "not slow"

format: $(VENV)/ready  ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

figures: $(VENV)/ready  ## redraw reports and figures of experiments/ from their records
	$(RUN) -m src.claims experiments
	$(RUN) -m src.report --index experiments $(dir $(STUDIES))
	$(RUN) -m src.evaluate --redraw $(dir $(EVALUATIONS))

bench: $(VENV)/ready  ## step times against PyTorch, and where a study's time goes; NET=conv3: its step alone, NET=start: the start
	$(RUN) -m pip install --quiet torch || echo "PyTorch could not be installed: its rows stay empty"
	$(RUN) -m experiments.speed.bench $(NET)

torture: $(VENV)/ready  ## kill it, flip its bytes, fill its disk, feed it nonsense; prints what survived
	$(RUN) -m tests.torture

records: $(VENV)/ready  ## the studies in order of worth, within HOURS=0.4, each packed in packs/
	$(RUN) -m experiments.records --hours $(or $(HOURS),0.4)

clean:  ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(VENV)/ready: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; for example: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet -r requirements-dev.txt
	touch $@
