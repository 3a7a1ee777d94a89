"""Looks for planted values in every byte that a system keeps: files and objects, decoded where they are compressed.

As a command: ``python -m tests.traces FOLDER…`` with the values as a JSON object (name: value) on standard input, and
the store in the environment; prints one line of JSON, a list of [value's name, place].
"""

import contextlib
import gzip
import io
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

Found = list[tuple[str, str]]
"""The name of a value, and where it was found."""


def in_files(needles: Mapping[str, str], folders: Iterable[Path]) -> Found:
    """Look into all files below the folders."""
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    return [(name, str(path)) for path in files for name in named(needles, of_file(path))]


def in_store(needles: Mapping[str, str]) -> Found:
    """Look into all objects of the store that the environment names."""
    import boto3

    from lake.settings import from_environment

    settings = from_environment()
    store = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
    )
    found: Found = []
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket):
        for item in page.get("Contents", ()):
            body = store.get_object(Bucket=settings.bucket, Key=item["Key"])["Body"].read()
            found += [(name, item["Key"]) for name in named(needles, of_bytes(body))]
    return found


def named(needles: Mapping[str, str], contents: Iterable[bytes]) -> list[str]:
    """Return the names of those values that stand in any of the contents, in any case, or as in an address."""
    texts = [content.lower() for content in contents]
    return [
        name
        for name, value in needles.items()
        if any(form.lower().encode() in text for form in {value, quote(value)} for text in texts)
    ]


def of_file(path: Path) -> Iterator[bytes]:
    """Yield what a file holds: as it is, and decoded."""
    yield from of_bytes(path.read_bytes())
    with path.open("rb") as file:
        is_database = file.read(15) == b"SQLite format 3"
    if is_database:  # a long value is spread over pages
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - the table's own name
                    yield b" ".join(one if isinstance(one, bytes) else str(one).encode() for one in row)


def of_bytes(body: bytes) -> Iterator[bytes]:
    """Yield bytes as they are, and what they say if they are Parquet, Avro or gzip."""
    yield body
    if body.startswith(b"PAR1"):
        import pyarrow.parquet as pq

        yield str(pq.read_table(io.BytesIO(body)).to_pydict()).encode()
    elif body.startswith(b"Obj\x01"):
        from pyiceberg.avro.file import AvroFile
        from pyiceberg.io.pyarrow import PyArrowFileIO

        yield _avro(AvroFile, PyArrowFileIO, body)
    elif body.startswith(b"\x1f\x8b"):
        yield from of_bytes(gzip.decompress(body))


def _avro(reader: type, files: type, body: bytes) -> bytes:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".avro") as file:
        file.write(body)
        file.flush()
        with reader(files().new_input(file.name)) as records:
            return "\n".join(map(_plain, records)).encode()


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return " ".join(f"{_plain(name)} {_plain(one)}" for name, one in value.items())
    fields = getattr(value, "_data", value)
    return " ".join(map(_plain, fields)) if isinstance(fields, list | tuple) else str(fields)


if __name__ == "__main__":
    looked_for = json.load(sys.stdin)
    places = in_files(looked_for, map(Path, sys.argv[1:]))
    if os.environ.get("COUNTERSIGN_S3_ENDPOINT"):
        places += in_store(looked_for)
    print(json.dumps(places))
