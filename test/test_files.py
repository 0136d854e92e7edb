"""Files and folders that are either the old ones or the new ones."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from saane_ros import files
from saane_ros.errors import SaaneError
from saane_ros.files import (
    clear_leftovers,
    replace_folder,
    replacing_file,
    sha256_of,
    telling_full_disk,
)


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


def test_what_nobody_holds_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.b"
    for name in (".a.b.1.new", ".a.b.99999999.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("x")
    kept = [".a.1.new", ".a.b.c.1.new", ".a.b.1.newer", ".a.b.x.new", "a.b.1.new"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".a.b.2.new").write_text("somebody's file")
    (tmp_path / ".a.b.3.new").symlink_to(tmp_path / ".a.1.new")
    kept += [".a.b.2.new", ".a.b.3.new"]
    with replacing_file(path) as first:
        first.write_text("first")
        with replacing_file(path) as second:
            assert first != second
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "a.b"])


def test_a_writer_may_put_another_file_in_place(tmp_path: Path) -> None:
    path = tmp_path / "value.txt"
    with replacing_file(path) as temporary:
        temporary.write_text("own way")
        temporary.rename(temporary.with_suffix(".moved"))
        temporary.with_suffix(".moved").rename(temporary)
        with replacing_file(path) as other:
            other.write_text("other")
    assert path.read_text() == "own way"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_folder_moved_aside_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    path, leftover = tmp_path / "map", tmp_path / ".map.7.new"
    leftover.mkdir()
    folder(leftover / "older", "old")
    folder(leftover / "map", "unfinished")
    clear_leftovers(path)
    assert (path / "content").read_text() == "old"
    assert os.listdir(tmp_path) == ["map"]
    # Where another folder has the name by now, that one stays.
    leftover.mkdir()
    folder(leftover / "older", "older still")
    clear_leftovers(path)
    assert (path / "content").read_text() == "old"
    assert os.listdir(tmp_path) == ["map"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_lack_of_room_is_told_with_folder_cause_and_remedy(tmp_path: Path, number: int) -> None:
    told = rf"no room in {tmp_path} to write m \({os.strerror(number)}\): free some space"
    with pytest.raises(SaaneError, match=told), telling_full_disk(tmp_path / "m"):
        raise OSError(number, os.strerror(number))
    with pytest.raises(PermissionError), telling_full_disk(tmp_path / "m"):
        raise PermissionError(errno.EACCES, "no")


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
