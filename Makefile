# `make run` sets up and runs the main job; `make test` sets up, checks style and types, and passes the tests;
# `make test-interop` sets up torch and Keras and compares with them; `make bench` measures speed against all peers;
# `make cluster-demo` trains in one, two and four processes and compares them; `make soak` kills a run 200 times and
# compares it with one that was left alone, then fuzzes every public function; `make docs` writes the reference to
# build/docs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-interop bench cluster-demo soak docs clean

run: $(VENV)/.installed
	$(BIN)/python experiments/mnist_rows.py $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --progress-bar=no
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder $(ARGS)

test-interop: $(VENV)/.installed-test $(VENV)/.installed-bench
	$(BIN)/python -m pytest tests/interop_torch.py tests/interop_keras.py $(ARGS)

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/scan_speed.py $(ARGS)
	$(BIN)/python benchmarks/time_to_accuracy.py $(ARGS)
	$(BIN)/python benchmarks/seeds_together.py $(ARGS)
	$(BIN)/python benchmarks/module_cost.py
	$(BIN)/python benchmarks/stack_cost.py
	$(BIN)/python benchmarks/survival_cost.py

cluster-demo: $(VENV)/.installed
	$(BIN)/python tests/faults/cluster.py $(ARGS)

soak: $(VENV)/.installed-test
	$(BIN)/python tests/faults/killing.py $(ARGS)
	$(BIN)/python tests/faults/fuzzing.py --cases 20000

docs: $(VENV)/.installed-test
	$(BIN)/pdoc --docformat google --output-directory build/docs rowrnn

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[experiments]'
	$(BIN)/python -m rowrnn native
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[experiments,test]'
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $@
