"""What a table is: the codec of its values, its changelog, and the input topic beside which it lies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class StateError(RuntimeError):
    """State cannot be kept or read here; the message says where, and the remedy."""


class Unreadable(StateError):
    """A changelog holds what this version cannot read; the message names the record and the remedy."""


@dataclass(frozen=True, slots=True)
class Codec[V]:
    """How values become bytes and back, and when they expire.

    Attributes:
        pack: bytes of a value. What is unpacked from them must equal the value.
        unpack: the value of the bytes; may raise anything if they are none.
        as_of: the table's ``latest``, in ms, when the packed value was written, as the value knows it; it is asked of
            every value at a restore, so it should look at no more bytes than it must. None: values of this table do not
            expire.
        expiry_ms: a value whose ``as_of`` lies more than this before the table's ``latest`` counts as never written for
            whoever reads the table: it may be dropped at any moment.
    """

    pack: Callable[[V], bytes]
    unpack: Callable[[bytes], V]
    as_of: Callable[[bytes], int] | None = None
    expiry_ms: int = 0


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind of table; there is one table of it per partition.

    Attributes:
        changelog: compacted topic that every committed change is written to.
        beside: input topic whose partitions the tables belong to; both topics have the same number of partitions.
        codec: of the values.
    """

    changelog: str
    beside: str
    codec: Codec[Any]
