#!/usr/bin/env bash
# Makes .venv/quix, the environment of the one contender that cannot live in ours (it pins another confluent-kafka). Run after
# stack/setup.sh; it only does what is missing or out of date.
#
#   benchmarks/setup.sh          the environment
#   benchmarks/setup.sh lock     compile benchmarks/quix/requirements.lock again [UPGRADE=1]
set -euo pipefail
cd "$(dirname "$0")/.."

LOCK=benchmarks/quix/requirements.lock
UV=.venv/tools/bin/uv

if [ "${1:-}" = lock ]; then
  $UV pip compile --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links --python-version 3.12 \
    ${UPGRADE:+--upgrade} benchmarks/quix/requirements.txt -o "$LOCK"
  exit
fi

stamp=.venv/quix/.made-from-$(sha256sum "$LOCK" | cut -c1-16)
[ -e "$stamp" ] && .venv/quix/bin/python -c '' 2>/dev/null && exit
started=$SECONDS
printf '\033[1msetup\033[0m  environment .venv/quix …\n'
mkdir -p build
{
  $UV venv --quiet --clear --python .venv/streams/bin/python .venv/quix
  $UV pip install --exact --compile-bytecode --python .venv/quix/bin/python -r "$LOCK"
} >build/quix.log 2>&1 || {
  tail -n 25 build/quix.log >&2
  printf '\033[1;31msetup\033[0m  environment .venv/quix failed; the whole output is in build/quix.log\n' >&2
  exit 1
}
touch "$stamp"
printf '\033[1msetup\033[0m  environment .venv/quix: done in %s s\n' $((SECONDS - started))
