"""Where the batch half finds its bucket and its catalog: the environment and nothing else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from lake.errors import Hopeless


class BadSetting(Hopeless):
    """A setting is missing or unusable; the message names the variable and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The addresses and credentials that every task of the batch half shares.

    Attributes:
        s3_endpoint: address of an S3-compatible store; ``None`` means AWS itself.
        bucket: the bucket of warehouse and reports.
        catalog: SQLAlchemy URI of the Iceberg SQL catalog, or ``glue`` for AWS Glue.
        region: AWS region.
        access_key, secret_key: S3 credentials; ``None`` leaves them to the usual AWS chain (roles, profiles).
    """

    s3_endpoint: str | None = "http://127.0.0.1:18333"
    bucket: str = "countersign"
    catalog: str = ""
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)

    @property
    def warehouse(self) -> str:
        """The root under which Iceberg keeps every table."""
        return f"s3://{self.bucket}/warehouse"


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment holds, with the loopback defaults of the local stack.

    Raises:
        BadSetting: ``COUNTERSIGN_CATALOG`` is missing, or only one half of the AWS key pair is set.
    """
    env = os.environ if environ is None else environ
    catalog = env.get("COUNTERSIGN_CATALOG", "")
    if not catalog:
        raise BadSetting(
            "COUNTERSIGN_CATALOG is not set: give the SQLAlchemy URI of the Iceberg catalog "
            "(sqlite:////…/.stack/catalog.db) or 'glue'; `make up` sets it for the local stack"
        )
    access, secret = env.get("AWS_ACCESS_KEY_ID") or None, env.get("AWS_SECRET_ACCESS_KEY") or None
    if (access is None) != (secret is None):
        missing = "AWS_SECRET_ACCESS_KEY" if secret is None else "AWS_ACCESS_KEY_ID"
        raise BadSetting(f"{missing} is not set although its other half is: set both, or neither to use an AWS role")
    return Settings(
        s3_endpoint=env.get("COUNTERSIGN_S3_ENDPOINT", Settings.s3_endpoint or "") or None,
        bucket=env.get("COUNTERSIGN_BUCKET") or Settings.bucket,
        catalog=catalog,
        region=env.get("AWS_DEFAULT_REGION") or Settings.region,
        access_key=access,
        secret_key=secret,
    )
