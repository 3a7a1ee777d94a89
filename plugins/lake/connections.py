"""Secrets that Airflow keeps: connections of the sources and the masking key. Only tasks can read them."""

from airflow.sdk import Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from lake.landing.http import Endpoint
from lake.masking import Masker
from lake.settings import BadSetting

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
