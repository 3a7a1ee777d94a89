"""Does what MWAA does with the package, in a new environment, and takes the time.

1. Makes what MWAA starts from: Airflow with its Celery, FAB and Amazon providers, under Airflow's own constraints.
2. Lays the package out and runs ``startup.sh``.
3. Lets pip install ``requirements.txt``, nothing from a cache; no package that was there before may change.
4. Loads all DAGs and plugins and imports every module, with the paths of that layout and no others.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaa.errors import MwaaError
from mwaa.package import PACKAGE, ROOT, STARTUP, unpack

STARTUP_LIMIT_S, INSTALL_LIMIT_S = 5 * 60, 9 * 60
BASE = ("apache-airflow==3.3.1", *(f"apache-airflow-providers-{name}" for name in ("amazon", "celery", "fab")))
MWAA_CONSTRAINTS = ROOT / "stack" / "mwaa-constraints-3.3.1.txt"
PROBE = Path(__file__).with_name("probe.py")
OPTIONS = {"BUCKET": "a-lake", "KAFKA": "b-1.example:9098", "KAFKA_SECURITY": "iam"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial: seconds of the two steps that MWAA limits, packages, and what Airflow made of it."""

    startup_s: float
    install_s: float
    before: int
    added: int
    found: Mapping[str, Any]


def run(folder: Path, package: Path = PACKAGE) -> Outcome:
    """Try the package out in a new folder.

    Raises:
        MwaaError: a step failed, took longer than MWAA gives it, or changed what MWAA has; the message says which.
    """
    shutil.rmtree(folder, ignore_errors=True)
    home = folder / "airflow"
    home.mkdir(parents=True)
    python = _base(folder / "venv")
    before = _installed(python)
    installed = unpack(package, home)
    began = time.monotonic()
    exported = startup(home)
    startup_s = time.monotonic() - began
    began = time.monotonic()
    pip = (f"{python}", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "-r", f"{installed}")
    _run(pip, limit_s=INSTALL_LIMIT_S, what="installing requirements.txt")
    install_s = time.monotonic() - began
    after = _installed(python)
    if changed := sorted(name for name, version in before.items() if after.get(name) != version):
        raise MwaaError(
            f"requirements.txt changes what MWAA has installed: {', '.join(changed)}. MWAA refuses that for Airflow, "
            "Celery, Flask and SQLAlchemy. `make lock` compiles dags/constraints.txt under MWAA's own pins"
        )
    return Outcome(
        startup_s=startup_s,
        install_s=install_s,
        before=len(before),
        added=len(after) - len(before),
        found=probe(python, home, exported, everything=True),
    )


def startup(home: Path, options: Mapping[str, str] = OPTIONS) -> dict[str, str]:
    """Run ``startup.sh`` as MWAA does, with these options of section ``countersign``; return what it exports.

    Raises:
        MwaaError: it failed, or took longer than MWAA gives it.
    """
    script = shlex.quote(f"{home / 'startup' / STARTUP}")
    given = {f"AIRFLOW__COUNTERSIGN__{name}": value for name, value in options.items()}
    out = _run(
        ("bash", "-c", f"source {script} >&2; env -0"),
        env={"PATH": os.environ["PATH"], **given},
        limit_s=STARTUP_LIMIT_S,
        what=STARTUP,
    )
    return dict(line.split("=", 1) for line in out.split("\0") if line.startswith("COUNTERSIGN_"))


def probe(python: Path, home: Path, exported: Mapping[str, str], *, everything: bool = False) -> dict[str, Any]:
    """Return what Airflow makes of a package that is laid out below ``home``: see ``probe.py``."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": f"{home}",
        "AIRFLOW_HOME": f"{home}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        **exported,
    }
    command = (f"{python}", f"{PROBE}", f"{home}", *(["--everything"] if everything else []))
    out = _run(command, env=environment, cwd=home, what="loading DAGs and plugins")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def _base(venv: Path) -> Path:
    uv = f"{ROOT / '.venv' / 'tools' / 'bin' / 'uv'}"
    _run((uv, "venv", "--quiet", "--seed", "--python", sys.executable, f"{venv}"), what="making an environment")
    python = venv / "bin" / "python"
    _run(
        (uv, "pip", "install", "--quiet", "--python", f"{python}", "-c", f"{MWAA_CONSTRAINTS}", *BASE),
        what="installing what MWAA has by itself",
    )
    return python


def _installed(python: Path) -> dict[str, str]:
    out = _run((f"{python}", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"), what="pip list")
    return {each["name"]: each["version"] for each in json.loads(out)}


def _run(
    command: Sequence[str],
    *,
    what: str,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    limit_s: float = 1200,
) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise MwaaError(f"{what}: not done within the {limit_s / 60:.0f} minutes that there are") from error
    if done.returncode:
        raise MwaaError(f"{what}: failed ({done.returncode})\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout
