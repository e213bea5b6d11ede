# CONTRIBUTING.md says what each target does. The versions are those of constraints/newest.txt or, for Python 3.11, of
# constraints/floor.txt, the oldest.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= $(shell $(PYTHON) -c 'import sys; print("constraints/" + ("floor" if sys.version_info < (3, 12) else "newest") + ".txt")')
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable
PYTEST := $(BIN)/python -m pytest --numprocesses logical --dist worksteal

.PHONY: run test test-all test-interop test-page coverage check docs page bench cluster-demo soak clean

run: $(VENV)/.installed
	$(BIN)/python experiments/mnist_rows.py $(ARGS)

# Types are checked against the newest NumPy and JAX, whose annotations say more than those of the oldest.
check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(shell find rowrnn tests -name '*.cc' -o -name '*.h')
	$(if $(findstring newest,$(CONSTRAINTS)),$(BIN)/pyrefly check --progress-bar=no --python-interpreter-path $(BIN)/python)

test: check
	$(PYTEST) -m "not slow" $(TESTS) $(ARGS)

test-all: check $(VENV)/.installed-docs
	$(PYTEST) $(TESTS) $(ARGS)

test-interop: $(VENV)/.installed-test $(VENV)/.installed-bench
	$(BIN)/python -m pytest tests/interop/compare_torch.py tests/interop/compare_keras.py \
		'tests/repository/test_code_of_other_pages.py::test_the_python_of_a_page_runs_from_top_to_bottom[docs/interop.md]' $(ARGS)

coverage: $(VENV)/.installed-test
	$(PYTEST) --cov=rowrnn --cov-report=term:skip-covered --cov-report=html:build/coverage $(ARGS)

# The pages on which one draws: types and tests, that the templates are those of their sources, and parity with JAX.
test-page: $(VENV)/.installed-test page/node_modules/.installed
	command -v chromium || (apt-get update && apt-get install --yes --no-install-recommends chromium)
	cd page && npx tsc && node build.js --check && node build.js --tests && node --test dist/tests/*.test.mjs
	$(BIN)/python page/tests/files.py page/dist/page
	$(BIN)/python page/tests/parity.py page/dist/parity
	cd page && npx playwright test

# The pages anew, after a change of their sources, with the copies and the film that are committed.
page: $(VENV)/.installed page/node_modules/.installed
	cd page && node build.js
	$(BIN)/python -m rowrnn page mnist_row_lstm docs/reader.html --beside mnist_row_gru
	$(BIN)/python -m rowrnn page french_lines docs/lines.html
	cd page && node film.js
	$(BIN)/python page/film.py page/dist/film docs/assets/reader.gif

page/node_modules/.installed: page/package-lock.json
	cd page && npm ci --silent
	touch $@

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/scan_speed.py $(ARGS)
	$(BIN)/python benchmarks/form_speed.py $(ARGS)
	$(BIN)/python benchmarks/time_to_accuracy.py $(ARGS)
	$(BIN)/python benchmarks/seeds_together.py $(ARGS)
	$(BIN)/python benchmarks/module_cost.py
	$(BIN)/python benchmarks/stack_cost.py
	$(BIN)/python benchmarks/survival_cost.py
	$(BIN)/python benchmarks/convolution_speed.py
	$(BIN)/python benchmarks/generation_cost.py
	$(BIN)/python benchmarks/height_cost.py

cluster-demo: $(VENV)/.installed
	$(BIN)/python -m tests.slow.cluster $(ARGS)

soak: $(VENV)/.installed-test
	$(BIN)/python -m tests.slow.killing $(ARGS)
	$(BIN)/python -m tests.slow.fuzzing --cases 20000

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[lab]'
	$(BIN)/python -m rowrnn native
	touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(INSTALL) '.[$*]'
	touch $@
