#!/usr/bin/env bash
# All tests, each folder in the environment its code runs in. Arguments go to both pytest runs, e.g. `stack/test.sh -k relay`.
set -uo pipefail
cd "$(dirname "$0")/.."

# Only folders that are there: a fresh checkout of an older commit must still be testable.
existing() { for folder in "$@"; do [ -d "$folder" ] && echo "$folder"; done; }

# run SIDE NAME PYTHON FOLDER… : pytest, with one closing line in build/test-SIDE.verdict; 5 ("no tests collected") is not a success
# unless -k asked for it.
run() {
  local side=$1 name=$2 python=$3 started=$SECONDS code verdict
  shift 3
  printf '\n\033[1m%s\033[0m: %s\n' "$name" "$*"
  "$python" -m pytest "$@" "${ARGUMENTS[@]}"
  code=$?
  if [ $code -eq 5 ] && [ ${#ARGUMENTS[@]} -gt 0 ]; then code=0; fi
  if [ $code -eq 0 ]; then verdict=passed; else verdict="FAILED (pytest exit code $code)"; fi
  printf '  %-32s %s in %s s\n' "$name" "$verdict" $((SECONDS - started)) >"build/test-$side.verdict"
}

rm -f build/test-*.verdict
ARGUMENTS=("$@")
mapfile -t streams < <(existing tests/unit tests/streams tests/stack tests/mwaa)
mapfile -t airflow < <(existing tests/dags tests/lake)

# Two files at a time, each process with a broker of its own: many of these tests wait, for a session to run out or for another
# process to start. In the order of tests/conftest.py: files with long tests first. Those of the Airflow side run one by one beside
# the stream side. More at a time starve each other on two processors.
two_files=(-n 2 --dist loadfile --no-loadscope-reorder)
mkdir -p build
export AIRFLOW_HOME=$PWD/build/airflow-tests
log=build/test-airflow.log beside=
if [ ${#airflow[@]} -gt 0 ]; then
  set -m # a process group of its own, which Ctrl-C reaches only through us
  run airflow-long "Airflow side, long tests" .venv/airflow/bin/python --long only "${airflow[@]}" >$log 2>&1 &
  beside=$!
  set +m
  trap 'kill -INT -- "-$beside"; wait "$beside"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  echo "the long tests of the Airflow side run beside it; so far: $log"
fi
[ ${#streams[@]} -gt 0 ] && run streams "stream side (.venv/streams)" .venv/streams/bin/python "${two_files[@]}" "${streams[@]}"
if [ ${#airflow[@]} -gt 0 ]; then
  wait "$beside"
  trap - EXIT
  cat $log
  run airflow "Airflow side (.venv/airflow)" .venv/airflow/bin/python --long without "${two_files[@]}" "${airflow[@]}"
fi

printf '\n\033[1mmake test\033[0m\n'
cat build/test-*.verdict
# What was killed has left no line.
[ "$(cat build/test-*.verdict | grep -c ' passed in ')" -eq $(((${#streams[@]} > 0) + 2 * (${#airflow[@]} > 0))) ]
