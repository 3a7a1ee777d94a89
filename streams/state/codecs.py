"""The codec of entity histories; other values bring their own."""

import struct

import msgspec

from order_fraud import history
from order_fraud.history import History
from streams.state.spec import Codec


class _Dates(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a packed :class:`History`; msgspec skips the others."""

    first_seen: int
    seen_at: int


_dates = msgspec.msgpack.Decoder(_Dates).decode
_head = struct.Struct(">xBQBQ").unpack_from
_UINT64 = 0xCF


def _seen_at(packed: bytes) -> int:
    """Return a packed history's ``seen_at``.

    Times since 1970 in ms take MessagePack's 64-bit form, so their place is fixed: it is looked up, at a third of what
    decoding costs, for a restore asks this of every history. Whatever has another form is decoded.
    """
    seen_at: int
    try:
        first, _, second, seen_at = _head(packed)
    except struct.error:
        return _dates(packed).seen_at
    if first == second == _UINT64:
        return seen_at
    return _dates(packed).seen_at


HISTORIES: Codec[History] = Codec(history.pack, history.unpack, _seen_at, history.EXPIRY_MS)
