"""Which port belongs to which part, where it can be changed, and whether it is free."""

import contextlib
import dataclasses
import itertools
import os
import random
import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import psutil

from stack.errors import PortTaken, StackError

HOST = "127.0.0.1"
PREFIX = "COUNTERSIGN_PORT_"
_QUIET_PORTS = range(20_000, 32_000)


def _port(default: int, part: str) -> int:
    port: int = field(default=default, metadata={"part": part})
    return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The loopback ports of one stack; each field can be set by ``COUNTERSIGN_PORT_<FIELD>``."""

    kafka: int = _port(19092, "kafka")
    controller: int = _port(19093, "kafka")
    s3: int = _port(18333, "s3")
    s3_grpc: int = _port(18334, "s3")
    s3_master: int = _port(18335, "s3")
    s3_master_grpc: int = _port(18336, "s3")
    s3_volume: int = _port(18337, "s3")
    s3_volume_grpc: int = _port(18338, "s3")
    s3_filer: int = _port(18339, "s3")
    s3_filer_grpc: int = _port(18340, "s3")
    sandbox: int = _port(18080, "sandbox")
    airflow: int = _port(18081, "airflow")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The default ports, with what ``COUNTERSIGN_PORT_…`` variables say instead.

        Raises:
            StackError: a variable is no port number, names no port, or two parts would get the same one.
        """
        known = {f"{PREFIX}{f.name.upper()}": f.name for f in dataclasses.fields(cls)}
        chosen: dict[str, int] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in known:
                raise StackError(f"{variable}: there is no such port; known are {', '.join(known)}")
            if not text.isdecimal() or not 0 < int(text) < 65536:
                raise StackError(f"{variable}={text!r}: not a port number (1 to 65535)")
            chosen[known[variable]] = int(text)
        ports = cls(**chosen)
        numbers: dict[int, str] = {}
        for name, number, _ in ports.items():
            if number in numbers:
                other = f"{PREFIX}{numbers[number].upper()}"
                raise StackError(f"port {number} is given twice: {other} and {PREFIX}{name.upper()}; change one")
            numbers[number] = name
        return ports

    @classmethod
    def free(cls) -> Self:
        """Ports that are free at this moment, for stacks that live beside others (tests).

        Drawn below the range from which the system takes the near ends of outgoing connections: there one could be
        gone again before the part gets to it.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        candidates = random.sample(_QUIET_PORTS, len(_QUIET_PORTS))
        free = itertools.islice((port for port in candidates if _can_bind(port)), len(names))
        return cls(**dict(zip(names, free, strict=True)))

    def items(self) -> Iterator[tuple[str, int, str]]:
        """Field name, port number and part of every port."""
        for each in dataclasses.fields(self):
            yield each.name, getattr(self, each.name), each.metadata["part"]

    def check(self, parts: Collection[str]) -> None:
        """Make sure that every port of ``parts`` can be bound.

        Raises:
            PortTaken: naming each taken port, its part, who holds it and the variable to change.
        """
        taken = [
            f"port {number} of {part} is taken{_holder(number)}; "
            f"free it, or choose another: {PREFIX}{name.upper()}=… (make up PORT_{name.upper()}=…)"
            for name, number, part in self.items()
            if part in parts and not _can_bind(number)
        ]
        if taken:
            raise PortTaken("\n".join(taken))


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do, so that connections of a stack just stopped (TIME_WAIT) do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    """Who listens on ``port``, as far as this user may know."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            at_port = connection.laddr and connection.laddr.port == port
            if connection.status == psutil.CONN_LISTEN and at_port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""
