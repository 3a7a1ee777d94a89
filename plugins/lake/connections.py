"""Secrets that Airflow keeps: connections of sources and of Kafka, and the masking key. Only tasks can read them."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress

from airflow.sdk import Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from kafka_access import Access, BadAccess, NoAnswer, Refused, access, enter
from kafka_access.settings import entries, variable
from lake.landing.broker import KafkaRefuses
from lake.landing.http import Endpoint
from lake.masking import Masker
from lake.settings import BadSetting
from order_fraud.rights import ROLES, topics

MASKING_KEY = "masking_key"


def endpoint(connection_id: str) -> Endpoint:
    """Return where a source is and its secret, from the Airflow connection of that id.

    Raises:
        BadSetting: there is no such connection, or it lacks host or password.
    """
    variable = f"AIRFLOW_CONN_{connection_id.upper()}"
    try:
        connection = Connection.get(connection_id)
    except AirflowNotFoundException as error:
        raise BadSetting(
            f"there is no Airflow connection {connection_id}: add it (type http, with host and password) under Admin, "
            f"Connections, or set {variable}"
        ) from error
    if not connection.host or not connection.password:
        missing = "password" if connection.host else "host"
        raise BadSetting(f"the Airflow connection {connection_id} has no {missing}: add it there or in {variable}")
    port = f":{connection.port}" if connection.port else ""
    url = f"{connection.schema or 'https'}://{connection.host}{port}"
    return Endpoint(connection_id, url, connection.password, connection.login or "")


def kafka(role: str) -> Access:
    """Return how the tasks of a role get into Kafka, once they have been let in and may do what that role does.

    Taken from the Airflow connection ``kafka_<role>``, else ``kafka``, else the environment (COUNTERSIGN_KAFKA…). In a
    connection, host is the brokers (commas between several), login and password are user and password, and the extra
    holds the other settings under their names: ``{"security": "scram", "ca": "/usr/local/airflow/dags/ca.pem"}``.

    Args:
        role: of ``order_fraud.rights.ROLES``.

    Raises:
        BadSetting: the connection, or a variable, has no allowed value; the message names it and the remedy.
        KafkaRefuses: wrong user or password, or a right is missing; the message names principal and topic.
    """
    found = next(filter(None, map(_kafka_connection, (f"kafka_{role}", "kafka"))), None)
    name, settings = found or ("the environment", os.environ)
    try:
        known = access(settings)
        with suppress(NoAnswer):  # whoever wants something of the broker says so, and tries again
            enter(known, topics(ROLES[role]))
    except BadAccess as error:
        raise BadSetting(f"{name}: {error}") from error
    except Refused as error:
        raise KafkaRefuses(str(error)) from error
    return known


def _kafka_connection(connection_id: str) -> tuple[str, Mapping[str, str]] | None:
    """Return a connection's settings as the variables that they would be in the environment."""
    try:
        connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        return None
    name = f"the Airflow connection {connection_id}"
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError as error:
        raise BadSetting(f"{name}: its extra is no JSON: {error}") from error
    if not isinstance(extra, dict):
        raise BadSetting(f"{name}: its extra is no JSON object: write {{}} or leave it out")
    names = {entry.field for entry in entries()} - {"brokers", "user", "password"}
    if wrong := sorted(set(extra) - names):
        raise BadSetting(
            f"{name}: its extra has {wrong[0]!r}, which is no setting; there are {', '.join(sorted(names))}"
        )
    host = connection.host or ""
    if not host:
        raise BadSetting(f"{name} has no host: write the brokers there, host:port, with commas between several")
    brokers = f"{host}:{connection.port}" if connection.port else host
    given = {**extra, "brokers": brokers, "user": connection.login, "password": connection.password}
    region = {each: os.environ[each] for each in ("AWS_REGION", "AWS_DEFAULT_REGION") if each in os.environ}
    return name, region | {variable(field): str(value) for field, value in given.items() if value}


def masker() -> Masker:
    """Return the masker with the key of this installation.

    Raises:
        BadSetting: the Airflow Variable ``masking_key`` is not set, or too short.
    """
    try:
        key = Variable.get(MASKING_KEY)
    except (AirflowRuntimeError, KeyError) as error:
        raise BadSetting(
            f"there is no Airflow Variable {MASKING_KEY}: set it to a random secret of at least 16 characters and "
            f"keep it; "
            "it masks ip and e-mail addresses before they land"
        ) from error
    return Masker(key)
