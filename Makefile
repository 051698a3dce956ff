# Each target makes its environment in .venv itself; the second call starts at once.
#
#   PYTHON=python3.12        another Python (3.10 or newer)
#   TORCH_PIP_ARGS='...'     extra words for the pip call that installs PyTorch, such as its CPU wheel index

PYTHON ?= python3
HOURS ?= 2
VENV := .venv
IN := $(VENV)/bin/python -m
READY := $(VENV)/ready
export TORCH_PIP_ARGS

.DEFAULT_GOAL := help
.PHONY: help demo test bench soak sanitize lint format clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## Fit a synthetic room, score it and leave pictures, in a few minutes
	$(VENV)/bin/unrender demo

# One thread in each of two processes beats two threads in one: most tests are too small to share.
test: $(READY) ## Run all tests
	OMP_NUM_THREADS=1 $(IN) pytest -q -n 2

bench: $(READY) ## Measure how fast points are drawn, on all cores, and write benchmarks/results/points.md
	mkdir -p build
	$(VENV)/bin/unrender bench points --json build/points.json --markdown benchmarks/results/points.md

# One thread, so that a core stays free; the folder of a cycle is some hundred MB and goes with it.
soak: $(READY) ## Fit, kill, resume and render for HOURS=2, and write benchmarks/results/soak.md
	$(VENV)/bin/python benchmarks/soak.py --hours $(HOURS) --folder build/soak \
		--json build/soak.json --markdown benchmarks/results/soak.md

sanitize: $(READY) ## Run the kernel tests under sanitizers: memory, undefined behaviour, data races (minutes)
	$(IN) pip install --quiet cmake ninja nanobind
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python tools/sanitize.py address,undefined
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python tools/sanitize.py thread

lint: $(READY) ## Check style, format and types
	$(IN) ruff check
	$(IN) ruff format --check
	$(IN) pyright

format: $(READY) ## Mend style and format where that is safe
	$(IN) ruff check --fix
	$(IN) ruff format

clean: ## Remove the environment and all caches
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The compiled kernels are part of the environment: it is made again when they change.
$(READY): pyproject.toml constraints.txt tools/make_environment.py CMakeLists.txt $(shell find src -name '*.cpp' -o -name '*.h')
	@command -v $(PYTHON) >/dev/null || { echo "unrender: no $(PYTHON) here; name a Python 3.10 or newer: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) tools/make_environment.py $(VENV)
	@touch $@
