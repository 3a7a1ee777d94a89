#!/usr/bin/env bash
# Makes all that the other commands need; run it as often as you like, it only does what is missing or out of date.
#
#   stack/setup.sh          everything: system packages, .venv/tools, .venv/streams, .venv/airflow, the Kafka jars,
#                           PostgreSQL
#   stack/setup.sh tools    only .venv/tools (uv), for `make lock`
#
# Each piece has a stamp beside it, named after a hash of what it was made from; a stamp that fits means nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9

say() { printf '\033[1msetup\033[0m  %s\n' "$*"; }
die() { printf '\033[1;31msetup\033[0m  %s\n' "$*" >&2; exit 1; }

# --- stamps ----------------------------------------------------------------------------------------------------------

# The python is part of every environment's stamp: the path inside a .venv breaks when that python goes.
stamp_of() { { printf '%s\n' "${PYTHON_ID:-}"; cat "$@"; } | sha256sum | cut -c1-16; }
is_done() { [ -e "$1/.made-from-$2" ]; }
jars_stamp() { PYTHON_ID='' stamp_of stack/kafka/pom.xml; }
postgres_stamp() { PYTHON_ID='' stamp_of stack/postgres/pom.xml; }
mark_done() { rm -f "$1"/.made-from-*; touch "$1/.made-from-$2"; }

# Run a long step, its output in a log that is shown only when the step fails.
step() {
  local text=$1 log=build/setup.log started=$SECONDS
  shift
  mkdir -p build
  say "$text …"
  if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    die "$text: failed; the whole output is in $log"
  fi
  say "$text: done in $((SECONDS - started)) s"
}

# --- Python 3.12 -----------------------------------------------------------------------------------------------------

# A name on PATH proves nothing: pyenv's shims exist for versions that are not selected and then fail when called.
works_as_312() {
  "$1" -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.12 python3 python \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python "$HOME"/.pyenv/versions/3.12*/bin/python \
    "$HOME"/.local/share/uv/python/cpython-3.12*/bin/python3.12 \
    /usr/local/bin/python3.12 /opt/python/3.12*/bin/python3.12 /opt/homebrew/bin/python3.12; do
    if [ -n "$candidate" ] && works_as_312 "$candidate"; then
      # The interpreter itself, not a shim that may point elsewhere tomorrow.
      "$candidate" -c 'import os, sys; print(os.path.realpath(sys._base_executable))'
      return
    fi
  done
  die "Python 3.12 (with venv) is needed, the version of Airflow on MWAA, and none was found. Get one, for example:
         Ubuntu 24.04:             apt install python3.12 python3.12-venv
         Debian and others:        pyenv install 3.12        (https://github.com/pyenv/pyenv)
         with uv:                  uv python install 3.12
       or name one yourself:       make setup PYTHON=/path/to/python3.12"
}

# --- system packages -------------------------------------------------------------------------------------------------

java_17() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') && [ "${version:-0}" -ge 17 ]
}

install_system_packages() {
  local missing=() install="apt-get install -y --no-install-recommends" command="apt-get update" as_root=()
  if ! java_17; then
    missing+=("Java 17")
    # A distribution that has left Java 17 behind has a newer one as its default, which does as well.
    command+=" && ($install openjdk-17-jre-headless || $install default-jre-headless)"
  fi
  if { ! is_done build/kafka "$(jars_stamp)" || lacks_postgres; } && ! command -v mvn >/dev/null; then
    missing+=(Maven)
    command+=" && $install maven"
  fi
  [ ${#missing[@]} -gt 0 ] || return 0
  local names
  names=$(printf '%s, ' "${missing[@]}") names=${names%, }
  command -v apt-get >/dev/null || die "missing: $names. There is no apt-get here: install them your way, then try again."
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || die "missing: $names. Type this once, then try again:
         sudo sh -c '$command'"
    as_root=(sudo -n)
  fi
  step "$names (apt)" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c "$command"
  java_17 || die "the java on PATH is still older than 17 after installing it: put the new one first on PATH."
}

# --- environments ----------------------------------------------------------------------------------------------------

make_tools() {
  local stamp
  stamp=$(stamp_of <(echo "uv==$UV_VERSION"))
  is_done .venv/tools "$stamp" && return
  make_tools_venv() {
    "$PYTHON_EXE" -m venv --clear .venv/tools
    .venv/tools/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
  }
  step "uv $UV_VERSION" make_tools_venv
  mark_done .venv/tools "$stamp"
}

# make_environment NAME LOCK… : .venv/NAME holds exactly what the locks say.
make_environment() {
  local name=$1 stamp lock arguments=()
  shift
  stamp=$(stamp_of "$@")
  is_done ".venv/$name" "$stamp" && return
  for lock in "$@"; do [[ $lock == dags/constraints.txt ]] || arguments+=(-r "$lock"); done
  fill_environment() {
    [ -x ".venv/$name/bin/python" ] && works_as_312 ".venv/$name/bin/python" ||
      .venv/tools/bin/uv venv --quiet --clear --python "$PYTHON_EXE" ".venv/$name"
    # Compiled now, on all cores: left to the first run, every Airflow process and task would compile the same modules at once
    # (landing took 90 s instead of 4).
    .venv/tools/bin/uv pip install --exact --compile-bytecode --python ".venv/$name/bin/python" "${arguments[@]}"
  }
  step "environment .venv/$name" fill_environment
  mark_done ".venv/$name" "$stamp"
}

# `python -m producers.shop` works in every shell, and Faust finds the transport countersign:// by its entry point: the project
# itself is installed in the stream environment, editable. (Airflow puts plugins/ on its own path by itself.)
install_project() {
  local stamp place=.venv/streams/countersign
  stamp=$(PYTHON_ID="$PYTHON_ID $PWD" stamp_of pyproject.toml stack/requirements.lock)
  is_done "$place" "$stamp" && return
  step "the project in .venv/streams" .venv/tools/bin/uv pip install --no-deps --python .venv/streams/bin/python --editable .
  mkdir -p "$place"
  mark_done "$place" "$stamp"
}

# Every fresh stack starts from a copy of this database instead of running all of Airflow's migrations.
make_airflow_database() {
  local stamp
  stamp=$(stamp_of dags/constraints.txt)
  is_done build/airflow "$stamp" && return
  rm -rf build/airflow
  step "Airflow's empty database" env AIRFLOW_HOME="$PWD/build/airflow" AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS=False \
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$PWD/build/airflow/airflow.db" .venv/airflow/bin/airflow db migrate
  mark_done build/airflow "$stamp"
}

copy_kafka_jars() {
  local stamp
  stamp=$(jars_stamp)
  is_done build/kafka "$stamp" && return
  rm -rf build/kafka
  step "Kafka's jars (Maven)" mvn --batch-mode --no-transfer-progress -f stack/kafka/pom.xml dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$PWD/build/kafka"
  mark_done build/kafka "$stamp"
}

# For the tests of the warehouse, which are skipped where there is none: the programs are made for this platform only.
lacks_postgres() { [ "$(uname -sm)" = "Linux x86_64" ] && ! is_done build/postgres "$(postgres_stamp)"; }

unpack_postgres() {
  lacks_postgres || return 0
  rm -rf build/postgres
  fill_postgres() {
    mvn --batch-mode --no-transfer-progress -f stack/postgres/pom.xml dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$PWD/build/postgres/jars"
    # Python unpacks it: unzip and xz are not everywhere.
    "$PYTHON_EXE" - build/postgres/jars/*.jar build/postgres <<'UNPACK'
import io, sys, tarfile, zipfile
jar, folder = sys.argv[1:]
with zipfile.ZipFile(jar) as archive:
    name = next(one for one in archive.namelist() if one.endswith(".txz"))
    with tarfile.open(fileobj=io.BytesIO(archive.read(name)), mode="r:xz") as programs:
        programs.extractall(folder, filter="tar")
UNPACK
  }
  step "PostgreSQL (Maven)" fill_postgres
  mark_done build/postgres "$(postgres_stamp)"
}

# Two set-ups at once (make test beside make demo) would fill the same folders: the second waits for the first.
mkdir -p build .venv
exec 9>build/setup.lock
if command -v flock >/dev/null; then
  flock --nonblock 9 || { say "another set-up is at work: waiting for it …"; flock 9; }
fi

PYTHON_EXE=$(find_python)
PYTHON_ID=$("$PYTHON_EXE" -c 'import sys; print(sys.executable, sys.version.split()[0])')

make_tools
if [ "${1:-all}" = all ]; then
  install_system_packages
  make_environment streams stack/requirements.lock
  install_project
  make_environment airflow requirements.txt tests/requirements-airflow.txt dags/constraints.txt
  make_airflow_database
  copy_kafka_jars
  unpack_postgres
fi
