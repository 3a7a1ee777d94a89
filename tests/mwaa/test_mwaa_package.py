"""The package is what the tree says, byte for byte, and nothing that must not leave the machine."""

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from mwaa import package
from mwaa.contents import complaints
from mwaa.errors import MwaaError
from mwaa.trial import startup

ROOT = package.ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "mwaa"
    package.build(target=target)
    return target


def copy_of_tree(to: Path) -> Path:
    """What a build reads, elsewhere, with other times and rights, with caches, and files made in another order."""
    for name in ("dags", "plugins"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    (to / "mwaa").mkdir()
    for name in ("requirements.txt", "mwaa/startup.sh"):
        shutil.copy(ROOT / name, to / name)
    for path in to.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700)
    (to / "plugins" / "lake" / "__pycache__").mkdir()
    (to / "plugins" / "lake" / "__pycache__" / "tasks.cpython-312.pyc").write_bytes(b"\0")
    return to


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_same_tree_elsewhere_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    package.build(copy_of_tree(tmp_path / "copy"), tmp_path / "made")
    assert digests(tmp_path / "made") == digests(built)


def test_another_byte_gives_another_package(built: Path, tmp_path: Path) -> None:
    copy = copy_of_tree(tmp_path / "copy")
    with (copy / "plugins" / "lake" / "errors.py").open("a") as changed:
        changed.write("\n")
    package.build(copy, tmp_path / "made")
    ours, other = digests(built), digests(tmp_path / "made")
    assert {name for name in ours if ours[name] != other[name]} == {"plugins.zip", "SHA256SUMS"}


def test_package_holds_what_git_holds_and_no_more(built: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "dags", "plugins")
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    expected = {name for name in tracked if name != "dags/ruff.toml" and not name.endswith("/ruff.toml")}
    expected = {name for name in expected if (ROOT / name).exists()}
    with zipfile.ZipFile(built / "plugins.zip") as archive:
        inside = {f"plugins/{name}" for name in archive.namelist()}
        assert archive.testzip() is None
    dags = {path.relative_to(built).as_posix() for path in (built / "dags").rglob("*") if path.is_file()}
    assert inside | dags == expected
    assert {path.name for path in built.iterdir()} == {
        *("dags", "plugins.zip", "requirements.txt", "startup.sh", "SHA256SUMS")
    }
    assert sum(path.stat().st_size for path in built.rglob("*")) < 2_000_000


def test_checksums_are_those_that_sha256sum_reads(built: Path) -> None:
    subprocess.run(["/bin/sh", "-c", "sha256sum --check --strict --quiet SHA256SUMS"], cwd=built, check=True)


def test_requirements_name_constraints_where_mwaa_has_them(built: Path) -> None:
    lines = (built / "requirements.txt").read_text().splitlines()
    assert lines[0] == '--constraint "/usr/local/airflow/dags/constraints.txt"'
    assert lines[1:] == (ROOT / "requirements.txt").read_text().splitlines()[1:]
    assert (built / "dags" / "constraints.txt").exists()
    with pytest.raises(MwaaError, match="must have the line"):
        package.requirements("boto3\n")


def test_no_pin_differs_from_those_of_mwaa() -> None:
    """Airflow, Celery, Flask and SQLAlchemy cannot be overridden there, and nothing else needs to be."""

    def pins(path: Path) -> dict[str, str]:
        found = re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text())
        return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}

    ours, theirs = pins(ROOT / "dags" / "constraints.txt"), pins(ROOT / "stack" / "mwaa-constraints-3.3.1.txt")
    common = ours.keys() & theirs.keys()
    assert len(common) > 50
    assert {name: (ours[name], theirs[name]) for name in common if ours[name] != theirs[name]} == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("key = 'AKIA" + "ABCDEFGHIJKLMNOP'", "an AWS access key"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----", "a private key"),
        ("sk_live_" + "abcdefghijklmnop", "a secret key of the payment provider"),
        ("shpat_" + "0123456789abcdef0123456789abcdef", "a token of the shop"),
        ("postgresql://me:" + "hunter2@db.example/x", "a password in an address"),
        ("open('/home" + "/somebody/x')", "an absolute path of somebody's machine"),
        ("--extra-index-url https://example.org", "an address of a package registry"),
        (f"{ROOT}/dags", "the path of this checkout"),
    ],
)
def test_forbidden_content_is_named_by_place_and_not_shown(text: str, what: str) -> None:
    found = list(complaints("dags/leak.py", f"x\n{text}\n".encode(), ROOT))
    assert f"dags/leak.py:2: {what}" in found
    assert not any(text in line for line in found)


def test_forbidden_content_stops_the_build(tmp_path: Path) -> None:
    copy = copy_of_tree(tmp_path)
    (copy / "plugins" / "desk" / "leak.py").write_text("key = 'sk_live_" + "abcdefghijklmnop'\n")
    with pytest.raises(MwaaError, match=r"plugins/desk/leak.py:1: a secret key"):
        package.build(copy, tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["dags/data.parquet", "plugins/lake/key.p12", "plugins/.env"])
def test_file_of_an_unknown_kind_stops_the_build(tmp_path: Path, name: str) -> None:
    copy = copy_of_tree(tmp_path)
    (copy / name).write_bytes(b"x")
    with pytest.raises(MwaaError, match=re.escape(name)):
        package.build(copy, tmp_path / "made")


def test_startup_script_turns_options_into_settings(built: Path, tmp_path: Path) -> None:
    package.unpack(built, tmp_path)
    options = {"BUCKET": "a lake", "KAFKA": "b-1:9098,b-2:9098", "KAFKA_SECURITY": "iam"}
    assert startup(tmp_path, options) == {
        "COUNTERSIGN_BUCKET": "a lake",
        "COUNTERSIGN_KAFKA": "b-1:9098,b-2:9098",
        "COUNTERSIGN_KAFKA_SECURITY": "iam",
        "COUNTERSIGN_CATALOG": "glue",
        "COUNTERSIGN_S3_ENDPOINT": "",
    }


def test_settings_of_startup_script_lead_to_aws(built: Path, tmp_path: Path) -> None:
    """No endpoint means S3 itself; an environment without it would look for the local stack."""
    package.unpack(built, tmp_path)
    exported = startup(tmp_path, {"BUCKET": "a-lake", "KAFKA": "b-1:9098"})
    code = (
        "import json, dataclasses; from lake.settings import from_environment as f; "
        "print(json.dumps(dataclasses.asdict(f())))"
    )
    done = subprocess.run(
        [str(ROOT / ".venv" / "streams" / "bin" / "python"), "-c", code],
        env={"PYTHONPATH": str(tmp_path / "plugins"), "AWS_DEFAULT_REGION": "eu-west-1", **exported},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"bucket": "a-lake"' in done.stdout
    assert '"s3_endpoint": null' in done.stdout
    assert '"catalog": "glue"' in done.stdout
    assert '"region": "eu-west-1"' in done.stdout


def test_startup_script_names_the_option_that_is_missing(built: Path, tmp_path: Path) -> None:
    package.unpack(built, tmp_path)
    script = tmp_path / "startup" / "startup.sh"
    done = subprocess.run(
        ["/bin/bash", script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    assert "configuration option countersign.bucket" in done.stdout
    assert "configuration option countersign.kafka" in done.stdout
