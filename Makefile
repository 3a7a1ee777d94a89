# Countersign. `make` alone explains itself.
#
# Everything that runs for long goes through `python -m stack` (embedded stack) or pytest; this file only sets up what they
# need and passes settings on.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STREAMS := .venv/streams/bin
AIRFLOW := .venv/airflow/bin
STACK := $(STREAMS)/python -m stack

# Settings of `make demo` and `make evaluate`; what is left empty takes the command's own default.
ORDERS ?=
GENERATE ?=
SEED ?=
FAULTS ?=
KEEP ?= auto
# Settings of `make up` (and of the demo): how many stream workers.
WORKERS ?= 1
export WORKERS
# Ports: `make up PORT_KAFKA=29092`. `make status` lists the names.
$(foreach v,$(filter PORT_%,$(.VARIABLES)),$(eval export COUNTERSIGN_$(v) := $($(v))))

##@ See it work

.PHONY: demo
demo: setup ## Judge and reconcile real orders [ORDERS=a.csv] [GENERATE=n SEED=s] [FAULTS=0|1] [KEEP=0|1]
	@$(STREAMS)/python -m stack.demo --keep $(KEEP) --workers $(WORKERS) $(if $(ORDERS),--orders '$(ORDERS)') \
	  $(if $(GENERATE),--generate $(GENERATE)) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS))

.PHONY: up
up: setup ## Start Kafka, S3, the sandbox, stream workers and Airflow in the background [WORKERS=n] [PORT_KAFKA=…]
	@$(STACK) up

.PHONY: down
down: ## Stop them; leaves no process behind, keeps the data (rm -r .stack forgets it)
	@if [ -x $(STREAMS)/python ]; then $(STACK) down; else echo "Nothing is set up, so nothing can be up."; fi

.PHONY: status
status: setup ## What is up, where, since when, and the log of what died
	@$(STACK) status || test $$? -eq 3 # 3: it is down, which is no failure

.PHONY: env
env: ## Addresses and secrets of the stack for your shell: eval "$(make env)"
	@$(STACK) env

##@ With Docker

.PHONY: env-file
env-file: ## Make .env for `docker compose up --build --wait`: random secrets; what it has already stays
	@docker/env-file.sh

.PHONY: compose-test
compose-test: ## The compose stack for real: orders, DAGs, killed containers, dashboard [STEPS=up,demo,… ORDERS=n STANDINS=1]
	@$(if $(filter 1,$(STANDINS)),stack/setup.sh && docker/standins/build.sh)
	@docker/env-file.sh build/compose-build.env >/dev/null && docker compose --env-file build/compose-build.env --profile '*' build
	@python3 -m tests.compose $(if $(STEPS),--steps $(STEPS)) $(if $(ORDERS),--orders $(ORDERS)) $(if $(SEED),--seed $(SEED))

##@ Bring it to AWS

.PHONY: mwaa
mwaa: setup ## The package for Amazon MWAA, in build/mwaa
	@$(STREAMS)/python -m mwaa build

.PHONY: mwaa-test
mwaa-test: mwaa ## Install that package in a new environment as MWAA does, and load all DAGs there
	@$(STREAMS)/python -m mwaa trial

##@ Work on it

.PHONY: setup
setup: ## Make or refresh what all of this needs: Java, Maven, .venv/*, Kafka's jars (quick when all is there)
	@stack/setup.sh

.PHONY: test
test: setup ## All tests, in both environments
	@stack/test.sh

.PHONY: chaos
chaos: setup ## Kill workers and broker under load; nothing is lost, repeated or changed [FAULTS=30 SEED=s WORKERS=2 KEEP=1]
	@$(STREAMS)/python -m tests.stack.chaos --faults $(or $(FAULTS),30) $(if $(SEED),--seed $(SEED)) \
	  $(if $(filter-out file,$(origin WORKERS)),--workers $(WORKERS)) $(if $(filter 1,$(KEEP)),--keep)

.PHONY: check
check: setup ## Lint, format, types
	@$(STREAMS)/ruff check . && $(STREAMS)/ruff format --check . && $(STREAMS)/mypy
	@echo "check: ruff and mypy are content"

.PHONY: bench
bench: setup ## Measure against Quix Streams, Faust and a bare loop, 20 minutes; writes .stack/bench.json [BENCH="--only latency"]
	@benchmarks/setup.sh
	@$(STREAMS)/python -m benchmarks $(BENCH)

.PHONY: bench-batch
bench-batch: setup ## Reconcile 10 thousand to 1 million orders beside pandas and PySpark; .stack/bench-batch.json [ORDERS=10000,100000]
	@benchmarks/setup.sh batch
	@$(STREAMS)/python -m benchmarks.batch $(if $(ORDERS),--orders '$(ORDERS)') $(BENCH)

.PHONY: evaluate
evaluate: setup ## How well orders are judged, beside boosted trees; .stack/evaluate.json [ORDERS=a.csv] [GENERATE=n SEED=s] [DELAY=14 REFIT=7]
	@PYTHONPATH=plugins $(AIRFLOW)/python -m evaluation \
	  $(if $(ORDERS),--orders '$(ORDERS)',--generate $(or $(GENERATE),20000)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(DELAY),--delay $(DELAY)) $(if $(REFIT),--refit $(REFIT))

.PHONY: lock
lock: ## Compile the lock files again after a change to a requirements file [UPGRADE=1]
	@stack/lock.sh $(if $(filter 1,$(UPGRADE)),--upgrade)

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "; print "Countersign: real-time order-fraud verdicts on Kafka, countersigned every day by Airflow.\n\nmake <target> [SETTING=value]"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  \033[36m%-11s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
