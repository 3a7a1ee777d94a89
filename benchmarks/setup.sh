#!/usr/bin/env bash
# Makes .venv/quix and .venv/batch, the environments of those contenders that cannot live in ours: Quix Streams pins another
# confluent-kafka, and Spark is nothing that the project needs. Run after stack/setup.sh; it only does what is missing or out of
# date.
#
#   benchmarks/setup.sh [quix|batch]        the environment (default quix)
#   benchmarks/setup.sh lock [quix|batch]   compile its requirements.lock again [UPGRADE=1]
set -euo pipefail
cd "$(dirname "$0")/.."

lock=
[ "${1:-}" = lock ] && lock=1 && shift
NAME=${1:-quix}
LOCK=benchmarks/$NAME/requirements.lock
UV=.venv/tools/bin/uv

if [ -n "$lock" ]; then
  $UV pip compile --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links --python-version 3.12 \
    ${UPGRADE:+--upgrade} "benchmarks/$NAME/requirements.txt" -o "$LOCK"
  exit
fi

stamp=.venv/$NAME/.made-from-$(sha256sum "$LOCK" | cut -c1-16)
[ -e "$stamp" ] && ".venv/$NAME/bin/python" -c '' 2>/dev/null && exit
started=$SECONDS
printf '\033[1msetup\033[0m  environment .venv/%s …\n' "$NAME"
mkdir -p build
{
  $UV venv --quiet --clear --python .venv/streams/bin/python ".venv/$NAME"
  $UV pip install --exact --compile-bytecode --python ".venv/$NAME/bin/python" -r "$LOCK"
} >"build/$NAME.log" 2>&1 || {
  tail -n 25 "build/$NAME.log" >&2
  printf '\033[1;31msetup\033[0m  environment .venv/%s failed; the whole output is in build/%s.log\n' "$NAME" "$NAME" >&2
  exit 1
}
touch "$stamp"
printf '\033[1msetup\033[0m  environment .venv/%s: done in %s s\n' "$NAME" $((SECONDS - started))
