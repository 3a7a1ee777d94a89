"""Where reports lie: ``s3://<bucket>/reports/<dag>/<run>/`` with ``report.html``, ``report.json`` and more."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lake.report.names import REPORTING, SAFE
from lake.settings import Settings

HTML, JSON, CSV, QUALITY, OUTCOME = "report.html", "report.json", "changes.csv", "quality.html", "outcome.json"
PAGE = "text/html; charset=utf-8"
TYPES = {HTML: PAGE, JSON: "application/json", CSV: "text/csv; charset=utf-8", QUALITY: PAGE}
"""The documents that people and programs read; ``OUTCOME`` is for the tasks of the run alone."""


class NoSuchReport(LookupError):
    """There is no such document; the message names it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A report as the list shows it: its DAG, the run's safe id, when its page was written, how many bytes it has."""

    dag: str
    run: str
    written: datetime
    size: int


class ReportStore:
    """Reads and writes the documents of the runs of one DAG."""

    def __init__(self, settings: Settings, dag: str) -> None:
        """Connect with the settings' endpoint and keys, or with the usual AWS chain where there are none.

        Raises:
            NoSuchReport: the runs of this DAG have no report.
        """
        if dag not in REPORTING:
            raise NoSuchReport(f"runs of {dag!r} have no report")
        self.bucket, self.dag = settings.bucket, dag
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            region_name=settings.region,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            config=Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60),
        )

    def uri(self, run: str, name: str) -> str:
        """Return the s3:// address of a document."""
        return f"s3://{self.bucket}/{_key(self.dag, run, name)}"

    def put(self, run: str, name: str, body: bytes) -> str:
        """Store a document in place of an earlier one, and return its address."""
        kind = TYPES.get(name, TYPES[JSON])
        self._s3.put_object(Bucket=self.bucket, Key=_key(self.dag, run, name), Body=body, ContentType=kind)
        return self.uri(run, name)

    def get(self, run: str, name: str) -> bytes:
        """Return a document.

        Raises:
            NoSuchReport: there is none.
        """
        try:
            body: bytes = self._s3.get_object(Bucket=self.bucket, Key=_key(self.dag, run, name))["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket", "404"):
                raise NoSuchReport(f"run {run!r} has no {name}") from error
            raise
        return body

    def has(self, run: str, name: str = HTML) -> bool:
        """Whether a run has published its page, or another document."""
        try:
            self._s3.head_object(Bucket=self.bucket, Key=_key(self.dag, run, name))
        except NoSuchReport:
            return False
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
                return False
            raise
        return True

    def runs(self) -> list[Stored]:
        """Return all runs that have a page, the newest first."""
        return sorted(self._pages(), key=lambda one: (one.written, one.run), reverse=True)

    def _pages(self) -> Iterator[Stored]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=_root(self.dag))
        for page in pages:
            for item in page.get("Contents", ()):
                run, _, name = item["Key"].removeprefix(_root(self.dag)).rpartition("/")
                if name == HTML and SAFE.match(run):
                    yield Stored(self.dag, run, item["LastModified"], item["Size"])


def _root(dag: str) -> str:
    return f"reports/{dag}/"


def _key(dag: str, run: str, name: str) -> str:
    """Return the S3 key of a document; nothing can reach outside the DAG's own folder.

    Raises:
        NoSuchReport: not the name of a run or of one of its documents.
    """
    if not SAFE.match(run) or name not in (*TYPES, OUTCOME):
        raise NoSuchReport(f"{run!r} is no run, or {name!r} is none of its documents")
    return f"{_root(dag)}{run}/{name}"
