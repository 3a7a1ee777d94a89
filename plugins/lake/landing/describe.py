"""Says which objects a source has, or drafts the columns of a flow for one of them.

  eval "$(make env)"; PYTHONPATH=plugins .venv/airflow/bin/python -m lake.landing.describe salesforce crm /services/data/v66.0 Contact

Fields that fit no column as they are come as comments. Names, what is personal and what may be missing are yours to decide.
"""  # noqa: E501 - a command is one line

import argparse
import re
import sys
from collections.abc import Iterator

from lake.errors import Hopeless
from lake.landing.connector import Connector, Field, named
from lake.landing.flow import CONNECTORS
from lake.landing.http import SourceUnavailable


def column(path: str) -> str:
    """Return a name for the column of a field: ``Fraud_Status__c`` and ``fraudStatus`` become ``fraud_status``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path.removesuffix("__c").replace(".", "_")).lower()
    return re.sub(r"_+", "_", words).strip("_")


def draft(fields: list[Field]) -> Iterator[str]:
    """Yield the lines of a flow's ``columns``."""
    yield "columns:"
    for field in fields:
        if not field.type:
            yield f"  # {field.path}: {field.native}"
            continue
        optional = "optional: true, " if field.nullable else ""
        yield f"  {column(field.path)}: {{from: {field.path}, type: {field.type}, {optional}doc: {field.native}}}"


def described(connector: Connector, entity: str | None) -> list[str]:
    """Return what there is to say: the objects, or the columns of one of them.

    Raises:
        BadCredentials, SourceRefused, SourceUnavailable: see :mod:`lake.landing.http`.
    """
    connector.check_credentials()
    if entity is None:
        return [f"{one.name}  # {one.label}" for one in connector.describe_entities()]
    return list(draft(connector.describe_fields(entity)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 4 if the source does not answer or refuses."""
    parser = argparse.ArgumentParser(
        prog="python -m lake.landing.describe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("connector", help=f"{', '.join(CONNECTORS)}, or module:Class")
    parser.add_argument("connection", help="id of the Airflow connection")
    parser.add_argument("endpoint", help="path under which the API answers")
    parser.add_argument("entity", nargs="?", help="the object to describe; without it all objects are listed")
    options = parser.parse_args(arguments)
    from lake.connections import endpoint  # brings in Airflow, which takes seconds: not for --help

    try:
        made = named(options.connector)(endpoint(options.connection), options.endpoint)
        with made as connector:
            lines = described(connector, options.entity)
    except (Hopeless, SourceUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
