"""How one gets into Kafka: the one object from which every client takes its brokers and its security.

:class:`Access` is the only table of these settings: defaults, explanations, ``--help``, ``docs/msk.md`` and the
messages about wrong values all come from it. It is made from a mapping (:func:`access`), and where that comes from is
not its concern: stream workers and producers take the environment, DAG tasks an Airflow connection.
"""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from kafka_access.modes import Mechanism, Security

PREFIX = "COUNTERSIGN_KAFKA"


class BadAccess(ValueError):
    """A setting is missing or has no allowed value; the message names it and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where Kafka is, and by what one proves who one is. As a text it is the brokers' addresses: no secret shows."""

    brokers: Annotated[str, "Kafka brokers, host:port; several are separated by commas."] = "127.0.0.1:19092"
    security: Annotated[
        Security,
        "plaintext: no encryption, and nobody is asked who they are. tls: encrypted; with a certificate of one's own, "
        "the broker knows who it is. scram: user and password, over TLS. iam: the AWS identity of the process (role of "
        "the task, instance or pod), over TLS; for Amazon MSK.",
    ] = "plaintext"
    ca: Annotated[
        str | None, "PEM file with the certificates to trust. Left out: those of the system, which know Amazon's."
    ] = None
    certificate: Annotated[str | None, "PEM file with the client's own certificate (security tls)."] = None
    key: Annotated[str | None, "PEM file with the private key of that certificate."] = None
    key_password: Annotated[str | None, "Password of that private key, if it has one."] = field(
        default=None, repr=False
    )
    user: Annotated[str | None, "Name (security scram)."] = None
    password: Annotated[str | None, "Password (security scram)."] = field(default=None, repr=False)
    mechanism: Annotated[Mechanism, "How the password is proved. Amazon MSK knows the default only."] = "SCRAM-SHA-512"
    region: Annotated[
        str | None, "AWS region of the cluster (security iam). Left out: AWS_REGION, else AWS_DEFAULT_REGION."
    ] = None
    role: Annotated[
        str | None,
        "ARN of a role to assume (security iam), where processes of one AWS identity are to have different rights: the "
        "tasks of one MWAA environment, say. Left out: the identity of the process itself.",
    ] = None

    def __str__(self) -> str:
        return self.brokers

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            BadAccess: see there.
        """
        for name, allowed in (("security", get_args(Security)), ("mechanism", get_args(Mechanism))):
            if getattr(self, name) not in allowed:
                raise BadAccess(f"{variable(name)}={getattr(self, name)!r}: must be {' or '.join(allowed)}")
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise BadAccess(f"{variable(missing)} is not set although its other half is: set both, or neither")
        for name, only in _ONLY.items():
            if getattr(self, name) is not None and self.security not in only:
                raise BadAccess(
                    f"{variable(name)} is set, but {variable('security')} is {self.security}: it goes with "
                    f"{' or '.join(only)}"
                )
        for name in _NEEDED.get(self.security, ()):
            if getattr(self, name) is None:
                raise BadAccess(f"{variable('security')}={self.security} needs {variable(name)}: set it, too")

    @property
    def principal(self) -> str:
        """As whom the broker knows the client, in words as far as only the broker can tell."""
        if self.security == "scram":
            return f"User:{self.user}"
        if self.security == "iam":
            return f"the AWS role {self.role}" if self.role else "the AWS identity of this process"
        if self.certificate:
            return f"the owner of the certificate {self.certificate}"
        return "User:ANONYMOUS"


_ONLY: Mapping[str, tuple[Security, ...]] = {
    "ca": ("tls", "scram", "iam"),
    "certificate": ("tls",),
    "key": ("tls",),
    "key_password": ("tls",),
    "user": ("scram",),
    "password": ("scram",),
    "role": ("iam",),
}
"""A setting that would have no effect is a mistake: somebody believes that a password protects what is plaintext."""

_NEEDED: Mapping[Security, tuple[str, ...]] = {"scram": ("user", "password"), "iam": ("region",)}

Brokers = Access | str
"""What functions that talk to Kafka are given; an address alone means ``plaintext``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting, as people see it.

    Attributes:
        field: of :class:`Access`, and the key in the extra of an Airflow connection.
        variable: of the environment.
        default: as it would be written there; empty for none.
        allowed: the values that it takes, in words.
        meaning: what it does.
        secret: whether it must not be shown.
    """

    field: str
    variable: str
    default: str
    allowed: str
    meaning: str
    secret: bool


def variable(name: str) -> str:
    """Return the name of a setting's environment variable."""
    return PREFIX if name == "brokers" else f"{PREFIX}_{name.upper()}"


def entries() -> Iterator[Entry]:
    """Yield all settings in the order of their declaration."""
    types = get_type_hints(Access, include_extras=True)
    for each in fields(Access):
        kind, meaning = get_args(types[each.name])
        allowed = " or ".join(get_args(kind)) if get_origin(kind) is Literal else "a text"
        default = "" if each.default is None else str(each.default)
        yield Entry(each.name, variable(each.name), default, allowed, meaning, secret=not each.repr)


def explain(width: int = 100) -> str:
    """Return the settings as a text for ``--help``."""
    return "\n".join(
        f"  {entry.variable}  ({entry.allowed}; default {entry.default or 'none'})\n"
        + textwrap.fill(entry.meaning, width, initial_indent="      ", subsequent_indent="      ")
        for entry in entries()
    )


def access(environment: Mapping[str, str]) -> Access:
    """Return the access that a mapping of variables describes, defaults elsewhere. Empty counts as not set.

    Raises:
        BadAccess: a variable has no allowed value, or two do not go together; the message names it and the remedy.
    """
    given: dict[str, Any] = {entry.field: environment.get(entry.variable, "").strip() for entry in entries()}
    known = {entry.variable for entry in entries()}
    if unknown := sorted(name for name in environment if name.startswith(f"{PREFIX}_") and name not in known):
        raise BadAccess(f"{unknown[0]}: there is no such setting; there are {', '.join(sorted(known))}")
    if given["security"] == "iam" and not given["region"]:
        given["region"] = environment.get("AWS_REGION", "") or environment.get("AWS_DEFAULT_REGION", "")
    return Access(**{name: value for name, value in given.items() if value})
