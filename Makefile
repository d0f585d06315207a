# Each target sets itself up in .venv, from the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Two processes of one thread each; COVERAGE=1 counts lines too, for half as much time more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"
COUNTED := $(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=90)

.PHONY: demo test test-avx2 lint docs bench bench-accuracy clean

demo: .venv/.minilm
	$(BIN)/python -m sklearn_bert demo

test: .venv/.test
	$(PYTEST) $(COUNTED)

# As on a processor with AVX2 alone, the most common server: no AVX512, no bfloat16.
test-avx2: .venv/.test
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
		$(PYTEST) tests --ignore=tests/testing --ignore=tests/downstream --ignore=tests/text

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
