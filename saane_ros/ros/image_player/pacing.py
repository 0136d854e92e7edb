"""When a message is due, and how its stamp is shifted."""

from __future__ import annotations

import struct
import threading
import time

_ENDIAN = {0: ">", 1: "<"}
_STAMP_AT = 4
"""Bytes of the CDR encapsulation before a leading header's stamp (int32 s, uint32 ns)."""


class Pacer:
    """Maps recorded times to the machine's: `first_ns` is due at `start_ns`, then at `rate`.

    start_ns is wall time, read once; from there on the monotonic clock counts.
    """

    def __init__(self, first_ns: int, start_ns: int, rate: float) -> None:
        self._first_ns = first_ns
        self._start = time.monotonic_ns() + start_ns - time.time_ns()
        self._rate = rate

    def wait(self, stamp_ns: int, stop: threading.Event) -> bool:
        """Sleep until the message of this time is due; False where `stop` was set before."""
        due = self._start + (stamp_ns - self._first_ns) / self._rate
        while (left := due - time.monotonic_ns()) > 0:
            if stop.wait(left / 1e9):
                return False
        return not stop.is_set()

    def played_ns(self) -> int:
        """The recorded time that is being played now."""
        return self._first_ns + round((time.monotonic_ns() - self._start) * self._rate)


def stamp_of(data: bytes | memoryview) -> int:
    """Stamp (ns) of a serialized message that begins with a std_msgs/Header."""
    seconds, nanoseconds = struct.unpack_from(_ENDIAN[data[1] & 1] + "iI", data, _STAMP_AT)
    return seconds * 10**9 + nanoseconds


def shifted(data: bytes | memoryview, shift_ns: int) -> bytes:
    """The serialized message, which begins with a std_msgs/Header, with its stamp shifted."""
    seconds, nanoseconds = divmod(stamp_of(data) + shift_ns, 10**9)
    copy = bytearray(data)
    struct.pack_into(_ENDIAN[copy[1] & 1] + "iI", copy, _STAMP_AT, seconds, nanoseconds)
    return bytes(copy)
