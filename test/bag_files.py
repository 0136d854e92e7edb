"""One small drive as files of bags, as the recorders of different years write them."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("mcap", reason="mcap-ros2-support is not installed")

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


def open_chunk(file: Path) -> Path:
    """What a killed rosbag leaves: no index, and a last chunk that is not marked as one yet."""
    data, at, made = file.read_bytes(), len(b"#ROSBAG V2.0\n"), b"#ROSBAG V2.0\n"
    chunks = 0
    while at < len(data):
        (head,) = struct.unpack_from("<I", data, at)
        (size,) = struct.unpack_from("<I", data, at + 4 + head)
        header, body = data[at + 4 : at + 4 + head], data[at + 8 + head : at + 8 + head + size]
        kind = header[header.index(b"op=") + 3]
        chunks += kind == 5
        if kind == 3:
            place = header.index(b"index_pos=") + len(b"index_pos=")
            header = header[:place] + bytes(8) + header[place + 8 :]
        record = struct.pack("<I", head) + header + struct.pack("<I", size) + body
        if chunks == 5:
            place = header.index(b"size=") + len(b"size=")
            header = header[:place] + bytes(4) + header[place + 4 :]
            made += struct.pack("<I", head) + header + bytes(4) + body[:-100]
            break
        made += record
        at += 8 + head + size
    file.write_bytes(made)
    return file.rename(file.with_name("d.bag.active"))
