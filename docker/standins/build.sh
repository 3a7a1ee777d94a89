#!/usr/bin/env bash
# Builds local images under the names and tags of docker-compose.yml, for machines that cannot pull images. As root; README.md.
#
#   docker/standins/build.sh [gather|base|images]     by default all three; what is there is not made again
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$PWD/build/standins
base=countersign-standin-base
PYTHON=${PYTHON:-$(readlink -f .venv/streams/bin/python)}
STATSD_EXPORTER=v0.28.0
mkdir -p "$work"

# What the images are made of, through this machine's own package clients.
gather() {
  docker/standins/rootfs.sh
  if [ ! -e "$work/wheels/.complete" ]; then
    "$PYTHON" -m venv "$work/pip"
    local pip="$work/pip/bin/pip --disable-pip-version-check wheel --quiet --wheel-dir $work/wheels"
    .venv/tools/bin/uv pip freeze --quiet --python .venv/airflow/bin/python >"$work/airflow.txt"
    # Two sets that differ in versions: each is complete in itself, so nothing is resolved.
    $pip --no-deps -r streams/requirements.lock
    $pip --no-deps -r stack/requirements.lock
    $pip --no-deps -r "$work/airflow.txt"
    $pip --no-deps -r docker/airflow/requirements.txt
    $pip "$(sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml)"
    touch "$work/wheels/.complete"
  fi
  [ -x "$work/statsd_exporter" ] ||
    { GOBIN=$work GOFLAGS=-buildvcs=false go install "github.com/prometheus/statsd_exporter@$STATSD_EXPORTER"; }
}

base() {
  docker image inspect "$base" >/dev/null 2>&1 || tar -C "$work/rootfs" -c . | docker import - "$base" >/dev/null
}

# image TAG FOLDER FILE… : the Dockerfile of FOLDER with these files beside it.
image() {
  local tag=$1 folder=$2 context=$work/context/$2
  shift 2
  ! docker image inspect "$tag" >/dev/null 2>&1 || return 0
  rm -rf "$context"
  mkdir -p "$context"
  cp -r "docker/standins/$folder/." "$context/"
  while [ $# -gt 0 ]; do
    cp -rL "$1" "$context/$2"
    shift 2
  done
  echo "$tag"
  DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --quiet --network none --label countersign.standin=yes --tag "$tag" "$context" >/dev/null
  rm -rf "$context"
}

# The tag that the project's files ask for.
tag() { grep -hoE "(image: |FROM )$1:[^ ]+" docker-compose.yml docker/*/Dockerfile | head -n 1 | awk '{print $2}'; }

images() {
  local prefix
  # The interpreter without what was installed into it; pip comes with it.
  prefix=$("$PYTHON" -c 'import sys; print(sys.base_prefix)')
  mkdir -p "$work/python"
  tar -C "$prefix" --exclude='./lib/python3.12/site-packages/*' --exclude=__pycache__ --exclude='./lib/python3.12/test' -c . |
    tar -C "$work/python" -x
  rm -rf "$work"/python/bin/pip*
  image "$(tag apache/kafka)" kafka build/kafka jars
  image "$(tag postgres)" postgres
  image "$(tag python)" python "$work/python" python "$work/wheels" wheels
  image "$(tag chrislusf/seaweedfs)" seaweedfs .venv/streams/bin/weed weed
  image "$(tag prom/prometheus)" prometheus
  image "$(tag prom/statsd-exporter)" statsd "$work/statsd_exporter" statsd_exporter
  image "$(tag grafana/grafana)" grafana
  image "$(tag apache/airflow)" airflow "$work/airflow.txt" pins.txt
}

for step in "${@:-gather base images}"; do for each in $step; do "$each"; done; done
