"""What a file is, by its first bytes, and what a file is that is no bag."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from saane_ros.data.bags import mcap, ros1, sqlite
from saane_ros.data.bags.unpacking import ZSTD_MAGIC

_HEAD = 300


class Kind(Enum):
    """Files that hold messages; the value is how they begin."""

    MCAP = mcap.MAGIC
    SQLITE = sqlite.MAGIC
    ROS_1 = ros1.MAGIC
    PACKED = ZSTD_MAGIC


_OTHERS = (
    (b"#ROSBAG V", "a ROS 1 bag of an older version than 2.0: convert it with `rosbag fix`"),
    (b"\x1f\x8b", "packed with gzip: unpack it with `gunzip`"),
    (b"BZh", "packed with bzip2: unpack it with `bunzip2`"),
    (b"\xfd7zXZ\0", "packed with xz: unpack it with `unxz`"),
    (b"\x04\x22\x4d\x18", "packed with lz4: unpack it with `unlz4`"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS without the file: run `git lfs pull`"),
    (b"<!DOCTYPE", "a web page, as a download that needs a login leaves it: download it again"),
    (b"<html", "a web page, as a download that needs a login leaves it: download it again"),
    (b"rosbag2_bagfile_information", "the metadata of a bag: name the folder that it lies in"),
    (b"\x37\x7f\x06\x82", "what sqlite keeps beside a .db3 file: name that file"),
    (b"\x37\x7f\x06\x83", "what sqlite keeps beside a .db3 file: name that file"),
    (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", "what sqlite keeps beside a .db3 file: name that file"),
)
_SIDE_FILES = ("-wal", "-shm", "-journal")


def kind_of(head: bytes) -> Kind | None:
    """The kind of a bag's file that begins so; None where it is none."""
    return next((kind for kind in Kind if head.startswith(kind.value)), None)


def head_of(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def why_no_bag(path: Path, head: bytes) -> str:
    """What a file is instead of a bag, and what to do, as the end of a sentence."""
    if not head:
        return "is empty: the recorder wrote nothing, or the copy failed; copy it again"
    if any(kind.value.startswith(head) for kind in Kind):
        return f"is no bag but the first {len(head)} bytes of one: copy or record it again"
    for start, told in _OTHERS:
        if head.startswith(start):
            return f"is {told}"
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it"
    if path.name.endswith(_SIDE_FILES):
        return "is what sqlite keeps beside a .db3 file: name that file"
    if not any(head):
        return "begins with zeros alone: it never reached the disk; copy or record it again"
    return (
        "is no bag, going by its first bytes: name a rosbag2 folder, or an MCAP, sqlite3 or ROS 1 "
        "bag file"
    )
