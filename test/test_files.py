"""Files and folders that are either the old ones or the new ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from saane_ros import files
from saane_ros.errors import SaaneError
from saane_ros.files import replace_folder, replacing_file, sha256_of


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing_file(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["value.txt"]


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "content").write_text(text)
    return path


@pytest.mark.parametrize("exchange", [True, False])
def test_a_new_folder_takes_the_name_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange_names", lambda first, second: False)
    target = folder(tmp_path / "map", "old")
    replace_folder(folder(tmp_path / "new", "new"), target)
    assert (target / "content").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["map"]


def test_names_are_exchanged_in_one_step(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "first", "1"), folder(tmp_path / "second", "2")
    assert files._exchange_names(first, second)
    assert (first / "content").read_text() == "2"
    assert (second / "content").read_text() == "1"
    assert not files._exchange_names(first, tmp_path / "absent")


def test_a_first_folder_needs_no_old_one(tmp_path: Path) -> None:
    replace_folder(folder(tmp_path / "new", "new"), tmp_path / "map")
    assert (tmp_path / "map" / "content").read_text() == "new"


def test_sha256_of_more_than_one_block(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_device_is_written_to_and_not_replaced() -> None:
    with replacing_file(Path("/dev/null")) as given:
        assert given == Path("/dev/null")
        given.write_text("gone")
    assert Path("/dev/null").is_char_device()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="is a folder: name a file"), replacing_file(tmp_path):
        pass
