"""``python -m stack.bucket``: make the bucket of the lake unless it is there, as the environment says."""

import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from stack.site import BUCKET


def main() -> int:
    """Make it; return the exit code: 0 it is there, 5 the object store refuses or does not answer."""
    endpoint = os.environ.get("COUNTERSIGN_S3_ENDPOINT") or None
    name = os.environ.get("COUNTERSIGN_BUCKET") or BUCKET
    client = boto3.client("s3", endpoint_url=endpoint)
    try:
        made = name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        if made:
            client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        print(f"stack.bucket: bucket {name} on {endpoint or 'AWS'}: {error}", file=sys.stderr)
        return 5
    print(f"bucket {name} {'made' if made else 'is there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
