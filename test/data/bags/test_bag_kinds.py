"""Every kind of bag gives the same drive; what cannot be read is named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from bag_files import (
    FRAMES,
    IMAGE,
    METADATA,
    ODOMETRY,
    START,
    STEP,
    TYPES,
    by_library,
    drive_messages,
    mcap_file,
    scene,
    sqlite_file,
    write_drive,
)
from bag_kinds import KINDS, single, split
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import Reader, StoragePlugin

from saane_ros.data.bags import BagReader, RawMessage
from saane_ros.errors import SaaneError


def listing(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_drive(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    path = kind.make(tmp_path)
    before = listing(tmp_path)
    with BagReader(path) as bag:
        counts = {topic: bag.topics()[topic].count for topic in TYPES}
        frames = list(bag.frames(IMAGE, ODOMETRY))
        poses = len(list(bag.messages([ODOMETRY])))
        span, notes = bag.span_ns(), " ".join(bag.notes)
    assert listing(tmp_path) == before
    if kind.part:
        assert 0.2 * FRAMES < len(frames) < FRAMES
    else:
        assert span == (START, START + (FRAMES - 1) * STEP)
        assert len(frames) == FRAMES
    assert counts == {IMAGE: len(frames), ODOMETRY: poses}
    assert abs(poses - len(frames)) <= 4
    assert kind.noted in notes
    assert bool(kind.noted) == bool(notes)
    numbers = [(frame.stamp_ns - START) / STEP for frame in frames]
    assert numbers == sorted(set(numbers))
    for number, frame in zip(map(int, numbers), frames, strict=True):
        assert frame.pose is None or frame.pose.position == (number, 2, 0)
        np.testing.assert_array_equal(frame.image, scene(number))


@pytest.mark.parametrize("storage", list(StoragePlugin))
@settings(max_examples=10)
@given(order=st.permutations(range(12)))
def test_messages_come_as_another_reader_gives_them(
    tmp_path_factory: pytest.TempPathFactory, storage: StoragePlugin, order: list[int]
) -> None:
    """Recorded in any order, in chunks that overlap, they come in the order of their times."""
    folder = tmp_path_factory.mktemp("any")
    written = drive_messages(folder / "whole", 6)
    path = by_library(folder / "b", [written[number] for number in order], storage)
    file = folder / "c.mcap"
    mcap_file(file, [written[number] for number in order], chunk_size=30_000)
    for bag in (path, file):
        with Reader(bag) as reader:
            expected = [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]
        with BagReader(bag) as own:
            found = [(m.topic, m.stamp_ns, bytes(m.data)) for m in own.messages()]
        assert sorted(found) == sorted(expected)
        assert [stamp for _, stamp, _ in found] == [stamp for _, stamp, _ in expected]


def test_latched_topics_are_known_of_every_recorder(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    for durability, latched in (
        ("1", True),  # until version 8 of the metadata
        ("2", False),
        ("transient_local", True),
        ("volatile", False),
    ):
        told = {"offered_qos_profiles": f"- history: 1\n  durability: {durability}\n  depth: 1\n"}
        with path.open("wb") as stream:
            writer = McapWriter(stream)
            writer.start(profile="ros2")
            schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"")
            writer.register_channel("/a", "cdr", schema, told)
            writer.finish()
        with BagReader(path) as bag:
            assert bag.topics()["/a"].latched is latched


def test_other_encodings_are_named_and_refused(tmp_path: Path) -> None:
    path = single(tmp_path, "d.mcap", encodings={"/log": "protobuf"})
    with BagReader(path) as bag:
        assert bag.topics()["/log"].described == "foxglove.Log as protobuf"
        assert list(bag.messages(["/log"])) == []
        assert bag.notes == [
            f"Topic /log of {path} is left out: it is foxglove.Log as protobuf, no message of ROS."
        ]
        with pytest.raises(SaaneError, match=r"is foxglove\.Log as protobuf, which holds"):
            bag.frames("/log")


@pytest.mark.parametrize("share", [0.1, 0.45, 0.8])
def test_a_damaged_page_costs_what_lies_on_it(tmp_path: Path, share: float) -> None:
    path = sqlite_file(tmp_path / "d.db3", drive_messages(tmp_path / "whole", 100))
    data = bytearray(path.read_bytes())
    # Leaf pages of the table hold the rows; overflow pages the rest of the images.
    pages = [at for at in range(4096, len(data), 4096) if data[at] == 0x0D]
    at = pages[int(share * len(pages))]
    data[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with BagReader(path) as bag:
        stamps = [message.stamp_ns for message in bag.messages([IMAGE])]
        assert bag.topics()[IMAGE].count == len(stamps)
        assert "damaged" in bag.notes[0]
    assert stamps == sorted(stamps)
    assert 80 <= len(stamps) < 100
    assert stamps[-1] == START + 99 * STEP


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.mcap", b"", "is empty"),
        ("a.mcap", b"\x89MCAP", "the first 5 bytes"),
        ("a.mcap", bytes(500), "begins with zeros"),
        ("a.bag", b"#ROSBAG V1.2\n" + bytes(30), "ROS 1 bag of an older version"),
        ("a.db3", b"SQLite format 3\0" + bytes(400), "cut or damaged"),
        ("a.mcap", b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        ("a.bag", b"<!DOCTYPE html><html>", "web page"),
        ("a.bag.gz", b"\x1f\x8b\x08", "packed with gzip"),
        ("a.zip", b"PK\x03\x04", "zip archive"),
        ("a.tar", b"a" * 257 + b"ustar", "tar archive"),
        ("a.db3-wal", b"\x37\x7f\x06\x82" + bytes(40), "what sqlite keeps beside"),
        ("a.db3-shm", b"\x01\x02" + bytes(40), "what sqlite keeps beside"),
        ("metadata.yaml", b"rosbag2_bagfile_information:\n  version: 5\n", "name the folder"),
        ("a.mcap", b"anything else", "is no bag, going by its first bytes"),
    ],
)
def test_what_is_no_bag_is_named(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    try:
        with BagReader(path) as bag:
            assert not bag.topics()
            sentences = bag.notes
    except SaaneError as error:
        sentences = [str(error)]
    assert told in sentences[0]


def test_folders_that_are_no_bag_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.JPG").write_bytes(b"\xff\xd8")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("a")
    write_drive(tmp_path / "several" / "day", 2)
    write_drive(tmp_path / "several" / "night", 2)
    split(tmp_path / "lost", ".mcap", 5)
    for file in (tmp_path / "lost" / "drive").glob("*.mcap"):
        file.unlink()
    for name in ("day.bag", "night.bag"):
        single(tmp_path, name)
    for folder, told in (
        ("empty", "is an empty folder"),
        ("photos", "is a folder of images"),
        ("text", "has neither metadata.yaml nor"),
        ("several", "has bags in it: name one of day, night"),
        ("lost/drive", "has a metadata.yaml but no"),
        ("one", r"holds several bags, day\.bag, night\.bag"),
    ):
        with pytest.raises(SaaneError, match=told):
            BagReader(tmp_path / folder)
    assert BagReader(tmp_path / "one" / "day.bag").topics()[IMAGE].count == FRAMES
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SaaneError, match="neither file nor folder"):
        BagReader(tmp_path / "pipe")


def test_another_database_is_no_bag(tmp_path: Path) -> None:
    import sqlite3

    database = sqlite3.connect(tmp_path / "a.db3")
    database.execute("CREATE TABLE topics(id, name, type, serialization_format)")
    # A view may run for ever: what a file defines is not executed.
    database.execute(
        "CREATE VIEW messages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) "
        "SELECT i AS topic_id, i AS timestamp, i AS data FROM n"
    )
    database.commit()
    database.close()
    with pytest.raises(SaaneError, match="has no tables topics and messages"):
        BagReader(tmp_path / "a.db3")


def test_the_metadata_count_nothing_that_is_not_there(tmp_path: Path) -> None:
    bag = split(tmp_path, ".db3", 5)
    assert "message_count: 2" in (bag / METADATA).read_text()
    with BagReader(bag) as reader:
        assert reader.topics()[IMAGE].count == FRAMES
        raw = next(reader.messages([IMAGE]))
    assert raw == RawMessage(IMAGE, TYPES[IMAGE], START, raw.data)


def test_the_chunk_that_a_killed_rosbag_was_writing_is_read(tmp_path: Path) -> None:
    path = KINDS["ROS 1 with an open chunk"].make(tmp_path)
    with BagReader(path) as bag:
        stamps = [message.stamp_ns for message in bag.messages([IMAGE])]
        assert any("its last" in note for note in bag.notes)
    # Chunks of 60 kB hold three images of 20 kB each; the last image is cut.
    assert stamps == [START + number * STEP for number in range(14)]
