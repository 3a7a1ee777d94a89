#!/usr/bin/env bash
# Compiles the lock files. Without --upgrade, pins that still fit stay. The order matters: the stream side is resolved together
# with the local tools, then alone within those pins, so that a worker's environment is a subset of the developer's.
set -euo pipefail
cd "$(dirname "$0")/.."
stack/setup.sh tools

compile() { .venv/tools/bin/uv pip compile --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links --python-version 3.12 "$@"; }

# requirements.txt is constrained by the very file that is made from it: compile what stands below that line.
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
grep -v '^--constraint' requirements.txt >"$requirements"

compile "$@" stack/requirements.txt streams/requirements.txt -o stack/requirements.lock
compile "$@" streams/requirements.txt -c stack/requirements.lock -o streams/requirements.lock
compile "$@" "$requirements" tests/requirements-airflow.txt -c stack/mwaa-constraints-3.3.1.txt -o dags/constraints.txt
git --no-pager diff --stat -- '*.lock' dags/constraints.txt || true
