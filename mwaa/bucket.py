"""The bucket that MWAA reads: whether it may be used, what is there, and putting things there."""

import base64
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from mwaa.aws import client, code, told
from mwaa.errors import MwaaError

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
DAGS = "dags/"


class Bucket:
    """One bucket. Whoever can write to it can run code with the rights of the environment."""

    def __init__(self, name: str) -> None:
        """Connect; nothing is asked yet.

        Raises:
            MwaaError: see :func:`mwaa.aws.client`.
        """
        self.name = name
        self._s3: Any = client("s3")

    def check(self) -> None:
        """Refuse a bucket that MWAA cannot use, or that strangers might.

        Raises:
            MwaaError: there is no such bucket, it keeps no versions, or public access is not blocked in all four ways.
        """
        with told(f"bucket {self.name}"):
            try:
                self._s3.head_bucket(Bucket=self.name)
            except ClientError as error:
                if code(error) in ("404", "NoSuchBucket"):
                    raise MwaaError(
                        f"there is no bucket {self.name}: the stack of mwaa/template.yaml makes it"
                    ) from error
                if code(error) in ("403", "301"):
                    raise MwaaError(
                        f"bucket {self.name}: not yours to read ({code(error)}). Is it in this account and region?"
                    ) from error
                raise
            state = self._s3.get_bucket_versioning(Bucket=self.name).get("Status", "never enabled")
            if state != "Enabled":
                raise MwaaError(
                    f"bucket {self.name} keeps no versions ({state}), and MWAA needs them: aws s3api "
                    f"put-bucket-versioning --bucket {self.name} --versioning-configuration Status=Enabled"
                )
            if missing := [block for block in BLOCKS if not self._blocked().get(block)]:
                raise MwaaError(
                    f"bucket {self.name} does not block public access ({', '.join(missing)}): whoever can write there "
                    f"runs code in Airflow. aws s3api put-public-access-block --bucket {self.name} "
                    "--public-access-block-configuration " + ",".join(f"{block}=true" for block in BLOCKS)
                )

    def _blocked(self) -> dict[str, bool]:
        try:
            found: dict[str, bool] = self._s3.get_public_access_block(Bucket=self.name)[
                "PublicAccessBlockConfiguration"
            ]
        except ClientError as error:
            if code(error) == "NoSuchPublicAccessBlockConfiguration":
                return {}
            raise
        return found

    def names(self) -> Iterator[str]:
        """Yield the names of all that lies below ``dags/``."""
        with told(f"listing s3://{self.name}/{DAGS}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=DAGS):
                for found in page.get("Contents", []):
                    if not found["Key"].endswith("/"):
                        yield found["Key"]

    def look(self, name: str) -> tuple[str, str] | None:
        """Return SHA-256 (hex, empty if S3 does not know it) and version id of an object; None if there is none."""
        with told(f"reading s3://{self.name}/{name}"):
            try:
                found = self._s3.head_object(Bucket=self.name, Key=name, ChecksumMode="ENABLED")
            except ClientError as error:
                if code(error) in ("404", "NoSuchKey"):
                    return None
                raise
        return base64.b64decode(found.get("ChecksumSHA256", "")).hex(), found.get("VersionId", "")

    def put(self, name: str, content: bytes, sha256: str) -> str:
        """Write an object, S3 checks its SHA-256; return its version id."""
        with told(f"writing s3://{self.name}/{name}"):
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            done = self._s3.put_object(
                Bucket=self.name, Key=name, Body=content, ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum
            )
        return str(done["VersionId"])

    def delete(self, name: str) -> None:
        """Put a delete marker on an object; its versions stay."""
        with told(f"deleting s3://{self.name}/{name}"):
            self._s3.delete_object(Bucket=self.name, Key=name)
