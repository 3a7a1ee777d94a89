#!/usr/bin/env bash
# Run once, on an empty volume: the Iceberg catalog has a database and an owner of its own beside Airflow's.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v password="$LAKE_PASSWORD" <<'SQL'
CREATE ROLE lake LOGIN PASSWORD :'password';
CREATE DATABASE lake OWNER lake;
SQL
