"""The secrets that the DAGs want from Airflow, as Airflow's backend for AWS Secrets Manager looks for them.

No value is ever printed: neither what is there nor what is brought.
"""

import json
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from mwaa.aws import client, code, told
from mwaa.errors import MwaaError

CONNECTIONS_PREFIX, VARIABLES_PREFIX = "airflow/connections", "airflow/variables"
BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
PLACEHOLDER = "…"
MASKING_KEY = "masking_key"
SHORTEST_KEY = 16
FIELDS = ("conn_type", "host", "login", "password", "port", "schema", "extra")


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection: its Airflow id, what it is for, and the fields that it must have."""

    id: str
    meaning: str
    needed: tuple[str, ...] = ("conn_type", "host", "password")

    @property
    def name(self) -> str:
        """The name of the secret."""
        return f"{CONNECTIONS_PREFIX}/{self.id}"


CONNECTIONS = (
    Connection("analytics", "web analytics: password is the access token"),
    Connection("carrier", "the carriers' API: password is its key"),
    Connection(
        "crm", "the CRM: login is the client id, password the client secret", ("conn_type", "host", "login", "password")
    ),
    Connection(
        "erp",
        "the ERP system: login and password of its communication user",
        ("conn_type", "host", "login", "password"),
    ),
    Connection("notices", "the webhook that customers' notices go to: password is the key that they are signed with"),
    Connection("payments", "the payment provider: password is the secret API key"),
    Connection("shop", "the shop: password is the token of its Admin API"),
)
KEY_NAME = f"{VARIABLES_PREFIX}/{MASKING_KEY}"
NAMES = (*(each.name for each in CONNECTIONS), KEY_NAME)


def backend_kwargs() -> dict[str, str]:
    """Return the settings of Airflow's secrets backend.

    The patterns name just what there is: anything else is not asked for, which costs nothing and is not refused.
    """
    return {
        "connections_prefix": CONNECTIONS_PREFIX,
        "connections_lookup_pattern": f"^({'|'.join(each.id for each in CONNECTIONS)})$",
        "variables_prefix": VARIABLES_PREFIX,
        "variables_lookup_pattern": f"^{MASKING_KEY}$",
    }


def example() -> dict[str, Any]:
    """Return the file that :func:`create` takes, with a placeholder for each value to fill in."""
    return {
        "connections": {
            each.id: {field: "http" if field == "conn_type" else PLACEHOLDER for field in each.needed}
            for each in CONNECTIONS
        }
    }


def create(values: object, *, replace: bool = False) -> dict[str, str]:
    """Create the secrets that are not there; return what was done about each, by name.

    The masking key is made here, at random, and never replaced: with another key, the same customer would get other
    tokens than those in the lake.

    Args:
        values: as :func:`example`; ``{"variables": {"masking_key": …}}`` brings the key of an older lake along.
        replace: also write a new version of connections that are there.

    Raises:
        MwaaError: a value is missing or unusable, before anything is written; or AWS refuses.
    """
    texts = _texts(values)
    manager = client("secretsmanager")
    done = {}
    for name, text in texts.items():
        with told(f"secret {name}"):
            try:
                manager.create_secret(Name=name, SecretString=text)
                done[name] = "created"
            except ClientError as error:
                if code(error) != "ResourceExistsException":
                    raise
                if replace and name != KEY_NAME:
                    manager.put_secret_value(SecretId=name, SecretString=text)
                    done[name] = "replaced"
                else:
                    done[name] = "was there"
    return done


def check() -> dict[str, str]:
    """Return what is wrong with each secret, by name, in the order of :data:`NAMES`; empty if nothing is."""
    manager = client("secretsmanager")
    found = {}
    for name in NAMES:
        with told(f"secret {name}"):
            try:
                text = manager.get_secret_value(SecretId=name).get("SecretString") or ""
            except ClientError as error:
                if code(error) not in ("ResourceNotFoundException", "InvalidRequestException"):
                    raise
                found[name] = "there is none" if code(error) == "ResourceNotFoundException" else "is being deleted"
                continue
        found[name] = "; ".join(_wrong(name, text))
    return found


def _texts(values: object) -> dict[str, str]:
    if not isinstance(values, dict) or set(values) - {"connections", "variables"}:
        raise MwaaError("the secrets must be one object with connections and perhaps variables: see `secrets example`")
    known = {each.id: each for each in CONNECTIONS}
    connections = _named(values, "connections", known)
    variables = _named(values, "variables", (MASKING_KEY,))
    texts = {known[name].name: json.dumps(fields) for name, fields in connections.items()}
    texts[KEY_NAME] = variables.get(MASKING_KEY) or secrets.token_urlsafe(32)
    wrong = [f"{name}: {each}" for name, text in texts.items() for each in _wrong(name, text)]
    if wrong:
        raise MwaaError("nothing was written:\n  " + "\n  ".join(wrong))
    return texts


def _named(values: dict[str, Any], kind: str, names: Collection[str]) -> dict[str, Any]:
    given = values.get(kind, {})
    if not isinstance(given, dict):
        raise MwaaError(f"{kind} must be an object, by name: see `secrets example`")
    if odd := sorted(set(given) - set(names)):
        raise MwaaError(f"{kind}: {odd[0]} is none that the DAGs know; there are {', '.join(names)}")
    return given


def _wrong(name: str, text: object) -> Iterator[str]:
    """Yield what is wrong with a secret's text, never any part of a value."""
    if name == KEY_NAME:
        if not isinstance(text, str) or len(text) < SHORTEST_KEY:
            yield f"must be a text of at least {SHORTEST_KEY} characters"
        return
    try:
        fields = json.loads(str(text))
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        yield "must be a JSON object with conn_type, host and so on"
        return
    needed = next(each.needed for each in CONNECTIONS if each.name == name)
    yield from (f"has no {field}" for field in needed if not fields.get(field))
    yield from (f"{field} is no field of a connection" for field in fields if field not in FIELDS)
    yield from (f"{field} is still the placeholder" for field, value in fields.items() if value == PLACEHOLDER)
    yield from _wrong_host(fields)


def _wrong_host(fields: Mapping[str, Any]) -> Iterator[str]:
    host = fields.get("host")
    if host and (not isinstance(host, str) or "/" in host):
        yield "host must be a host name alone; http or https is the schema, and https if left out"
