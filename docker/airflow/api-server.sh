#!/usr/bin/env bash
# Starts the API server; the password of its one user comes from the environment. Airflow would make up one it does not know.
set -euo pipefail
umask 077
python -c 'import json, os; print(json.dumps({"admin": os.environ["COUNTERSIGN_AIRFLOW_PASSWORD"]}))' \
  >"$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
unset COUNTERSIGN_AIRFLOW_PASSWORD
exec airflow api-server
