# A new user only needs `make paper` and `make test`; both create the environment first.
PYTHON ?= python3
CORES ?= all
# A grid to merge over config/config.yaml: make paper CONFIG=config/cpu.yaml
CONFIG ?=
MERGED := $(if $(CONFIG),--configfile $(CONFIG))
ifneq ($(filter paper report plan,$(MAKECMDGOALS)),)
# Checked before creating the environment, which takes minutes.
$(foreach file,$(CONFIG),$(if $(filter %.yaml %.yml %.json,$(file)),$(if $(wildcard $(file)),,\
  $(error CONFIG=$(file): no such file)),$(error CONFIG=$(file): is no .yaml file)))
endif
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: env tex paper report plan test test-slurm test-flower lint clean

env: $(VENV)/.ready

# The stamp changes with the lock file, so a new lock updates the environment.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make env: $(PYTHON) is missing or older than 3.11; set PYTHON=python3.11 or newer" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
	  || { echo "make env: python3-venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
	@echo "environment ready: source $(BIN)/activate"

tex:
	@sh workflow/install_tex.sh

paper: env tex
	snakemake --cores $(CORES) $(MERGED)
	@$(MAKE) --no-print-directory report
	@if test -f results/paper/main.pdf; then echo "paper:  $(CURDIR)/results/paper/main.pdf"; fi

# A self-contained file with everything that the last `snakemake` call made.
report: env
	snakemake $(MERGED) --report results/report.html
	@echo "report: $(CURDIR)/results/report.html"

plan: env
	@python workflow/scripts/plan.py --cores $(CORES) $(MERGED)

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
	@$(MAKE) --no-print-directory test-slurm

# The tests start and stop their own Slurm; where that is impossible they are skipped with the reason.
test-slurm: env $(VENV)/slurm
	@sh tests/slurm/install.sh
	PYTHONPATH="$(CURDIR)/$(VENV)/slurm" pytest -q tests/slurm

# Outside the environment: Snakemake imports every plugin that it finds, and this one slows down each start.
$(VENV)/slurm: requirements-slurm.lock | $(VENV)/.ready
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $@ --compile-bytecode --no-deps \
	  --constraint requirements-slurm.lock snakemake-executor-plugin-slurm snakemake-executor-plugin-slurm-jobstep
	@touch $@

# With the newest release of Flower that is known to work, and the oldest. Not part of `make test`: it downloads Ray twice.
FLOWERS := $(VENV)/flower $(VENV)/flower-oldest
test-flower: env $(FLOWERS:=/.ready)
	for flower in $(FLOWERS); do \
	  PYTHONPATH="$(CURDIR)/$$flower" FLWR_TELEMETRY_ENABLED=0 RAY_USAGE_STATS_ENABLED=0 pytest -q tests/flower || exit 1; \
	done

# Outside the environment: Flower needs other versions of packages that it has.
$(VENV)/flower/.ready: requirements-flower.lock
$(VENV)/flower-oldest/.ready: requirements-flower-oldest.lock
$(FLOWERS:=/.ready): | $(VENV)/.ready
	rm -rf $(@D)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(@D) --compile-bytecode --require-hashes -r $<
	@touch $@

clean:
	rm -rf results .snakemake
