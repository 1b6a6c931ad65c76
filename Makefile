# Every target sets up what it needs in .venv; see README.md.
#
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"   a smaller torch, for CPUs only
#   make test PYTHON=python3.12                                                   another Python for .venv

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --constraint constraints.txt $(PIP_ARGS)

.PHONY: help demo test trust lint docs build wheel-check
.DELETE_ON_ERROR:

help:
	@echo "make demo         train on data that needs no download, and write a report"
	@echo "make test         run all tests"
	@echo "make trust        kill it, fill its disk and feed it rubbish, for an hour or more (docs/reliability.md)"
	@echo "make lint         check style and types"
	@echo "make docs         build the documentation into site/"
	@echo "make build        build wheel and sdist into dist/"
	@echo "make wheel-check  install the wheel into an empty environment and run a tiny demo"

demo: .venv/installed
	$(BIN)/dualcontrast demo --overwrite

# Tests start many interpreters, which need not compile the package each, even where Python may write no bytecode.
test: .venv/installed-test
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

trust: .venv/installed-test
	$(BIN)/python trust/all.py

lint: .venv/installed-lint .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --warnings

docs: .venv/installed-docs
	$(BIN)/mkdocs build --strict

build: .venv/installed-build
	rm -rf dist
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build

# From another folder, so that nothing but the wheel can be imported. To compile all modules is most of pip's work;
# the demo compiles the few that it imports.
wheel-check: build
	rm -rf build/wheel-check
	$(PYTHON) -m venv build/wheel-check/venv
	build/wheel-check/venv/bin/python -m pip install --quiet --no-compile --constraint constraints.txt $(PIP_ARGS) dist/*.whl
	cd build/wheel-check && venv/bin/dualcontrast --help
	cd build/wheel-check && venv/bin/dualcontrast demo --quick --no-progress
	test -s build/wheel-check/runs/demo/report.html

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

# A stamp stands for an installation, which is repeated only when what is asked for has changed.
.venv/torch: constraints.txt | .venv/bin/python
	@echo "Installing into .venv; this takes a few minutes the first time."
	$(PIP_INSTALL) torch
	@touch $@

.venv/installed: pyproject.toml .venv/torch
	$(PIP_INSTALL) --quiet --editable .
	@touch $@

.venv/installed-%: .venv/installed
	$(PIP_INSTALL) --quiet --editable ".[$*]"
	@touch $@

# What builds needs nothing else of ours, so that building need not wait for it.
.venv/installed-build: constraints.txt | .venv/bin/python
	$(PIP_INSTALL) --quiet build
	@touch $@

# The same as one after the other, but pip looks at everything that is installed only once.
.venv/installed-all: pyproject.toml .venv/torch
	$(PIP_INSTALL) --quiet --editable ".[test,lint,docs]"
	@touch .venv/installed .venv/installed-test .venv/installed-lint .venv/installed-docs $@
