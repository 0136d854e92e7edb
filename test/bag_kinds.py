"""One small drive in every form in which bags come from the field."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scenes import smooth_scene

from saane_ros.data.bags import BagWriter, RawMessage
from saane_ros.data.bags.raw_messages import message_types
from saane_ros.data.bags.unpacking import zstd
from saane_ros.types import Pose, Rgb

START = 1_700_000_000_000_000_000
STEP = 100_000_000
FRAMES = 24
IMAGE, ODOMETRY = "/camera/image", "/odom"
TYPES = {IMAGE: "sensor_msgs/msg/Image", ODOMETRY: "nav_msgs/msg/Odometry"}
METADATA = "metadata.yaml"
ROS1 = get_typestore(Stores.ROS1_NOETIC)


def scene(number: int) -> Rgb:
    """The image of a place; its noise makes files large enough to be cut in many places."""
    noise = np.random.default_rng(number).integers(0, 30, (72, 96, 3)).astype(np.uint8)
    return smooth_scene(number, 72, 96) // 2 + noise


def write_drive(path: Path, frames: int = FRAMES) -> None:
    """A drive east at 10 m/s: an image and odometry every 0.1 s, at the same time."""
    with BagWriter(path) as bag:
        for number in range(frames):
            stamp = START + number * STEP
            bag.write_odometry(ODOMETRY, stamp, Pose((float(number), 2.0, 0.0)))
            bag.write_image(IMAGE, scene(number), stamp)


def drive_messages(path: Path, frames: int = FRAMES) -> list[RawMessage]:
    """The messages of such a drive; `path` is where its bag is written."""
    write_drive(path, frames)
    with Reader(path) as reader:
        return [
            RawMessage(c.topic, c.msgtype, stamp, bytes(data))
            for c, stamp, data in reader.messages()
        ]


def by_library(
    path: Path,
    messages: Iterable[RawMessage],
    storage: StoragePlugin = StoragePlugin.MCAP,
    mode: CompressionMode = CompressionMode.NONE,
    version: int = 8,
) -> Path:
    """A bag as the rosbags library writes it."""
    writer = Writer(path, version=version, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        made = {
            topic: writer.add_connection(topic, type_, typestore=message_types())
            for topic, type_ in TYPES.items()
        }
        for message in messages:
            writer.write(made[message.topic], message.stamp_ns, message.data)
    return path


def sqlite_file(
    path: Path, messages: Iterable[RawMessage], schema: int = 4, mode: str = ""
) -> Path:
    """A .db3 file as the recorders of Dashing (schema 1), Foxy (2), Humble (3), Iron (4) made it.

    mode: of the journal; with "wal" the messages stay in the file beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    if mode:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute("PRAGMA wal_autocheckpoint = 0")
    columns = ["id INTEGER PRIMARY KEY", "name TEXT", "type TEXT", "serialization_format TEXT"]
    columns += ["offered_qos_profiles TEXT"] * (schema >= 2)
    columns += ["type_description_hash TEXT"] * (schema >= 4)
    database.execute(f"CREATE TABLE topics({', '.join(columns)})")
    database.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, "
        "timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
    )
    database.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
    if schema >= 3:
        database.execute("CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT)")
        database.execute("INSERT INTO schema VALUES (?, 'any')", (schema,))
    ids = {topic: number for number, topic in enumerate(TYPES, 1)}
    for topic, number in ids.items():
        # Until Eloquent a type was written as in ROS 1.
        type_ = TYPES[topic] if schema > 1 else TYPES[topic].replace("/msg/", "/")
        row = [number, topic, type_, "cdr", "", ""][: len(columns)]
        database.execute(f"INSERT INTO topics VALUES ({','.join('?' * len(row))})", row)
    rows = [(ids[m.topic], m.stamp_ns, m.data) for m in messages]
    database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
    database.commit()
    if mode == "wal":  # as after kill -9: closing would empty the file beside it
        copies = {end: path.with_name(path.name + end).read_bytes() for end in ("", "-wal")}
        database.close()
        for end, data in copies.items():
            path.with_name(path.name + end).write_bytes(data)
    database.close()
    return path


def mcap_file(
    path: Path,
    messages: Iterable[RawMessage],
    encodings: dict[str, str] | None = None,
    ros1: bool = False,
    **options: object,
) -> Path:
    """An MCAP file as its own library writes it.  encodings: further channels, topic to encoding.

    ros1: as `mcap convert` makes it of a ROS 1 bag.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = McapWriter(stream, **{"chunk_size": 60_000, **options})
        writer.start(profile="ros1" if ros1 else "ros2")
        made = {}
        for topic, type_ in TYPES.items():
            name = type_.replace("/msg/", "/") if ros1 else type_
            language, encoding = ("ros1msg", "ros1") if ros1 else ("ros2msg", "cdr")
            schema = writer.register_schema(name, language, b"")
            made[topic] = writer.register_channel(topic, encoding, schema)
        for topic, encoding in (encodings or {}).items():
            schema = writer.register_schema("foxglove.Log", f"{encoding}schema", b"{}")
            made[topic] = writer.register_channel(topic, encoding, schema)
        for message in messages:
            data = bytes(message.data)
            if ros1:
                data = bytes(message_types().cdr_to_ros1(data, message.type))
            for topic in (message.topic, *(encodings or {})):
                own = data if topic == message.topic else b'{"a": 1}'
                writer.add_message(made[topic], message.stamp_ns, own, message.stamp_ns)
        writer.finish()
    return path


def ros1_file(
    path: Path,
    messages: Iterable[RawMessage],
    compression: Ros1Writer.CompressionFormat | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.with_suffix(".bag")
    writer = Ros1Writer(target)
    writer.chunk_threshold = 60_000
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        made = {t: writer.add_connection(t, kind, typestore=ROS1) for t, kind in TYPES.items()}
        for message in messages:
            data = bytes(message_types().cdr_to_ros1(bytes(message.data), message.type))
            writer.write(made[message.topic], message.stamp_ns, data)
    target.replace(path)
    return path


def write_metadata(folder: Path, names: list[str], version: int, mode: str = "") -> None:
    """A metadata.yaml as the recorders of that version wrote it; its counts are none of the bag."""
    topics = []
    for topic, type_ in TYPES.items():
        told = {"name": topic, "type": type_, "serialization_format": "cdr"}
        if version >= 4:
            told["offered_qos_profiles"] = "" if version < 9 else []
        if version >= 7:
            told["type_description_hash"] = ""
        topics.append({"topic_metadata": told, "message_count": 1})
    prefix = f"{folder.name}/" if version < 4 else ""
    information: dict[str, object] = {
        "version": version,
        "storage_identifier": "mcap" if ".mcap" in names[0] else "sqlite3",
        "relative_file_paths": [f"{prefix}{name}" for name in names],
        "duration": {"nanoseconds": STEP},
        "starting_time": {"nanoseconds_since_epoch": START},
        "message_count": 2,
        "topics_with_message_count": topics,
    }
    if version >= 3:
        information |= {"compression_format": "zstd" if mode else "", "compression_mode": mode}
    if version >= 5:
        information["files"] = [{"path": name, "message_count": 1} for name in names]
    if version >= 6:
        information["custom_data"] = None
    if version >= 8:
        information["ros_distro"] = "any"
    told = yaml.safe_dump({"rosbag2_bagfile_information": information})
    (folder / METADATA).write_text(told)


def packed(path: Path) -> Path:
    """The file as rosbag2 compresses it after it was closed."""
    made = path.with_name(f"{path.name}.zstd")
    made.write_bytes(zstd.compress(path.read_bytes()))
    path.unlink()
    return made


def cut(path: Path, share: float) -> Path:
    os.truncate(path, int(share * path.stat().st_size))
    return path


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
