"""Amazon's signer, as far as the project knows it, with tokens that a broker at home can check: unsecured JWTs.

In place of a signature they say who one is: the last part of the role's ARN, else the access key. How long they live
and where each is noted comes from the environment.
"""

import json
import os
import time
from base64 import urlsafe_b64encode
from pathlib import Path


class MSKAuthTokenProvider:
    """Has the signer's names, arguments and answers: a token, and when it expires in milliseconds."""

    @staticmethod
    def generate_auth_token(region: str) -> tuple[str, int]:
        """Return a token for whom the access key names."""
        return _token(os.environ["AWS_ACCESS_KEY_ID"])

    @staticmethod
    def generate_auth_token_from_role_arn(region: str, role_arn: str, sts_session_name: str) -> tuple[str, int]:
        """Return a token for a role."""
        return _token(role_arn.rpartition("/")[2])


def _token(subject: str) -> tuple[str, int]:
    now = time.time()
    expires = now + float(os.environ["TOKEN_LIFE_S"])
    with Path(os.environ["TOKEN_NOTES"]).open("a") as notes:
        notes.write(f"{os.getpid()} {subject} {now} {expires}\n")
    parts = {"alg": "none"}, {"sub": subject, "iat": now, "exp": expires}
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".", int(
        expires * 1000
    )
