#!/usr/bin/env bash
# All tests, each folder in the environment its code runs in. Arguments go to both pytest runs, e.g. `stack/test.sh -k relay`.
set -uo pipefail
cd "$(dirname "$0")/.."

# Only folders that are there: a fresh checkout of an older commit must still be testable.
existing() { for folder in "$@"; do [ -d "$folder" ] && echo "$folder"; done; }

# run NAME PYTHON FOLDER… : pytest with one closing line; 5 ("no tests collected") is not a success unless -k asked for it.
run() {
  local name=$1 python=$2 started=$SECONDS
  shift 2
  printf '\n\033[1m%s\033[0m: %s\n' "$name" "$*"
  "$python" -m pytest "$@" "${ARGUMENTS[@]}"
  local code=$?
  if [ $code -eq 5 ] && [ ${#ARGUMENTS[@]} -gt 0 ]; then code=0; fi
  if [ $code -eq 0 ]; then verdict=passed; else verdict="FAILED (pytest exit code $code)"; fi
  SUMMARY+=("$(printf '%-32s %s in %s s' "$name" "$verdict" $((SECONDS - started)))")
  FAILED=$((FAILED + (code != 0)))
}

ARGUMENTS=("$@") SUMMARY=() FAILED=0
mapfile -t streams < <(existing tests/unit tests/streams tests/stack tests/mwaa)
mapfile -t airflow < <(existing tests/dags tests/lake)

# Two files at a time, each process with a broker of its own: most of these tests wait, for a session to run out or for another
# process to start. In the order of tests/conftest.py: files with long tests first.
side_by_side=(-n 2 --dist loadfile --no-loadscope-reorder)
[ ${#streams[@]} -gt 0 ] && run "stream side (.venv/streams)" .venv/streams/bin/python "${side_by_side[@]}" "${streams[@]}"
[ ${#airflow[@]} -gt 0 ] && AIRFLOW_HOME="$PWD/build/airflow-tests" run "Airflow side (.venv/airflow)" .venv/airflow/bin/python "${side_by_side[@]}" "${airflow[@]}"

printf '\n\033[1mmake test\033[0m\n'
printf '  %s\n' "${SUMMARY[@]}"
exit $((FAILED > 0))
