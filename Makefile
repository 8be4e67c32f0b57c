# make and a Python from 3.11 on are all that is taken for granted; the rest is installed here.

VENV   ?= .venv
PYTHON ?= $(or $(firstword $(shell .ci/pythons)),$(error no Python from 3.11 on (with venv and ensurepip) found; name one by PYTHON=...))
BIN     = $(VENV)/bin
SUITE   = $(BIN)/python -m pytest $(PYTEST)
PYTEST ?= -n 2 --dist loadfile
FUZZ   ?= 60
EVERY   = --with=slow --with=browser --with=peer

.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # every process that a test starts would compile everything again
.PHONY: help demo test test-all test-min fuzz mutants lint docs docs-links dist bench bench-peers clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/package.stamp  ## simulate two receivers, stitch them, list the results
	@$(BIN)/miostitch demo --force -o demo

test: $(VENV)/test.stamp  ## the fast suite
	$(SUITE)

test-all:  ## the whole suite on every supported interpreter of this machine
	@failed=; for python in $$(.ci/pythons each); do \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "== Python $$version: $$python"; \
	  $(MAKE) --no-print-directory test VENV=.envs/py$$version PYTHON=$$python \
	    PYTEST="$(PYTEST) $(EVERY)" || failed="$$failed $$version"; \
	done; test -z "$$failed" || { echo "failed on Python$$failed"; exit 1; }

test-min:  ## the fast suite with the oldest versions that pyproject.toml allows
	@mkdir -p .envs
	@set -e; python=$$(.ci/pythons each | head -n 1); \
	$$python .ci/floors.py > .envs/floors.txt; \
	$(MAKE) --no-print-directory test VENV=.envs/min PYTHON=$$python PIP="-c .envs/floors.txt"

fuzz: $(VENV)/test.stamp  ## feed broken files to each reader, FUZZ seconds each
	FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/fuzz -q --with=fuzz

mutants: $(VENV)/test.stamp  ## change the code in small ways; tell what no test notices
	$(BIN)/python .ci/mutants.py

lint: $(VENV)/test.stamp $(VENV)/lint.stamp  ## style, types, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell

docs: $(VENV)/test.stamp $(VENV)/docs.stamp  ## docs/_build/html/index.html
	$(BIN)/sphinx-build -W --keep-going -n -E docs docs/_build/html

dist: $(VENV)/release.stamp  ## source and wheel for a release, checked, in dist/
	rm -rf dist
	$(BIN)/python -m build
	rm -rf build *.egg-info  # what is left would pass for an installed version
	$(BIN)/twine check --strict dist/*

docs-links: $(VENV)/test.stamp $(VENV)/docs.stamp  ## ask every address of other sites in the docs; needs the net
	$(BIN)/sphinx-build -q -b linkcheck docs docs/_build/links

bench: $(VENV)/bench.stamp  ## time the working tree
	cd benchmarks && ../$(BIN)/asv run --python=same --quick --show-stderr

bench-peers: $(VENV)/bench.stamp  ## time whole runs beside mio, table and plot into docs/
	$(BIN)/python benchmarks/end_to_end/peers.py --docs

clean:  ## remove everything that is built or installed here
	rm -rf .venv .envs build dist *.egg-info docs/_build demo benchmarks/.asv
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis

# One environment; package.stamp is the package alone, NAME.stamp adds that dependency group.
$(VENV)/pip.stamp:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/package.stamp: pyproject.toml $(VENV)/pip.stamp
	$(BIN)/python -m pip install --quiet $(PIP) -e .
	@touch $@

$(VENV)/%.stamp: pyproject.toml $(VENV)/pip.stamp
	$(BIN)/python -m pip install --quiet $(PIP) -e . --group $*
	@touch $@
