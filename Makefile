# Each target sets itself up in .venv, from the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint docs bench bench-accuracy clean

demo: .venv/.minilm
	$(BIN)/python -m sklearn_bert demo

test: .venv/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --cov --cov-report=term --cov-fail-under=90

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

docs: .venv/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

BENCHMARKS := fit_short fit_long embed predict grid_search token_cache precision \
	loop_overhead ablation memory checkpoints pretrain_speed

bench: .venv/.bench
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-accuracy: .venv/.bench
	for name in accuracy targets long_text pretrain adapt embed_learning generate; do \
		$(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf .venv docs/_build docs/generated docs/auto_examples

# torch goes first: a plain install of the others would fetch its newest release. seqeval
# is built here, and takes its version from setuptools-scm.
.venv/.base: constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) torch setuptools setuptools-scm
	touch $@

.venv/.minilm .venv/.test .venv/.docs .venv/.bench: .venv/.%: .venv/.base pyproject.toml constraints.txt
	$(INSTALL) --no-build-isolation -e '.[minilm,$*]'
	touch $@
