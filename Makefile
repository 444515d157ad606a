# seqtrain: `make help` lists what there is to do. Every target makes .venv first if it is missing.

PYTHON ?= python3
TORCH ?= torch==2.13.0
DEMO_RUN ?= demo-$(shell date +%Y-%m-%d_%H-%M-%S)
PYTEST_WORKERS ?= 2

BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo lint format type test faults cover bench bench-train bench-generate bench-data bench-start bench-growth bench-summary docs clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED)  ## Make .venv (PYTHON= chooses the interpreter, TORCH= the build of torch)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit(1)' || { \
		echo "seqtrain needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
		echo "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## Train a small Transformer to translate number words, then translate unseen ones (minutes)
	$(BIN)/python -m seqtrain.train experiment=demo run_name=$(DEMO_RUN)
	$(BIN)/python examples/demo.py outputs/$(DEMO_RUN)

lint: $(INSTALLED)  ## Check style and formatting with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## Mend style and formatting with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(INSTALLED)  ## Check the types with mypy
	$(BIN)/mypy

test: $(INSTALLED)  ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS)

faults: $(INSTALLED)  ## Kill, stop, starve and damage runs: the whole fault suite, and its figures (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS) tests/faults tests/config/test_fuzz.py \
		--faults 100 --faults-report benchmarks/results/faults.md

cover: $(INSTALLED)  ## Run all tests and show the lines that none of them reaches
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --cov=seqtrain --cov-report=term-missing:skip-covered

bench: bench-train bench-generate  ## Measure the speed of training and of generation

bench-train: $(INSTALLED)  ## Measure the speed of training against its peers (BENCH= options of benchmarks.train)
	$(BIN)/python -m benchmarks.train $(BENCH)

bench-generate: $(INSTALLED)  ## Measure the speed of generation against its peers (BENCH= options of benchmarks.generate_speed)
	$(BIN)/python -m benchmarks.generate_speed $(BENCH)

bench-data: $(INSTALLED)  ## Measure planning, collation and preprocessing (BENCH= options of benchmarks.data_speed)
	$(BIN)/python -m benchmarks.data_speed $(BENCH)

bench-start: $(INSTALLED)  ## Measure how fast commands come up, against a Hydra application that does nothing
	$(BIN)/python -m benchmarks.start_speed $(BENCH)

bench-growth: $(INSTALLED)  ## Measure start, updates and memory for thousands to millions of examples and types
	$(BIN)/python -m benchmarks.growth $(BENCH)

bench-summary: $(INSTALLED)  ## Make the table and the plot of docs/benchmarks.md from benchmarks/results/
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks.summary

docs: $(INSTALLED)  ## Build the site into site/
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --strict

clean:  ## Remove .venv and what the tools cached; outputs/ stays
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage seqtrain.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
