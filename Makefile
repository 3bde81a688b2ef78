# Every target sets up what it needs, once: see tools/setup.py. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin

# What another project left in the shell must not reach Spark, Python or nbdev here.
unexport PYTHONHOME PYTHONPATH SPARK_HOME SPARK_CONF_DIR PYSPARK_SUBMIT_ARGS PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON IN_TEST

have_python = command -v $(PYTHON) >/dev/null 2>&1 || { \
	echo "Python 3.11 or newer is needed, and there is no $(PYTHON): install one (Debian 12: apt-get install python3 python3-venv)" >&2; exit 2; }

.PHONY: help setup setup-run setup-spark demo test prove bench e2e e2e-postgres e2e-mariadb ci-local cells lab docs check format export wheel release clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup:
	@$(have_python); $(PYTHON) tools/setup.py

setup-run:
	@$(have_python); $(PYTHON) tools/setup.py --run

setup-spark:
	@$(have_python); $(PYTHON) tools/setup.py --spark

demo: setup-run ## run the whole pipeline on a mock feed, then say where everything lies
	@$(BIN)/cdc demo $(ARGS)

test: setup-spark ## run every notebook, compare its saved outputs, run tests/; ARGS="nbs/04_scd1.ipynb tests" or ARGS=--since selects
	@$(BIN)/python tools/check.py test $(ARGS)

prove: setup-spark ## deeper proofs: more examples, 20 kills, faults to catch, a sample of mutants; ARGS=faults, ARGS="mutants cdc_local/sql", ARGS=engines … select
	@$(BIN)/python tools/prove.py $(ARGS)

bench: setup-spark ## measure everything beside its rivals, into benchmarks/results.json; ARGS=--help says more
	@$(BIN)/python benchmarks/bench.py $(ARGS)

e2e: setup ## deploy to a workspace on this machine, run the job there, change a notebook, deploy again, destroy; ARGS=--help says more
	@$(BIN)/python tools/e2e.py $(ARGS)

e2e-postgres: ## prove SCD1 and SCD2 tables against a PostgreSQL of its own; ARGS="--capture wal2json --changes 100000 --stops 50 --kills 20"
	@$(have_python); $(PYTHON) tools/setup.py --spark --databases && $(BIN)/python tools/databases/prove.py postgres $(ARGS)

e2e-mariadb: ## the same against a MariaDB of its own
	@$(have_python); $(PYTHON) tools/setup.py --spark --databases && $(BIN)/python tools/databases/prove.py mariadb $(ARGS)

ci-local: setup ## run the jobs of .gitlab-ci.yml on this machine, against a workspace on this machine; ARGS=--help says more
	@$(BIN)/python tools/ci_local.py $(ARGS)

cells: setup ## tell git, in this clone, to compare and merge notebooks cell by cell; part of `make lab`
	@! git rev-parse --git-dir >/dev/null 2>&1 || { git config diff.jupyternotebook.command "$(BIN)/nbdev-diff-driver" && \
	git config merge.jupyternotebook.name "nbdev-merge" && git config merge.jupyternotebook.driver "$(BIN)/nbdev-merge %O %A %B %P"; }

lab: setup cells ## open the notebooks in JupyterLab; saving a notebook cleans it
	@JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" JUPYTER_PATH="$(CURDIR)/.jupyter" \
	JUPYTER_CONFIG_DIR="$(CURDIR)/.cache/jupyter/config" JUPYTER_DATA_DIR="$(CURDIR)/.cache/jupyter/data" \
	IPYTHONDIR="$(CURDIR)/.cache/ipython" MPLCONFIGDIR="$(CURDIR)/.cache/matplotlib" \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab $(ARGS) nbs

docs: setup ## build the documentation site in build/html, offline
	@$(BIN)/python tools/check.py docs

check: setup-spark ## what CI runs: ruff, mypy, notebooks clean, exports and README fresh, then `make test`
	@$(BIN)/python tools/check.py check

format: setup ## format notebooks and Python files, and mend what ruff can
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

export: setup ## write cdc_utils/, settings.ini, README.md and the wheel's name from the notebooks and pyproject.toml
	@$(BIN)/python tools/check.py export

wheel: ## build the wheel that is deployed, in dist/; its version ends in a hash of its content
	@$(have_python); $(PYTHON) tools/wheel.py --have dist || { $(MAKE) --no-print-directory setup-run && $(BIN)/python tools/wheel.py dist; }

release: setup ## raise the version, export, build, commit and tag; ARGS=--version X.Y.Z or ARGS="--part minor --dry-run"
	@$(BIN)/python tools/release.py $(ARGS)

clean: ## delete what was built; keeps .venv and .cache (delete those by hand for a fresh start)
	@rm -rf build dist public nbs/_docs _docs _proc cdc_utils.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -path ./.venv -prune -o -path ./.cache -prune -o -name __pycache__ -type d -exec rm -rf {} +
