"""The upload against a server that speaks S3, and the update against one that speaks MWAA's API."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from mwaa import package
from mwaa.bucket import BLOCKS
from mwaa.cli import main


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / "mwaa"
    package.build(target=target)
    return target


@pytest.fixture
def bucket(aws: str) -> str:
    """A bucket as the template makes it."""
    name = f"dags-{uuid.uuid4()}"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(BLOCKS, True))
    return name


def upload(bucket: str, built: Path, *more: str) -> int:
    return main(["upload", bucket, "--package", str(built), *more])


def versions(bucket: str) -> dict[str, list[str]]:
    """Version ids of all objects by name, the newest first."""
    found: dict[str, list[str]] = {}
    for each in boto3.client("s3").list_object_versions(Bucket=bucket).get("Versions", []):
        found.setdefault(each["Key"], []).append(each["VersionId"])
    return found


def names(built: Path) -> set[str]:
    return {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()} - {package.CHECKSUMS}


def changed_copy(built: Path, to: Path) -> Path:
    """The package of a tree with one more comment in a DAG and in a plugin."""
    root = to / "root"
    for name in ("dags", "plugins"):
        for path in (package.ROOT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and ".ruff_cache" not in path.parts:
                (root / path.relative_to(package.ROOT)).parent.mkdir(parents=True, exist_ok=True)
                (root / path.relative_to(package.ROOT)).write_bytes(path.read_bytes())
    (root / "mwaa").mkdir()
    for name in ("requirements.txt", "mwaa/startup.sh"):
        (root / name).write_bytes((package.ROOT / name).read_bytes())
    for name in ("dags/land_events.py", "plugins/lake/errors.py"):
        with (root / name).open("a") as file:
            file.write("# one more line\n")
    package.build(root, to / "made")
    return to / "made"


def test_dry_run_says_what_would_go_and_writes_nothing(
    bucket: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upload(bucket, built, "--dry-run") == 3
    assert capsys.readouterr().out.count("new  ") == len(names(built))
    assert versions(bucket) == {}


def test_upload_puts_each_file_once_and_says_the_versions(
    bucket: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upload(bucket, built) == 0
    first = versions(bucket)
    assert first.keys() == names(built)
    s3 = boto3.client("s3")
    for name in first:
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == (built / name).read_bytes()
    said = f"PluginsVersion={first['plugins.zip'][0]}\nRequirementsVersion={first['requirements.txt'][0]}\n"
    assert said in capsys.readouterr().out

    assert upload(bucket, built, "--dry-run") == 0
    assert upload(bucket, built) == 0
    assert versions(bucket) == first, "a second upload of the same package wrote something"
    assert said in capsys.readouterr().out


def test_only_what_changed_goes_again_and_old_versions_stay(
    bucket: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(bucket, built)
    first = versions(bucket)
    capsys.readouterr()
    other = changed_copy(built, tmp_path)
    assert upload(bucket, other) == 0
    out = capsys.readouterr().out
    second = versions(bucket)
    assert {name for name in second if second[name] != first[name]} == {"plugins.zip", "dags/land_events.py"}
    assert second["plugins.zip"][1:] == first["plugins.zip"]
    assert f"PluginsVersion={second['plugins.zip'][0]}" in out
    assert f"RequirementsVersion={first['requirements.txt'][0]}" in out


def test_file_that_the_package_does_not_have_goes_only_when_told(
    bucket: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key="dags/old_dag.py", Body=b"x")
    s3.put_object(Bucket=bucket, Key="elsewhere/notes.txt", Body=b"x")
    assert upload(bucket, built) == 0
    assert "gone    dags/old_dag.py (stays" in capsys.readouterr().out
    there = {each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert {"dags/old_dag.py", "elsewhere/notes.txt"} <= there
    assert upload(bucket, built, "--delete", "--dry-run") == 3
    assert upload(bucket, built, "--delete") == 0
    there = {each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert "dags/old_dag.py" not in there
    assert "elsewhere/notes.txt" in there
    assert "dags/old_dag.py" in versions(bucket), "a version that cannot be brought back"


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 1
    return capsys.readouterr().err


def test_bucket_without_versions_is_refused(bucket: str, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boto3.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    error = refused(capsys, upload(bucket, built))
    assert f"bucket {bucket} keeps no versions (Suspended)" in error
    assert "put-bucket-versioning" in error
    assert versions(bucket) == {}


@pytest.mark.parametrize("block", [None, *BLOCKS])
def test_bucket_with_any_way_to_the_public_is_refused(
    bucket: str, built: Path, block: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = boto3.client("s3")
    s3.delete_public_access_block(Bucket=bucket)
    if block:
        s3.put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration={each: each != block for each in BLOCKS}
        )
    error = refused(capsys, upload(bucket, built))
    assert f"does not block public access ({block or ', '.join(BLOCKS)})" in error
    assert versions(bucket) == {}


def test_bucket_that_is_not_there_and_server_that_is_not_there(
    aws: str, built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is no bucket nowhere-at-all" in refused(capsys, upload("nowhere-at-all", built))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    error = refused(capsys, upload("nowhere-at-all", built))
    assert "Could not connect" in error
    assert "Traceback" not in error


def test_no_credentials_is_one_line(
    aws: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    boto3.setup_default_session()
    try:
        error = refused(capsys, upload("any", built))
    finally:
        boto3.setup_default_session()
    assert "no AWS credentials were found" in error


def test_package_that_was_touched_is_refused(
    bucket: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed_copy(built, tmp_path)
    (other / "dags" / "land_events.py").write_text("print('meddled')\n")
    (other / "dags" / "more.py").write_text("\n")
    error = refused(capsys, upload(bucket, other))
    assert "is not as it was built (dags/more.py, dags/land_events.py)" in error
    assert "there is no package" in refused(capsys, upload(bucket, tmp_path))


class Mwaa:
    """An environment behind MWAA's API: GET and PATCH of /environments/<name>, as boto3's own model has them."""

    def __init__(self, bucket: str, *, fails: str | None = None) -> None:
        self.state: dict[str, Any] = {
            "Name": "countersign",
            "Status": "AVAILABLE",
            "SourceBucketArn": f"arn:aws:s3:::{bucket}",
            "LastUpdate": {"Status": "FAILED", "CreatedAt": 1, "Error": {"ErrorMessage": "of long ago"}},
        }
        self.fails = fails
        self.asked: list[dict[str, Any]] = []
        self.seen_in_bucket: list[set[str]] = []
        self.looks = 0
        self._bucket = bucket

    def get(self) -> dict[str, Any]:
        """The state; an update begins to show at the second look and is over at the fourth."""
        if self.asked and self.state["LastUpdate"]["CreatedAt"] == 1:
            self.looks += 1
            if self.looks == 2:
                self.state["Status"] = "UPDATING"
            if self.looks == 4:
                self.state["Status"] = "AVAILABLE"
                self.state["LastUpdate"] = {"Status": "FAILED" if self.fails else "SUCCESS", "CreatedAt": 2}
                if self.fails:
                    self.state["LastUpdate"]["Error"] = {
                        "ErrorCode": "INCORRECT_CONFIGURATION",
                        "ErrorMessage": self.fails,
                    }
                else:
                    self.state |= self.asked[-1]
        return {"Environment": self.state}

    def patch(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        self.seen_in_bucket.append(set(versions(self._bucket)))
        return {"Arn": "arn:aws:airflow:us-east-1:123456789012:environment/countersign"}


@contextmanager
def serving(environment: Mwaa) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/environments/countersign":
                self._answer(404, {"message": "no such environment"}, "ResourceNotFoundException")
            else:
                self._answer(200, environment.get())

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(200, environment.patch(body))

        def _answer(self, status: int, document: dict[str, Any], error: str = "") -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if error:
                self.send_header("x-amzn-ErrorType", error)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_environment_gets_the_versions_before_the_dags_come(
    bucket: str, built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(environment := Mwaa(bucket)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", url)
        assert upload(bucket, built, "--update", "countersign", "--poll", "0") == 0
        there = versions(bucket)
        assert environment.asked == [
            {
                "PluginsS3Path": "plugins.zip",
                "PluginsS3ObjectVersion": there["plugins.zip"][0],
                "RequirementsS3Path": "requirements.txt",
                "RequirementsS3ObjectVersion": there["requirements.txt"][0],
                "StartupScriptS3Path": "startup.sh",
                "StartupScriptS3ObjectVersion": there["startup.sh"][0],
            }
        ]
        assert environment.seen_in_bucket == [
            {"dags/constraints.txt", "plugins.zip", "requirements.txt", "startup.sh"}
        ], "the DAGs came before their plugins, or the constraints after the requirements"
        assert there.keys() == names(built)
        assert "countersign: available, with the new versions" in capsys.readouterr().out
        assert upload(bucket, built, "--update", "countersign", "--poll", "0") == 0
        assert len(environment.asked) == 1, "half an hour of an update for nothing"


def test_update_that_fails_leaves_the_dags_and_says_why(
    bucket: str, built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Mwaa(bucket, fails="requirements.txt: no matching distribution")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", url)
        error = refused(capsys, upload(bucket, built, "--update", "countersign", "--poll", "0"))
    assert "no matching distribution" in error
    assert "of long ago" not in error
    assert not any(name.endswith(".py") for name in versions(bucket))


@pytest.mark.parametrize(
    ("state", "name", "says"),
    [
        ({"SourceBucketArn": "arn:aws:s3:::another"}, "countersign", "reads arn:aws:s3:::another"),
        ({"Status": "UPDATING"}, "countersign", "is UPDATING: wait until it is AVAILABLE"),
        ({}, "typo", "environment typo: ResourceNotFoundException"),
    ],
)
def test_environment_that_cannot_be_updated_is_named(
    bucket: str,
    built: Path,
    state: dict[str, Any],
    name: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = Mwaa(bucket)
    environment.state |= state
    with serving(environment) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", url)
        assert says in refused(capsys, upload(bucket, built, "--update", name, "--poll", "0"))
    assert environment.asked == []
