"""Bytes of small bags of every storage changed at random: told in a sentence, in bounded memory.

SAANE_FUZZ_MUTATIONS is the number of changed bags of each storage; the suite takes a few.
"""

from __future__ import annotations

import os
import resource
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bag_files import METADATA, mcap_file, packed, ros1_file, sqlite_file, write_metadata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import Reader

from saane_ros.data.bags import BagReader, BagWriter, RawMessage
from saane_ros.data.bags.survey import survey_bag
from saane_ros.errors import SaaneError
from saane_ros.types import Pose

MUTATIONS = int(os.environ.get("SAANE_FUZZ_MUTATIONS", "60"))
MOST_TRACED = 64 << 20
"""Bytes of Python and numpy at once, for files of some ten kilobytes."""
MOST_RESIDENT_KIB = 256 << 10
"""How much the whole process may grow, sqlite and the decompressors included."""
FRAMES, STEP = 8, 10**8
ABSURD = (0, 1, 0x7F, 0xFF, 1 << 16, (1 << 31) - 1, 0xFFFFFFFF, 1 << 40, 1 << 62, (1 << 64) - 1)

Mutation = tuple[str, float, int, int]
mutations = st.lists(
    st.tuples(
        st.sampled_from(["byte", "word", "long", "cut", "drop", "repeat", "zero"]),
        st.floats(0, 1),
        st.integers(0, 255),
        st.sampled_from(ABSURD),
    ),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, changes: list[Mutation]) -> bytes:
    """The bytes after each change in turn; the place is a share of the length."""
    made = bytearray(data)
    for kind, share, value, absurd in changes:
        at = int(share * max(len(made) - 1, 0))
        if kind == "byte":
            made[at : at + 1] = bytes([value])
        elif kind in ("word", "long"):
            size = 4 if kind == "word" else 8
            made[at : at + size] = absurd.to_bytes(8, "little")[:size]
        elif kind == "cut":
            del made[at:]
        elif kind == "drop":
            del made[at : at + value]
        elif kind == "repeat":
            made[at:at] = made[at : at + value]
        else:
            made[at : at + 16 * value] = bytes(16 * value)
    return bytes(made)


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
    """Everything that a command asks of a bag; the number of messages."""
    try:
        with BagReader(path) as bag:
            survey_bag(bag)
            count = sum(1 for _ in bag.messages())
            bag.span_ns()
            if "/camera/image" in bag.topics():
                list(bag.frames("/camera/image"))
                list(bag.frames("/camera/image", "/odom", every_metres=1.0))
            return count
    except SaaneError:
        return 0


def fuzz(target: Path, bag: Path, whole: bytes) -> None:
    """Change the file again and again, and read its bag."""
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {"read": 0, "changed": 0}

    @settings(
        max_examples=MUTATIONS,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes=mutations)
    def change_and_read(changes: list[Mutation]) -> None:
        target.write_bytes(mutated(whole, changes))
        tracemalloc.start()
        try:
            told["read"] += read_all(bag) > 0
            told["changed"] += 1
            assert tracemalloc.get_traced_memory()[1] < MOST_TRACED
        finally:
            tracemalloc.stop()

    change_and_read()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
    print(f"{told['changed']} changed bags, {told['read']} read in part, {grown} KiB more memory")
    assert grown < MOST_RESIDENT_KIB
    # Or else the reader would give up wherever anything is wrong.
    assert told["changed"] == MUTATIONS
    assert told["read"]


@pytest.mark.parametrize("name", STORAGES)
def test_changed_files_are_told_of_in_bounded_memory(tmp_path: Path, name: str) -> None:
    file, write = STORAGES[name]
    path = write(tmp_path / "one" / file, messages(tmp_path))
    assert read_all(path) == 2 * FRAMES
    fuzz(path, path, path.read_bytes())


def test_a_changed_log_of_sqlite_is_told_of(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "one" / "d.db3", messages(tmp_path), mode="wal")
    log = path.with_name("d.db3-wal")
    fuzz(log, path, log.read_bytes())


def test_changed_metadata_are_told_of(tmp_path: Path) -> None:
    bag = tmp_path / "drive"
    mcap_file(bag / "drive_0.mcap", messages(tmp_path))
    write_metadata(bag, ["drive_0.mcap"], 8)
    fuzz(bag / METADATA, bag, (bag / METADATA).read_bytes())


@pytest.mark.parametrize("name", STORAGES)
def test_no_claimed_size_takes_memory(tmp_path: Path, name: str) -> None:
    """An absurd length at one place after the other of a file's start, where its headers are."""
    file, write = STORAGES[name]
    path = write(tmp_path / "one" / file, messages(tmp_path))
    whole = path.read_bytes()
    for at in range(12, 300, 12 if MUTATIONS < 1000 else 1):
        for size in (4, 8):
            claimed = ((1 << 8 * size) - 2).to_bytes(size, "little")
            path.write_bytes(whole[:at] + claimed + whole[at + size :])
            tracemalloc.start()
            read_all(path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < MOST_TRACED, f"{size} bytes at {at}"
