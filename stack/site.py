"""Where a stack lives: its folders, addresses and the environment that every part of it sees."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stack.keys import Keys
from stack.ports import HOST, Ports

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "streams" / "bin" / "python"
"""Runs our own parts, also when the stack is held from the other environment (tests of the lake)."""
MARK = "COUNTERSIGN_STACK"
"""Environment variable that marks every process of a stack with its run directory: how ``down`` finds them all."""
BUCKET = "countersign"

_NOT_INHERITED = ("AIRFLOW", "AWS_", "COUNTERSIGN_", "FAUST_", "KAFKA_", "PYTHON", "SANDBOX_", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Site:
    """One stack's place on this machine.

    Attributes:
        run_dir: the only folder that run-time files go to.
        ports: where the parts listen.
        keys: what they authenticate with.
    """

    run_dir: Path
    ports: Ports
    keys: Keys

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.run_dir / "logs"

    @property
    def pids(self) -> Path:
        """One pid file per running part."""
        return self.run_dir / "pids"

    @property
    def kafka(self) -> str:
        """The bootstrap address."""
        return f"{HOST}:{self.ports.kafka}"

    @property
    def s3(self) -> str:
        """The S3 endpoint."""
        return f"http://{HOST}:{self.ports.s3}"

    @property
    def sandbox(self) -> str:
        """Where the SaaS stand-ins answer."""
        return f"http://{HOST}:{self.ports.sandbox}"

    @property
    def airflow(self) -> str:
        """Airflow's user interface and API."""
        return f"http://{HOST}:{self.ports.airflow}"

    def worker(self, index: int) -> str:
        """Where a stream worker serves ``/metrics``, ``/health`` and ``/ready``."""
        return f"http://{HOST}:{self.ports.workers + index}"

    @cached_property
    def env(self) -> dict[str, str]:
        """The settings that clients of this stack need, and nothing else."""
        ports, keys = self.ports, self.keys
        shop = {"conn_type": "http", "host": HOST, "port": ports.sandbox, "schema": "http", "password": keys.shop_token}
        return {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}",
            "COUNTERSIGN_KAFKA": self.kafka,
            "COUNTERSIGN_S3_ENDPOINT": self.s3,
            "COUNTERSIGN_BUCKET": BUCKET,
            "COUNTERSIGN_CATALOG": f"sqlite:///{self.run_dir / 'catalog.db'}",
            "COUNTERSIGN_SANDBOX": self.sandbox,
            "COUNTERSIGN_WORKER": self.worker(0),
            "COUNTERSIGN_AIRFLOW": self.airflow,
            "COUNTERSIGN_AIRFLOW_USER": "admin",
            "COUNTERSIGN_AIRFLOW_PASSWORD": keys.airflow_password,
            "AWS_ACCESS_KEY_ID": keys.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": keys.s3_secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "SANDBOX_ADMIN_TOKEN": keys.sandbox_admin_token,
            "SANDBOX_SHOP_TOKEN": keys.shop_token,
            "SANDBOX_PAYMENTS_KEY": keys.payments_key,
            "SANDBOX_CRM_SECRET": keys.crm_secret,
            "SANDBOX_NOTICES_SECRET": keys.notices_secret,
            "SANDBOX_CARRIER_KEY": keys.carrier_key,
            "SANDBOX_ERP_PASSWORD": keys.erp_password,
            "SANDBOX_ANALYTICS_TOKEN": keys.analytics_token,
            "AIRFLOW_CONN_SHOP": json.dumps(shop),
            "AIRFLOW_CONN_PAYMENTS": json.dumps(shop | {"password": keys.payments_key}),
            "AIRFLOW_CONN_CRM": json.dumps(shop | {"login": "countersign", "password": keys.crm_secret}),
            "AIRFLOW_CONN_CARRIER": json.dumps(shop | {"password": keys.carrier_key}),
            "AIRFLOW_CONN_ERP": json.dumps(shop | {"login": "COUNTERSIGN", "password": keys.erp_password}),
            "AIRFLOW_CONN_ANALYTICS": json.dumps(shop | {"password": keys.analytics_token}),
            "AIRFLOW_CONN_NOTICES": json.dumps(shop | {"password": keys.notices_secret}),
            "AIRFLOW_VAR_MASKING_KEY": keys.masking_key,
        }

    @cached_property
    def bare_environ(self) -> dict[str, str]:
        """The user's own environment, without what could point a process elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        # A company's proxy must not get to see, or to refuse, what stays on this machine.
        local = f"{HOST},localhost"
        return {**kept, "NO_PROXY": local, "no_proxy": local}

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment for a client of the stack: ``bare_environ`` with ``env``."""
        return {**self.bare_environ, **self.env}
