"""Where weight files are found, and what is said when they are not or are wrong."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from saane_ros.errors import SaaneError
from saane_ros.weights.card_files import load_card, models_folder
from saane_ros.weights.cards import ModelCard, WeightSource
from saane_ros.weights.store import (
    check_file,
    download_folder,
    find_weights,
    locate,
    origin_of,
    search_folders,
)

CONTENT = b"the right weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def card_with(folder: Path, **sources: WeightSource) -> ModelCard:
    card = load_card("saane-resnet50-pspnet")
    return replace(card, weights=sources, path=folder / "card.yaml")


def shipped(**changes: str) -> WeightSource:
    return replace(WeightSource(file="a.safetensors", sha256=SHA256, licence="-"), **changes)


def test_folders_are_searched_in_their_order(tmp_path, cache):
    beside, given = tmp_path / "beside", tmp_path / "given"
    card = card_with(beside, a=shipped())
    beside.mkdir()
    given.mkdir()
    folders = search_folders(card, given)
    assert folders == [given, beside, models_folder(), cache]
    cache.mkdir(parents=True)
    for folder in (cache, beside, given):
        (folder / "a.safetensors").write_bytes(CONTENT)
        assert locate(card.weights["a"], folders) == folder / "a.safetensors"
    found = find_weights(card, given)["a"]
    assert (found.path, found.sha256, found.verified) == (given / "a.safetensors", SHA256, True)


def test_the_folder_of_the_package_is_searched_once_for_its_own_cards(cache):
    card = load_card("saane-resnet50-pspnet")
    assert search_folders(card) == [models_folder(), download_folder()]


def test_a_given_folder_that_is_absent_is_an_error(tmp_path):
    with pytest.raises(SaaneError, match="There is no folder"):
        find_weights(card_with(tmp_path, a=shipped()), tmp_path / "absent")


def test_a_wrong_file_is_refused_with_both_digests(tmp_path, cache):
    (tmp_path / "a.safetensors").write_bytes(b"other weights")
    actual = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(SaaneError, match=f"has sha256 {actual} instead of {SHA256}"):
        find_weights(card_with(tmp_path, a=shipped()))


def test_a_missing_file_without_address_names_file_and_folders(tmp_path, cache):
    with pytest.raises(SaaneError) as caught:
        find_weights(card_with(tmp_path, a=shipped()))
    text = str(caught.value)
    assert text.startswith("Weight file a.safetensors is in none of the folders ")
    for folder in (tmp_path, models_folder(), cache):
        assert str(folder) in text


def test_a_download_is_verified_and_kept(tmp_path, cache, file_server):
    file_server.files["/a"] = CONTENT
    card = card_with(tmp_path, a=shipped(url=file_server.url("/a")))
    first = find_weights(card)["a"]
    assert (first.path, first.verified) == (cache / "a.safetensors", True)
    assert find_weights(card)["a"] == first
    assert file_server.ranges == [""]


def test_a_download_with_the_wrong_digest_leaves_nothing(tmp_path, cache, file_server):
    file_server.files["/a"] = b"tampered"
    with pytest.raises(SaaneError, match=f"instead of {SHA256}: try again"):
        find_weights(card_with(tmp_path, a=shipped(url=file_server.url("/a"))))
    assert [path.name for path in cache.iterdir()] == [".a.safetensors.lock"]


def test_offline_every_missing_file_is_told_with_its_address(tmp_path, cache, file_server):
    file_server.files["/a"] = CONTENT
    card = card_with(
        tmp_path,
        a=shipped(url=file_server.url("/a")),
        b=shipped(file="b.pth", url="http://127.0.0.1:9/b.pth"),
        c=shipped(file="c.pth", url="http://127.0.0.1:9/c.pth"),
    )
    with pytest.raises(SaaneError) as caught:
        find_weights(card)
    assert str(caught.value) == (
        "Weight files b.pth (from http://127.0.0.1:9/b.pth), c.pth (from "
        f"http://127.0.0.1:9/c.pth) are in none of the folders {tmp_path}, {models_folder()}, "
        f"{cache} and could not be downloaded (Connection refused): put them into one of these "
        "folders."
    )
    assert (cache / "a.safetensors").exists()


def test_nothing_is_downloaded_where_that_is_not_wanted(tmp_path, cache, file_server):
    card = card_with(tmp_path, a=shipped(url=file_server.url("/a")))
    with pytest.raises(SaaneError, match="put it into one"):
        find_weights(card, download_missing=False)
    assert file_server.ranges == []


def test_an_unknown_digest_is_recorded_and_held_to(tmp_path, cache, file_server):
    file_server.files["/a"] = CONTENT
    card = card_with(tmp_path, a=shipped(sha256="", url=file_server.url("/a")))
    assert not find_weights(card)["a"].verified
    assert (cache / "a.safetensors.sha256").read_text() == f"{SHA256}  a.safetensors\n"
    (cache / "a.safetensors").write_bytes(b"changed")
    with pytest.raises(SaaneError, match="changed since it was first used"):
        find_weights(card)


def test_torchvision_gives_address_and_first_digits(tmp_path):
    resnet18 = origin_of(WeightSource(torchvision="ResNet18_Weights.IMAGENET1K_V1"))
    assert resnet18.file == "resnet18-f37072fd.pth"
    assert resnet18.prefix == "f37072fd"
    assert re.fullmatch(r"https://\S+/resnet18-f37072fd\.pth", resnet18.url)
    (tmp_path / resnet18.file).write_bytes(CONTENT)
    source = WeightSource(torchvision="ResNet18_Weights.IMAGENET1K_V1")
    with pytest.raises(SaaneError, match=f"sha256 {SHA256[:8]} instead of f37072fd"):
        check_file(source, [tmp_path])
    with pytest.raises(SaaneError, match=r"no weights 'ResNet18_Weights\.NONE'"):
        origin_of(WeightSource(torchvision="ResNet18_Weights.NONE"))
