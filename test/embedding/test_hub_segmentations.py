"""Segmentations of the hub: fetched file by file, verified, and loaded without it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from file_servers import COMMIT, FileServer
from hugging_face_files import CLASSES, save_segformer

from saane_ros.cli import main
from saane_ros.embedding.segmenting import load_segmentation
from saane_ros.errors import SaaneError
from saane_ros.weights.card_files import load_card, parse_card
from saane_ros.weights.cards import fingerprint
from saane_ros.weights.hub import CONFIG, MODEL, PROCESSOR
from saane_ros.weights.store import find_checkpoint

NAME = "someone/segformer"
FOLDER = f"someone--segformer@{COMMIT}"


class Segformer:
    """A model on the hub, a card for it, and the cache that its files go to."""

    def __init__(self, hub: FileServer, folder: Path) -> None:
        self.hub, self.folder, self.cache = hub, folder, folder / "cache" / "weights"
        self.model = save_segformer(folder / "saved")
        (folder / "saved" / PROCESSOR).write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5]}))
        self.files = {
            file: (folder / "saved" / file).read_bytes() for file in (CONFIG, PROCESSOR, MODEL)
        }
        hub.publish(NAME, self.files)
        self.sha256 = hashlib.sha256(self.files[MODEL]).hexdigest()

    def card(self, checkpoint: str = f"{NAME}@{COMMIT}", **semantics: Any) -> str:
        values = {
            "name": "seg",
            "system": "segmentation",
            "semantics": {"network": "huggingface", "checkpoint": checkpoint, **semantics},
            "preprocessing": {"height": 64, "width": 96},
            "licence": "MIT",
            "weights": {},
        }
        path = self.folder / "cards" / "seg.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(values))
        return str(path)

    def put(self, folder: Path, *files: str) -> None:
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).write_bytes(self.files[file])


@pytest.fixture
def segformer(hub_server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segformer:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    return Segformer(hub_server, tmp_path)


def test_it_is_fetched_once_verified_and_loaded_without_the_hub(segformer, monkeypatch, capsys):
    card = segformer.card(sha256=segformer.sha256)
    assert main(["models", "verify", card]) == 1
    told = capsys.readouterr().out
    assert told == f"seg: {NAME}@{COMMIT} missing, from https://huggingface.co/{NAME}\n"
    assert segformer.hub.paths == []
    assert main(["models", "fetch", card]) == 0
    base = f"/{NAME}/resolve/{COMMIT}"
    assert segformer.hub.paths == [f"{base}/{file}" for file in segformer.files]
    for file, content in segformer.files.items():
        assert (segformer.cache / FOLDER / file).read_bytes() == content
    told = capsys.readouterr().out
    assert f"seg: semantics {CONFIG} unverified at commit {COMMIT[:12]} (its card names no" in told
    assert f"seg: semantics {MODEL} verified, sha256 {segformer.sha256[:12]}" in told
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["models", "verify", card]) == 0
    assert "seg: loads; 5 classes" in capsys.readouterr().out
    found = load_segmentation(card, device="cpu")
    assert found.class_names == CLASSES
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        # The means are those of its preprocessor_config.json.
        expected = segformer.model(pixel_values=(pixels - 0.5) / std).logits
        actual = found.network((pixels - mean) / std).logits
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_branch_is_told_to_be_not_pinned_and_held_to(segformer, capsys):
    card = segformer.card(NAME)
    assert main(["models", "fetch", card]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3
    assert all("unverified and not pinned (its card names neither sha256 nor" in x for x in told)
    file = segformer.cache / "someone--segformer@main" / MODEL
    file.unlink()
    segformer.hub.files[f"/{NAME}/resolve/main/{MODEL}"] = segformer.files[MODEL] + b" "
    assert main(["models", "fetch", card]) == 1
    assert "changed since it was first used" in capsys.readouterr().err


def test_other_bytes_than_the_card_says_are_refused(segformer):
    card = segformer.card(sha256="0" * 64)
    with pytest.raises(SaaneError, match=f"has sha256 {segformer.sha256} instead of 0000"):
        load_segmentation(card, device="cpu")
    assert not (segformer.cache / FOLDER / MODEL).exists()


def test_an_interrupted_download_goes_on(segformer):
    whole = len(segformer.files[MODEL])
    segformer.hub.cuts = [10_000, 10_000, 5000]
    load_segmentation(segformer.card(sha256=segformer.sha256), device="cpu")
    assert segformer.hub.ranges == ["", "", "", "bytes=5000-"]
    assert (segformer.cache / FOLDER / MODEL).stat().st_size == whole > 5000


def test_a_gated_one_says_where_terms_are_accepted_and_files_are_put(segformer):
    for file in segformer.files:
        segformer.hub.refused[f"/{NAME}/resolve/{COMMIT}/{file}"] = (403, {})
    with pytest.raises(SaaneError) as caught:
        load_segmentation(segformer.card(), device="cpu")
    told = str(caught.value)
    assert "accept the terms at https://huggingface.co/someone/segformer, log in with" in told
    assert f"{FOLDER}/{MODEL}" in told
    assert told.endswith("give the same command again, or put them into one of these folders.")
    assert str(segformer.cache) in told


def test_files_put_by_hand_are_found_where_they_are_together(segformer):
    card, given = segformer.card(), segformer.folder / "given"
    segformer.put(given / FOLDER, CONFIG, PROCESSOR, MODEL)
    assert load_segmentation(card, str(given), device="cpu").class_names == CLASSES
    assert segformer.hub.paths == []
    (given / FOLDER / PROCESSOR).unlink()
    with pytest.raises(SaaneError, match=r"The files of someone/segformer@\w+ lie in .* and "):
        load_segmentation(card, str(given), device="cpu")


@pytest.mark.parametrize(
    ("semantics", "told"),
    [
        ({"checkpoint": "segformer"}, "'segformer' instead of <owner>/<name>@<commit> or the path"),
        ({"checkpoint": "a/b", "sha256": "abc"}, "semantics.sha256 is not 64 lower-case"),
        ({"checkpoint": "/a/b", "sha256": "0" * 64}, "semantics.sha256 does not apply to a folder"),
        (
            {"network": "mosaic", "weights": "w", "classes": ["a"], "sha256": "0" * 64},
            "semantics.sha256 does not apply to mosaic",
        ),
    ],
)
def test_mistakes_of_a_card_are_told(semantics: dict[str, Any], told: str) -> None:
    values = {
        "name": "seg",
        "system": "segmentation",
        "semantics": {"network": "huggingface", **semantics},
        "preprocessing": {"height": 64, "width": 96},
        "licence": "MIT",
        "weights": {},
    }
    with pytest.raises(SaaneError, match=told):
        parse_card(yaml.safe_dump(values), Path("seg.yaml"))


def test_where_it_comes_from_is_no_part_of_the_fingerprint(segformer) -> None:
    card = load_card(segformer.card(NAME))
    assert card.semantics is not None
    moved = replace(
        card,
        semantics=replace(
            card.semantics, checkpoint="/a/folder", sha256=segformer.sha256, megabytes=3
        ),
    )
    assert fingerprint(card, {"semantics": "1"}) == fingerprint(moved, {"semantics": "1"})
    # As it was before cards could tell digests and sizes of a segmentation.
    assert fingerprint(card, {"semantics": "1"}) == "0ab070cc768076bb"
    assert moved.semantics is not None
    assert find_checkpoint(moved.semantics, []) == Path("/a/folder")
