"""Brings the package into the bucket, in an order in which the environment never sees half of it.

1. Compare: each object's SHA-256 with that of the file.
2. Constraints, plugins.zip, requirements.txt and startup.sh: the environment reads them only when it is updated.
3. Update the environment, if asked to, and wait until it is available.
4. DAG files, which MWAA takes over within a minute; those that are no longer there last.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mwaa.aws import client, told
from mwaa.bucket import Bucket
from mwaa.errors import MwaaError
from mwaa.package import CHECKSUMS, CONSTRAINTS, PLUGINS, REQUIREMENTS, STARTUP

VERSIONED: Mapping[str, str] = {
    PLUGINS: "PluginsS3ObjectVersion",
    REQUIREMENTS: "RequirementsS3ObjectVersion",
    STARTUP: "StartupScriptS3ObjectVersion",
}
"""What the environment is told the version of, and how MWAA's API calls that."""

PATHS: Mapping[str, str] = {
    PLUGINS: "PluginsS3Path",
    REQUIREMENTS: "RequirementsS3Path",
    STARTUP: "StartupScriptS3Path",
}
FIRST = (CONSTRAINTS, *VERSIONED)
PATIENCE_S = 60 * 60

Fate = Literal["new", "changed", "same", "gone"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is to be done about one object: its name, its fate, and the version id that is there now."""

    name: str
    fate: Fate
    version: str = ""


def read(package: Path) -> dict[str, bytes]:
    """Return the files of the package by name, after comparing them with its checksums.

    Raises:
        MwaaError: there is no package, or it is not as it was built.
    """
    try:
        lines = (package / CHECKSUMS).read_text().splitlines()
    except OSError as error:
        raise MwaaError(f"there is no package in {package}: `make mwaa` makes it") from error
    expected = {name: checksum for checksum, name in (line.split("  ", 1) for line in lines)}
    there = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()} - {CHECKSUMS}
    wrong = sorted(expected.keys() ^ there)
    files = {name: (package / name).read_bytes() for name in sorted(expected.keys() & there)}
    wrong += [name for name, content in files.items() if hashlib.sha256(content).hexdigest() != expected[name]]
    if wrong:
        raise MwaaError(f"{package} is not as it was built ({', '.join(wrong)}): `make mwaa` makes it anew")
    return files


def compare(bucket: Bucket, files: Mapping[str, bytes]) -> list[Difference]:
    """Return each object's fate: those of the package in its order, then those that only the bucket has."""
    found = []
    for name, content in files.items():
        there = bucket.look(name)
        if there is None:
            found.append(Difference(name, "new"))
        else:
            same = there[0] == hashlib.sha256(content).hexdigest()
            found.append(Difference(name, "same" if same else "changed", there[1]))
    return found + [Difference(name, "gone") for name in sorted(set(bucket.names()) - files.keys())]


def send(
    bucket: Bucket,
    files: Mapping[str, bytes],
    differences: list[Difference],
    *,
    delete: bool = False,
    between: Callable[[Mapping[str, str]], None] = lambda versions: None,
) -> dict[str, str]:
    """Write what is new or changed; return the version ids that the environment needs.

    Args:
        bucket: where to.
        files: the package.
        differences: from :func:`compare`.
        delete: also delete what only the bucket has.
        between: called with the version ids before the DAG files go.
    """
    versions = {each.name: each.version for each in differences if each.fate == "same" and each.name in VERSIONED}
    ordered = sorted(differences, key=lambda each: (each.fate == "gone", each.name not in FIRST))
    to_write = [each.name for each in ordered if each.fate in ("new", "changed")]
    for name in (name for name in to_write if name in FIRST):
        version = bucket.put(name, files[name], hashlib.sha256(files[name]).hexdigest())
        if name in VERSIONED:
            versions[name] = version
    between(versions)
    for name in (name for name in to_write if name not in FIRST):
        bucket.put(name, files[name], hashlib.sha256(files[name]).hexdigest())
    for each in ordered:
        if each.fate == "gone" and delete:
            bucket.delete(each.name)
    return versions


def update(
    environment: str,
    bucket: str,
    versions: Mapping[str, str],
    *,
    poll_s: float = 30,
    say: Callable[[str], None] = print,
) -> None:
    """Give an environment these versions and wait until it is available; nothing is done if it has them.

    Raises:
        MwaaError: there is no such environment, it reads another bucket, it is busy, or the update failed; the message
            has MWAA's own reason.
    """
    mwaa = client("mwaa")
    before = _state(mwaa, environment)
    if before["SourceBucketArn"].rpartition(":")[2] != bucket:
        raise MwaaError(f"{environment} reads {before['SourceBucketArn']}, not {bucket}: upload to that bucket")
    if _has(before, versions):
        say(f"{environment} has these versions already")
        return
    if before["Status"] not in ("AVAILABLE", "UPDATE_FAILED"):
        raise MwaaError(f"{environment} is {before['Status']}: wait until it is AVAILABLE, then try again")
    changes = {PATHS[name]: name for name in versions} | {VERSIONED[name]: each for name, each in versions.items()}
    with told(f"updating {environment}"):
        mwaa.update_environment(Name=environment, **changes)
    say(f"{environment}: updating, which takes 10 to 30 minutes; it goes on without this command")
    until = time.monotonic() + PATIENCE_S
    while not _over(now := _state(mwaa, environment), before, versions):
        if time.monotonic() > until:
            raise MwaaError(f"{environment} is still {now['Status']} after {PATIENCE_S // 60} minutes: see the console")
        time.sleep(poll_s)
    if not _has(now, versions):
        why = (_last(now).get("Error") or {}).get("ErrorMessage", "MWAA gives no reason")
        raise MwaaError(
            f"{environment} was not updated ({now['Status']}): {why}. See log groups airflow-{environment}-Scheduler "
            "and -Worker, the streams requirements_install and startup_script_execution. DAG files were not uploaded"
        )
    say(f"{environment}: available, with the new versions")


def _over(now: Mapping[str, Any], before: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    """Whether the update has come to its end; right after the call, the state may still be that of before."""
    if now["Status"] in ("UPDATE_FAILED", "UNAVAILABLE", "DELETING", "DELETED"):
        return _last(now) != _last(before)
    failed = _last(now).get("Status") == "FAILED" and _last(now) != _last(before)
    return now["Status"] == "AVAILABLE" and (failed or _has(now, versions))


def _last(state: Mapping[str, Any]) -> Mapping[str, Any]:
    return state.get("LastUpdate") or {}


def _has(state: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    return all(state.get(VERSIONED[name]) == version for name, version in versions.items())


def _state(mwaa: Any, environment: str) -> dict[str, Any]:
    with told(f"environment {environment}"):
        found: dict[str, Any] = mwaa.get_environment(Name=environment)["Environment"]
    return found
