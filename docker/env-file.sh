#!/usr/bin/env bash
# Makes `.env` (mode 600) from .env.example: every name without a value gets a random secret. What `.env` has already stays.
#
#   docker/env-file.sh [FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

file=${1:-.env}
random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

secret() {
  case $1 in
    AIRFLOW_FERNET_KEY) head -c 32 /dev/urandom | base64 | tr '+/' '-_' ;; # 32 bytes, base64 for URLs
    KAFKA_CLUSTER_ID) head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=' ;; # 16 bytes, and no leading dash
    S3_ACCESS_KEY) random 10 ;;
    SANDBOX_SHOP_TOKEN) printf 'shpat_%s' "$(random 16)" ;;
    SANDBOX_PAYMENTS_KEY) printf 'sk_test_%s' "$(random 16)" ;;
    SANDBOX_NOTICES_SECRET) printf 'whsec_%s' "$(random 16)" ;;
    *) random 32 ;;
  esac
}

umask 077
touch "$file"
chmod 600 "$file"
made=0
while IFS= read -r name; do
  if ! grep -q "^$name=." "$file"; then
    sed -i "/^$name=\$/d" "$file"
    printf '%s=%s\n' "$name" "$(secret "$name")" >>"$file"
    made=$((made + 1))
  fi
done < <(sed -n 's/^\([A-Z0-9_]*\)=$/\1/p' .env.example)
echo "$file: $made secrets made, the others stay"
