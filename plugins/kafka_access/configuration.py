"""The settings of librdkafka that let a client in. Nobody else in the project names brokers or passwords to it."""

from typing import Any

from kafka_access.settings import Access, Brokers
from kafka_access.tokens import Tokens

_PROTOCOL = {"plaintext": "PLAINTEXT", "tls": "SSL", "scram": "SASL_SSL", "iam": "SASL_SSL"}


def access_to(brokers: Brokers) -> Access:
    """Return what is meant by brokers of which perhaps the address alone was given."""
    return brokers if isinstance(brokers, Access) else Access(brokers=brokers)


def client(brokers: Brokers) -> dict[str, Any]:
    """Return where the brokers are and what lets a client in, for Producer, Consumer and AdminClient alike."""
    access = access_to(brokers)
    settings: dict[str, Any] = {"bootstrap.servers": access.brokers, "security.protocol": _PROTOCOL[access.security]}
    files = {"ssl.ca.location": access.ca, "ssl.certificate.location": access.certificate}
    files |= {"ssl.key.location": access.key, "ssl.key.password": access.key_password}
    settings |= {name: value for name, value in files.items() if value is not None}
    if access.security == "scram":
        settings |= {
            "sasl.mechanism": access.mechanism,
            "sasl.username": access.user,
            "sasl.password": access.password,
        }
    elif access.security == "iam":
        settings |= {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": Tokens(access)}
    return settings
