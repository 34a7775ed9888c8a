# Everything needed is installed by `make setup`, which the other targets run first.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.PHONY: setup demo test test-all check bench verification gallery docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("einthoven needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[vtk,cluster,parquet]' --group dev --group docs
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py --out out/demo

# less than ten minutes on two cores; `test-all` has the tests marked "long" too
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py --out out/bench

# the accuracy tables of the docs again, compared with the pages
verification: $(STAMP)
	$(BIN)/python benchmarks/run.py --verification --out out/verification

# page, pictures and notebooks of the gallery
gallery: $(STAMP)
	$(BIN)/python examples/gallery/_make.py

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) out site dist
