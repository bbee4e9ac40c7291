# `make paper` and `make test` are all that a new user needs; both make the environment first.
PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: env tex paper test lint clean

env: $(VENV)/.ready

# The stamp changes with the lock file, so a new lock updates the environment.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make env: $(PYTHON) is missing or older than 3.11; set PYTHON=python3.11 or newer" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
	  || { echo "make env: python3-venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
	@echo "environment ready: source $(BIN)/activate"

tex:
	@sh workflow/install_tex.sh

paper: env tex
	snakemake --cores $(CORES)
	snakemake --report results/report.html
	@if test -f results/paper/main.pdf; then echo "paper:  $(CURDIR)/results/paper/main.pdf"; fi
	@echo "report: $(CURDIR)/results/report.html"

lint: env
	ruff format --check .
	ruff check .
	snakefmt --check Snakefile rules
	codespell
	pyright

# One thread per worker: two workers with two threads each take twice as long on two cores.
test: export OMP_NUM_THREADS = 1
test: lint tex
	pytest -q -n 2 tests/unit
	pytest -q -n 2 tests/dag
	pytest -q tests/e2e

clean:
	rm -rf results .snakemake
