#!/bin/bash
# MWAA runs this before it installs requirements.txt, in each of its containers, and takes over what is exported here.
#
# The settings of Countersign are configuration options of the environment (countersign.bucket and so on, see the template),
# so that one package serves every environment. MWAA knows them as AIRFLOW__COUNTERSIGN__BUCKET; the code reads
# COUNTERSIGN_BUCKET. No secret goes this way: those are in Secrets Manager. Nothing is fetched or installed: this takes no
# second of the five minutes that there are.

for countersign_option in $(compgen -e AIRFLOW__COUNTERSIGN__); do
  export "COUNTERSIGN_${countersign_option#AIRFLOW__COUNTERSIGN__}=${!countersign_option}"
done
unset countersign_option

# On AWS the store is S3 itself and the catalog is Glue, unless an option says otherwise.
export COUNTERSIGN_S3_ENDPOINT="${COUNTERSIGN_S3_ENDPOINT:-}"
export COUNTERSIGN_CATALOG="${COUNTERSIGN_CATALOG:-glue}"

# Not `exit 1`: an environment that does not start says less than a task that names the missing setting.
for countersign_needed in COUNTERSIGN_BUCKET COUNTERSIGN_KAFKA; do
  if [ -z "${!countersign_needed:-}" ]; then
    echo "$countersign_needed is not set: give the environment the configuration option" \
      "countersign.$(tr '[:upper:]' '[:lower:]' <<<"${countersign_needed#COUNTERSIGN_}")"
  fi
done
unset countersign_needed
