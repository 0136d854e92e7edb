"""A small drive in every form in which bags come from the field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bag_files import (
    METADATA,
    by_library,
    cut,
    drive_messages,
    mcap_file,
    open_chunk,
    packed,
    ros1_file,
    sqlite_file,
    write_metadata,
)
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from saane_ros.data.bags import RawMessage
from saane_ros.data.bags.unpacking import zstd


@dataclass(frozen=True)
class BagKind:
    """make: writes the drive into a folder and returns the bag.

    part: only some of it can be read.  noted: what the reader says of it.
    """

    make: Callable[[Path], Path]
    part: bool = False
    noted: str = ""


def split(folder: Path, suffix: str, version: int = 0, mode: str = "") -> Path:
    """The drive in three files; without a version they have no metadata.yaml."""
    messages = drive_messages(folder / "whole")
    bag = folder / "drive"
    names = []
    for number in range(3):
        part = messages[number * len(messages) // 3 : (number + 1) * len(messages) // 3]
        if mode == "message":
            part = [
                RawMessage(m.topic, m.type, m.stamp_ns, zstd.compress(bytes(m.data))) for m in part
            ]
        file = bag / f"drive_{number}{suffix}"
        if suffix == ".db3":
            sqlite_file(file, part, schema=1 if version < 4 else 2 if version < 5 else 4)
        else:
            (mcap_file if suffix == ".mcap" else ros1_file)(file, part)
        names.append((packed(file) if mode == "file" else file).name)
    if version:
        write_metadata(bag, names, version, mode.upper() if version < 5 else mode)
    return bag


def single(
    folder: Path,
    name: str,
    change: Callable[[Path], Path] = Path,
    **options: object,
) -> Path:
    """The drive in one file; `change` does something to it and returns it."""
    write = {".mcap": mcap_file, ".db3": sqlite_file, ".bag": ros1_file}[Path(name).suffix]
    return change(write(folder / "one" / name, drive_messages(folder / "whole"), **options))


def _library(folder: Path, *form: object) -> Path:
    return by_library(folder / "b", drive_messages(folder / "whole"), *form)


def _leftover(folder: Path) -> Path:
    """What `ros2 bag play` leaves of a packed bag: each file again, unpacked."""
    bag = split(folder, ".db3", 6, "file")
    for file in bag.glob("*.zstd"):
        file.with_suffix("").write_bytes(zstd.decompress(file.read_bytes()))
    return bag


def _side_files(folder: Path) -> Path:
    bag = split(folder, ".db3", 5)
    for end in ("-shm", "-wal", "-journal"):
        (bag / f"drive_0.db3{end}").write_bytes(b"")
    (bag / "._drive_0.db3").write_bytes(b"\0\5\26\7")
    return bag


def _journal(folder: Path) -> Path:
    file = single(folder, "d.db3")
    file.with_name("d.db3-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
    return file


def _renamed(folder: Path) -> Path:
    bag = split(folder, ".mcap", 5)
    for file in bag.glob("drive_*"):
        file.rename(file.with_name(file.name.replace("drive", "other")))
    return bag.rename(folder / "day 1")


def _with(name: str, data: bytes, folder: Path) -> Path:
    """A split bag, one file of which is something else."""
    bag = split(folder, ".mcap", 5)
    (bag / name).write_bytes(data)
    return bag


def _renamed_file(name: str, file: Path) -> Path:
    return file.rename(file.with_name(name))


def _kinds() -> Iterator[tuple[str, BagKind]]:
    storages = {".mcap": StoragePlugin.MCAP, ".db3": StoragePlugin.SQLITE3}
    modes = {"file": CompressionMode.FILE, "message": CompressionMode.MESSAGE}
    for suffix, storage in storages.items():
        for version in range(1, 10):
            made = partial(split, suffix=suffix, version=version)
            yield f"split {suffix} of version {version}", BagKind(made)
        for mode, plugin_mode in modes.items():
            for version in (3, 4, 6, 9):
                made = partial(split, suffix=suffix, version=version, mode=mode)
                yield f"{suffix} packed by {mode} of version {version}", BagKind(made)
            for version in (8, 9):
                by = (storage, plugin_mode, version)
                made = lambda folder, by=by: _library(folder, *by)  # noqa: E731
                yield f"the library's {suffix} by {mode} of version {version}", BagKind(made)
        for mode in ("", *modes):
            made = partial(split, suffix=suffix, mode=mode)
            yield f"{suffix} {mode} without metadata", BagKind(made, noted="no metadata.yaml")
    for name in ("d.mcap", "d.db3", "d.bag"):
        yield f"one {name}", BagKind(partial(single, name=name))
        bare = partial(single, name=name, change=partial(_renamed_file, "d"))
        yield f"one {name} without suffix", BagKind(bare)
        yield f"one {name}.zstd", BagKind(partial(single, name=name, change=packed))
        lost = partial(single, name=name, change=lambda f: cut(f, 0.7))
        yield f"cut {name}", BagKind(lost, part=True, noted="cut or damaged")
        lost = partial(single, name=name, change=lambda f: cut(packed(f), 0.7))
        yield f"cut {name}.zstd", BagKind(lost, part=True, noted="the rest of it is left out")
    active = partial(single, name="d.bag", change=partial(_renamed_file, "d.bag.active"))
    yield (
        "ROS 1 .active",
        BagKind(lambda folder: cut(active(folder), 0.8), part=True, noted="not closed properly"),
    )
    killed = partial(single, name="d.bag", change=open_chunk)
    yield "ROS 1 with an open chunk", BagKind(killed, part=True, noted="not closed properly")
    yield "ROS 1 split", BagKind(partial(split, suffix=".bag"), noted="no metadata.yaml")
    lz4, none = CompressionType.LZ4, CompressionType.NONE
    for told, options in {
        "lz4 chunks": {"compression": lz4},
        "chunks as they are": {"compression": none},
        "no chunks": {"use_chunking": False},
        "no statistics": {"use_statistics": False},
        "no chunk index": {"index_types": IndexType.NONE},
        "no message index": {"index_types": IndexType.CHUNK},
        "no repeated channels": {"repeat_channels": False, "repeat_schemas": False},
        "protobuf and JSON beside": {"encodings": {"/log": "protobuf", "/j": "json"}},
        "messages of ROS 1": {"ros1": True},
    }.items():
        made = partial(single, name="d.mcap", **options)
        yield f"MCAP with {told}", BagKind(made)
    wal = partial(single, name="d.db3", mode="wal")
    yield "write-ahead log", BagKind(wal, noted="d.db3-wal is read with it")
    yield "journal", BagKind(_journal, noted="as d.db3-journal tells")
    yield "unpacked files left", BagKind(_leftover, noted="is the same as")
    yield "empty side files", BagKind(_side_files)
    yield "renamed files", BagKind(_renamed, noted="lacks drive_0.mcap")
    for told, name, data, part, noted in (
        ("one part empty", "drive_2.mcap", b"", True, "drive_2.mcap is empty"),
        ("one part of zeros", "drive_2.mcap", bytes(4096), True, "begins with zeros"),
        ("metadata damaged", METADATA, b"a: [", False, "metadata.yaml is damaged"),
        ("another file", "extra.mcap", b"", False, "does not name: extra.mcap"),
    ):
        yield told, BagKind(partial(_with, name, data), part, noted)


KINDS = dict(_kinds())
"""Every kind of bag by its name."""
