"""Decompression that takes no more memory than was asked for, whatever a header claims."""

from __future__ import annotations

from bz2 import BZ2Decompressor
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from lz4.frame import LZ4FrameDecompressor

try:
    from compression import zstd
except ImportError:  # before Python 3.14
    from backports import zstd

LARGEST = 1 << 28
"""Bytes of one message or chunk. DDS sends none that large; a damaged length soon is larger."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LZ4_RATIO = 256
"""LZ4 makes nothing smaller than by this, and its library takes the claimed size beforehand."""
_BLOCK = 1 << 20
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "bz2": BZ2Decompressor,
    "lz4": LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}


def unpacked(compression: str, data: bytes, size: int) -> bytes:
    """The `size` bytes that `data` was made of; "none" and "" are as they are.

    Raises ValueError where it is not that many, or more than any bag has, and what bz2, lz4 and
    zstd raise of damaged data.
    """
    if size > LARGEST:
        raise ValueError(f"it claims {size} bytes")
    if compression in ("", "none"):
        made = data
    elif compression not in _DECOMPRESSORS:
        raise ValueError(f"its compression {compression[:20]!r} is unknown")
    elif compression == "lz4" and size > _LZ4_RATIO * (len(data) + 1):
        raise ValueError(f"it claims {size} bytes, more than {len(data)} can hold")
    else:
        made = _at_most(_DECOMPRESSORS[compression](), data, size)
    if len(made) != size:
        raise ValueError(f"it has {len(made)} bytes instead of {size}")
    return made


def unpacked_message(data: bytes) -> bytes:
    """A zstd frame of a message; ValueError where that is larger than any message."""
    made = _at_most(zstd.ZstdDecompressor(), data, LARGEST)
    if len(made) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    return made


def unpack_file(path: Path, target: BinaryIO, most: int | None = None) -> bool:
    """Write what a zstd file holds, `most` bytes of it at most; False where it ends too early."""
    decompressor, left = zstd.ZstdDecompressor(), most
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            while block or not decompressor.needs_input:
                if decompressor.eof:  # several frames may follow each other
                    decompressor = zstd.ZstdDecompressor()
                try:
                    made = decompressor.decompress(block, max_length=_BLOCK)
                except zstd.ZstdError:
                    return False
                target.write(made)
                if left is not None and (left := left - len(made)) <= 0:
                    return True
                block = decompressor.unused_data if decompressor.eof else b""
                if decompressor.eof and not block:
                    break
    return bool(decompressor.eof)


def _at_most(decompressor: Any, data: bytes, size: int) -> bytes:
    """What is in `data`, and of more than `size` bytes one too many."""
    parts, left = [], size + 1
    while left > 0 and not decompressor.eof:
        made = decompressor.decompress(data, max_length=left)
        if not made and not data:
            raise ValueError("it ends too early")
        data = b""
        parts.append(made)
        left -= len(made)
    return b"".join(parts)
