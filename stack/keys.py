"""The secrets of one stack: made at random the first time, kept for the user alone."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


def _token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Every secret that the parts share; there are no defaults to forget in production."""

    s3_access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = field(default_factory=_token)
    shop_token: str = field(default_factory=lambda: f"shpat_{secrets.token_hex(16)}")
    payments_key: str = field(default_factory=lambda: f"sk_test_{secrets.token_hex(16)}")
    crm_secret: str = field(default_factory=lambda: secrets.token_hex(32))
    notices_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(16)}")
    carrier_key: str = field(default_factory=lambda: f"asat_{secrets.token_hex(16)}")
    erp_password: str = field(default_factory=_token)
    analytics_token: str = field(default_factory=lambda: f"ya29.{secrets.token_hex(32)}")
    sandbox_admin_token: str = field(default_factory=lambda: secrets.token_hex(16))
    masking_key: str = field(default_factory=lambda: secrets.token_hex(32))
    airflow_password: str = field(default_factory=_token)
    airflow_jwt_secret: str = field(default_factory=lambda: secrets.token_hex(32))
    airflow_secret_key: str = field(default_factory=_token)
    airflow_fernet_key: str = field(default_factory=lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``path``; secrets that it lacks are made and written back (mode 600)."""
        stored = json.loads(path.read_text()) if path.exists() else {}
        keys = cls(**{name: value for name, value in stored.items() if name in cls.__slots__})
        if asdict(keys) != stored:
            write_private(path, json.dumps(asdict(keys), indent=2) + "\n")
        return keys


def write_private(path: Path, text: str) -> None:
    """Write a file that only the user can read, from its first moment on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
