"""Small bags of every storage, and everything that a command asks of a bag."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from bag_files import METADATA, mcap_file, packed, ros1_file, sqlite_file, write_metadata
from fuzz.cases import Case, changing
from mcap.writer import CompressionType
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import Reader

from saane_ros.data.bags import BagReader, BagWriter, RawMessage
from saane_ros.data.bags.survey import survey_bag
from saane_ros.types import Pose

FRAMES, STEP = 8, 10**8


def messages(folder: Path) -> list[RawMessage]:
    with BagWriter(folder / "whole") as bag:
        for number in range(FRAMES):
            image = np.random.default_rng(number).integers(0, 256, (8, 9, 3)).astype(np.uint8)
            bag.write_odometry("/odom", number * STEP, Pose((number, 0.0, 0.0)))
            bag.write_image("/camera/image", image, number * STEP)
    with Reader(folder / "whole") as reader:
        return [RawMessage(c.topic, c.msgtype, t, bytes(d)) for c, t, d in reader.messages()]


def ros1(path: Path, compression: str, told: list[RawMessage]) -> Path:
    return ros1_file(path, told, getattr(Ros1Writer.CompressionFormat, compression))


STORAGES: dict[str, tuple[str, Callable[[Path, list[RawMessage]], Path]]] = {
    "MCAP": ("d.mcap", partial(mcap_file, chunk_size=3000)),
    "MCAP lz4": ("d.mcap", partial(mcap_file, compression=CompressionType.LZ4)),
    "MCAP as it is": (
        "d.mcap",
        partial(mcap_file, compression=CompressionType.NONE, enable_crcs=False),
    ),
    "MCAP without chunks": ("d.mcap", partial(mcap_file, use_chunking=False)),
    "MCAP of ROS 1": ("d.mcap", partial(mcap_file, ros1=True, use_chunking=False)),
    "sqlite3": ("d.db3", sqlite_file),
    "sqlite3 log": ("d.db3", partial(sqlite_file, mode="wal")),
    "ROS 1": ("d.bag", ros1_file),
    "ROS 1 bz2": ("d.bag", lambda path, told: ros1(path, "BZ2", told)),
    "ROS 1 lz4": ("d.bag", lambda path, told: ros1(path, "LZ4", told)),
    "packed": ("d.db3", lambda path, told: packed(sqlite_file(path, told))),
}


def read_all(path: Path) -> int:
    """The number of messages."""
    with BagReader(path) as bag:
        survey_bag(bag)
        count = sum(1 for _ in bag.messages())
        bag.span_ns()
        if "/camera/image" in bag.topics():
            list(bag.frames("/camera/image"))
            list(bag.frames("/camera/image", "/odom", every_metres=1.0))
        return count


def bags(folder: Path) -> list[Case]:
    """A file of every storage, the log beside one of sqlite, and the metadata of a folder."""
    told, cases = messages(folder), []
    for number, (name, (file, write)) in enumerate(STORAGES.items()):
        path = write(folder / str(number) / file, told)
        cases.append(Case(name, changing(path), partial(read_all, path)))
    path = sqlite_file(folder / "log" / "d.db3", told, mode="wal")
    cases.append(Case("-wal", changing(path.with_name("d.db3-wal")), partial(read_all, path)))
    bag = folder / "drive"
    mcap_file(bag / "drive_0.mcap", told)
    write_metadata(bag, ["drive_0.mcap"], 8)
    return [*cases, Case(METADATA, changing(bag / METADATA), partial(read_all, bag))]
