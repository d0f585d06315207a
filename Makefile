# Each target sets itself up in .venv, from the versions in constraints.txt.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

# Two processes of one thread each; COVERAGE=1 counts lines too, for half as much time more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not browser and not engines"
COUNTED := $(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=90)

.PHONY: help demo test test-avx2 test-guide test-browser test-engines test-lowest test-newest lint docs bench bench-accuracy bench-gpu clean

help:  ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.minilm  ## sort support tickets with a fine-tuned BERT
	$(BIN)/python -m sklearn_bert demo

test: $(VENV)/.test  ## run the tests and the examples; COVERAGE=1 counts lines
	$(PYTEST) $(COUNTED)

# As on a processor with AVX2 alone, the most common server: no AVX512, no bfloat16.
test-avx2: $(VENV)/.test  ## run the tests that compute, as with AVX2 alone
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
		$(PYTEST) tests --ignore=tests/testing --ignore=tests/downstream --ignore=tests/text

# They fine-tune, some on all of the bundled tickets: minutes.
test-guide: $(VENV)/.test  ## run the pages of the guide that `make test` leaves out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m slow \
		tests/test_guide.py tests/cli/test_shell.py sklearn_bert/onnx

# Needs an installed Chromium or Chrome.
test-browser: $(VENV)/.browser  ## run the tests of the error report in a browser
	$(BIN)/python -m pytest -m browser tests/inspection

# Spark needs Java 17 or later.
test-engines:  ## run the tests that start Ray, Dask and Spark
	$(MAKE) .venv-engines/.engines VENV=.venv-engines
	.venv-engines/bin/python -m pytest -n 0 -m engines tests/engines

test-lowest:  ## run the tests with the lowest versions that pyproject.toml allows
	$(MAKE) test VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt

test-newest:  ## run the tests with the newest versions that there are
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=

lint: $(VENV)/.lint  ## check style, types, spelling and the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: $(VENV)/.docs  ## build docs/_build/html and run the gallery
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

BENCHMARKS := fit_short fit_long embed predict serve grid_search token_cache precision \
	loop_overhead ablation memory scale checkpoints pretrain_speed

bench: $(VENV)/.bench  ## measure speed and memory
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-accuracy: $(VENV)/.bench  ## measure accuracy
	for name in accuracy targets long_text pretrain adapt embed_learning generate \
		explain error_report; do \
		$(BIN)/python benchmarks/$$name.py || exit 1; done

bench-gpu: $(VENV)/.bench $(VENV)/.test  ## check and measure a GPU, in 6 minutes on an H100
	$(BIN)/python benchmarks/gpu.py

clean:  ## remove what the other targets made
	rm -rf .venv .venv-engines .venv-lowest .venv-newest docs/_build docs/generated docs/auto_examples

# torch goes first: a plain install of the others would fetch its newest release.
$(VENV)/.base: $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch setuptools
	touch $@

# The reference of the tests for the F1 of entities. It is built here, and takes its
# version from setuptools-scm.
$(VENV)/.seqeval: $(VENV)/.base
	$(INSTALL) setuptools-scm
	$(INSTALL) --no-build-isolation seqeval
	touch $@

$(VENV)/.test $(VENV)/.browser $(VENV)/.engines $(VENV)/.bench: $(VENV)/.seqeval

EXTRAS := minilm test browser engines lint docs bench

$(EXTRAS:%=$(VENV)/.%): $(VENV)/.%: $(VENV)/.base pyproject.toml $(CONSTRAINTS)
	$(INSTALL) --no-build-isolation -e '.[minilm,$*]'
	touch $@
