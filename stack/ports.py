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
_MANY = 16
"""So many ports from ``workers`` on does ``Ports.free`` look for: more than any test has workers."""


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
    workers: int = _port(18100, "workers")
    """Metrics and health of worker 0; worker k has the port k further on."""

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
        names = [f.name for f in dataclasses.fields(cls) if f.name != "workers"]
        candidates = random.sample(_QUIET_PORTS, len(_QUIET_PORTS))
        base = next(port for port in candidates if all(_can_bind(port + index) for index in range(_MANY)))
        others = (port for port in candidates if not base <= port < base + _MANY and _can_bind(port))
        free = itertools.islice(others, len(names))
        return cls(workers=base, **dict(zip(names, free, strict=True)))

    def items(self) -> Iterator[tuple[str, int, str]]:
        """Field name, port number and part of every port."""
        for each in dataclasses.fields(self):
            yield each.name, getattr(self, each.name), each.metadata["part"]

    def check(self, parts: Collection[str], workers: int = 1) -> None:
        """Make sure that every port of ``parts`` can be bound, with so many workers.

        Raises:
            StackError: the workers' ports run into another part's, or beyond the last port there is.
            PortTaken: naming each taken port, its part, who holds it and the variable to change.
        """
        wanted = [(name, number, part) for name, number, part in self.items() if part in parts]
        if "workers" in parts:
            self._check_range(workers)
            wanted += [("workers", self.workers + index, "workers") for index in range(1, workers)]
        taken = [
            f"port {number} of {part} is taken{_holder(number)}; "
            f"free it, or choose another: {PREFIX}{name.upper()}=… (make up PORT_{name.upper()}=…)"
            for name, number, part in wanted
            if not _can_bind(number)
        ]
        if taken:
            raise PortTaken("\n".join(taken))

    def _check_range(self, workers: int) -> None:
        last, variable = self.workers + workers - 1, f"{PREFIX}WORKERS"
        if last > 65535:
            raise StackError(f"{variable}={self.workers}: {workers} workers need the ports up to {last}; start lower")
        for name, number, part in self.items():
            if self.workers < number <= last:
                raise StackError(
                    f"port {number} is given twice: {PREFIX}{name.upper()} ({part}) and {variable} + "
                    f"{number - self.workers} (a worker); change one"
                )


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
