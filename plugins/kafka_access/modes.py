"""The ways into Kafka that there are."""

from typing import Literal

Security = Literal["plaintext", "tls", "scram", "iam"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256"]
