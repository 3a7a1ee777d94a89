"""SeaweedFS as S3: a real object store from a Python wheel, with the bucket of the lake."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stack.keys import write_private
from stack.part import Part
from stack.ports import HOST
from stack.site import BUCKET, PYTHON, Site


def s3(site: Site) -> list[Part]:
    """Master, volume server, filer and S3 gateway in one process."""
    home, ports = site.run_dir / "s3", site.ports
    data, identities = home / "data", home / "identities.json"

    def make_files() -> None:
        data.mkdir(parents=True, exist_ok=True)
        credentials = {"accessKey": site.keys.s3_access_key, "secretKey": site.keys.s3_secret_key}
        identity = {
            "name": "countersign",
            "credentials": [credentials],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(identities, json.dumps({"identities": [identity]}))

    flags = {
        "ip": HOST,
        "ip.bind": HOST,
        "dir": data,
        "master.port": ports.s3_master,
        "master.port.grpc": ports.s3_master_grpc,
        "master.telemetry": "false",  # on by default: reports to the makers
        # A restarted master first waits this long for others of its kind; there are none.
        "master.electionTimeout": "1s",
        "master.volumeSizeLimitMB": 1024,
        "volume.max": 64,
        "volume.port": ports.s3_volume,
        "volume.port.grpc": ports.s3_volume_grpc,
        "filer": "true",
        "filer.port": ports.s3_filer,
        "filer.port.grpc": ports.s3_filer_grpc,
        "s3": "true",
        "s3.config": identities,
        "s3.port": ports.s3,
        "s3.port.grpc": ports.s3_grpc,
        # Further catalogues that it would open on fixed ports.
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    part = Part(
        name="s3",
        group="s3",
        server=True,
        command=(
            str(PYTHON.with_name("weed")),
            "-logtostderr",
            "server",
            *(f"-{name}={value}" for name, value in flags.items()),
        ),
        address=site.s3,
        before=make_files,
        tidy=partial(_remove_sockets, site),
        # Its own good order never ends while gateway and filer, in the same process, hold connections to each other.
        # Nothing is lost: what it has acknowledged is with the operating system.
        grace=2.0,
        waiting_for=_bucket_check(site),
    )
    return [part]


def _remove_sockets(site: Site) -> None:
    """SeaweedFS puts a local socket per port into /tmp, wherever told to keep its data, and leaves it there."""
    for name, number, part in site.ports.items():
        if part == "s3":
            service = name.removeprefix("s3_").removesuffix("_grpc").replace("grpc", "s3")
            kind = f"{service}-grpc" if name.endswith("grpc") else service
            Path(f"/tmp/seaweedfs-{kind}-{number}.sock").unlink(missing_ok=True)  # noqa: S108


def _bucket_check(site: Site) -> Callable[[], str]:
    """Ready means: our key may write, and the bucket is there."""
    client = boto3.client(
        "s3",
        endpoint_url=site.s3,
        aws_access_key_id=site.keys.s3_access_key,
        aws_secret_access_key=site.keys.s3_secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=1, read_timeout=3, retries={"total_max_attempts": 1}, proxies={}),
    )

    def waiting_for() -> str:
        try:
            names = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            if BUCKET not in names:
                client.create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError) as error:
            return f"the bucket {BUCKET} on {site.s3} ({error})"
        return ""

    return waiting_for
