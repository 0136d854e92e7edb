"""Downloads against a real HTTP server that cuts, changes and refuses."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import yaml

from saane_ros.errors import SaaneError
from saane_ros.weights.card_files import load_card
from saane_ros.weights.download import DownloadError, download
from saane_ros.weights.store import find_weights

CONTENT = np.random.default_rng(0).bytes(300_000)


def right(path: Path) -> str | None:
    return None if path.read_bytes() == CONTENT else "is not what was served"


def test_a_whole_file_arrives_and_nothing_else_stays(file_server, tmp_path):
    file_server.files["/net.pth"] = CONTENT
    target = tmp_path / "new" / "net.pth"
    download(file_server.url("/net.pth"), target, right)
    assert target.read_bytes() == CONTENT
    assert file_server.ranges == [""]
    assert sorted(p.name for p in target.parent.iterdir()) == [".net.pth.lock", "net.pth"]


def test_a_cut_connection_is_resumed_where_it_broke(file_server, tmp_path):
    file_server.files["/net.pth"] = CONTENT
    file_server.cuts = [100_000, 50_000]
    download(file_server.url("/net.pth"), tmp_path / "net.pth", right)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert file_server.ranges == ["", "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_with_the_part_of_an_earlier_one(file_server, tmp_path):
    file_server.files["/net.pth"] = CONTENT
    file_server.cuts = [120_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        download(file_server.url("/net.pth"), tmp_path / "net.pth", right)
    assert (tmp_path / "net.pth.part").read_bytes() == CONTENT[:120_000]
    assert not (tmp_path / "net.pth").exists()
    download(file_server.url("/net.pth"), tmp_path / "net.pth", right)
    assert file_server.ranges[-1] == "bytes=120000-"
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_starts_anew(file_server, tmp_path):
    file_server.files["/net.pth"] = bytes(300_000)
    file_server.cuts = [120_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        download(file_server.url("/net.pth"), tmp_path / "net.pth", right)
    file_server.files["/net.pth"], file_server.etag = CONTENT, '"second"'
    download(file_server.url("/net.pth"), tmp_path / "net.pth", right)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_starts_anew(file_server, tmp_path):
    file_server.files["/net.pth"] = CONTENT
    (tmp_path / "net.pth.part").write_bytes(CONTENT + b"more")
    (tmp_path / ".net.pth.part.version").write_text(file_server.etag)
    download(file_server.url("/net.pth"), tmp_path / "net.pth", right)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert file_server.ranges == ["bytes=300004-", ""]


def test_wrong_content_is_told_and_removed(file_server, tmp_path):
    file_server.files["/net.pth"] = b"something else"
    with pytest.raises(SaaneError, match=r"download of net\.pth .* is not what was served"):
        download(file_server.url("/net.pth"), tmp_path / "net.pth", right)
    assert [p.name for p in tmp_path.iterdir()] == [".net.pth.lock"]


def test_a_missing_file_and_a_dead_server_are_told(file_server, tmp_path):
    with pytest.raises(DownloadError, match="404 Not Found"):
        download(file_server.url("/absent.pth"), tmp_path / "absent.pth", right)
    with pytest.raises(DownloadError, match="Connection refused"):
        download("http://127.0.0.1:9/net.pth", tmp_path / "net.pth", right)
    with pytest.raises(DownloadError):
        download("http://nowhere.invalid/net.pth", tmp_path / "net.pth", right)


def _download_in_process(url: str, target: Path) -> None:
    download(url, target, right)


def test_two_processes_fetch_one_file_once(file_server, tmp_path):
    file_server.files["/net.pth"] = CONTENT
    arguments = (file_server.url("/net.pth"), tmp_path / "net.pth")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_download_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert file_server.ranges == [""]
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("gated", "pages", "told"),
    [
        (True, False, "401 Unauthorized: it asks for an account or for its terms"),
        (False, False, "404 Not Found: the file was moved or taken away"),
        (False, True, "a web page instead of it: open it in a browser"),
    ],
)
def test_a_gated_moved_or_hidden_file_is_told(gated, pages, told, file_server, cache, tmp_path):
    """As a hub answers, and a cloud drive whose page wants a click."""
    if gated:
        file_server.refused["/net.pth"] = (401, {})
    if pages:
        file_server.files["/net.pth"] = b"<!DOCTYPE html>"
        file_server.pages.add("/net.pth")
    card = tmp_path / "hub.yaml"
    values = {
        "name": "hub",
        "system": "selavpr",
        "appearance": {
            "trunk": "timm/vit_small_patch14_dinov2",
            "adapters": "selavpr",
            "weights": "net",
        },
        "head": {"weights": "net"},
        "preprocessing": {"height": 28, "width": 28},
        "licence": "MIT",
        "weights": {
            "net": {
                "file": "net.pth",
                "url": file_server.url("/net.pth"),
                "page": "https://example.org/by/hand",
            }
        },
    }
    card.write_text(yaml.safe_dump(values))
    with pytest.raises(SaaneError, match=told) as caught:
        find_weights(load_card(card))
    assert "net.pth (from https://example.org/by/hand)" in str(caught.value)
    assert "put it into one of these folders" in str(caught.value)
    assert [path.name for path in cache.iterdir()] == [".net.pth.lock"]
