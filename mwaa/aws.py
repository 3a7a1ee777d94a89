"""Clients of AWS, and its errors in words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from mwaa.errors import MwaaError


def client(service: str) -> Any:
    """Return a client with the usual settings of AWS: environment, profile or role; also ``AWS_ENDPOINT_URL``.

    Raises:
        MwaaError: there is no region, or the profile is not there.
    """
    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
        # MWAA's API is at api.<endpoint>; an endpoint that somebody names is meant as it stands.
        inject_host_prefix=not any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ),
    )
    try:
        return boto3.client(service, config=config)
    except NoRegionError as error:
        raise MwaaError("no AWS region: set AWS_DEFAULT_REGION, or a region in your AWS profile") from error
    except BotoCoreError as error:
        raise MwaaError(f"AWS cannot be used: {error}") from error


def code(error: ClientError) -> str:
    """Return AWS's short name of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what AWS refuses as one line that begins with what was being done.

    Raises:
        MwaaError: instead of any error of boto3.
    """
    try:
        yield
    except NoCredentialsError as error:
        raise MwaaError(f"{what}: no AWS credentials were found: log in (aws sso login), or set AWS_PROFILE") from error
    except ClientError as error:
        raise MwaaError(f"{what}: {code(error)}: {error.response.get('Error', {}).get('Message', '')}") from error
    except BotoCoreError as error:
        raise MwaaError(f"{what}: {error}") from error
