"""Cards of local features: what they must say, and their weights from an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from saane_ros.cli import main
from saane_ros.errors import SaaneError
from saane_ros.weights.card_files import card_names
from saane_ros.weights.feature_cards import feature_names, load_feature_card
from saane_ros.weights.store import find_weights

SOURCE = {"file": "a.pth", "url": "http://127.0.0.1:9/a.pth"}
CARD: dict[str, Any] = {
    "name": "own",
    "system": "disk",
    "licence": "none",
    "weights": {"extractor": SOURCE},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**CARD, **changes}))
    return path


def test_every_shipped_card_is_valid_and_named_after_its_file() -> None:
    names = feature_names()
    systems = ("aliked", "disk", "superpoint")
    assert names == sorted(["rootsift", *systems, *(f"{name}-lightglue" for name in systems)])
    assert not set(names) & set(card_names())
    for name in names:
        card = load_feature_card(name)
        assert card.name == card.reference == name
        assert card.description
        assert card.matcher == ("lightglue" if name.endswith("-lightglue") else "nearest")
        for source in card.weights.values():
            assert source.megabytes
            assert source.url.rsplit("/", 1)[1] in (source.file, "model.safetensors")
        if card.system == "superpoint":
            assert "non-commercial" in card.licence


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"system": "surf"}, "system is 'surf' instead of one of rootsift, superpoint, disk"),
        ({"name": "a/b@c"}, "name 'a/b@c' has more than letters"),
        ({"colour": 1}, "unknown key colour"),
        ({"weights": {}}, "weights.extractor is missing"),
        ({"matcher": "lightglue"}, "weights.matcher is missing"),
        ({"weights": {"extractor": SOURCE, "matcher": SOURCE}}, "weights.matcher does not apply"),
        ({"weights": {"extractor": {"file": "a"}}}, "missing key weights.extractor.sha256"),
        ({"weights": {"extractor": {**SOURCE, "file": "../a"}}}, "instead of a plain file name"),
        ({"system": "rootsift"}, "weights.extractor does not apply"),
        ({"system": "rootsift", "weights": {}, "matcher": "lightglue"}, "is matched by nearest"),
    ],
)
def test_mistakes_of_a_card_are_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(SaaneError) as caught:
        load_feature_card(write(tmp_path, **changes))
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"Feature card {tmp_path / 'own.yaml'} has mistakes: ")


def test_a_card_that_is_not_there_is_told() -> None:
    with pytest.raises(SaaneError, match="no feature card 'dsk': did you mean disk"):
        load_feature_card("dsk")
    with pytest.raises(SaaneError, match=r"Feature card none\.yaml cannot be read"):
        load_feature_card("none.yaml")


def test_weights_come_from_their_address_or_it_is_told_where_they_go(
    tmp_path: Path, cache: Path, file_server: Any
) -> None:
    file_server.files["/a.pth"] = b"weights"
    source = {"file": "a.pth", "url": file_server.url("/a.pth")}
    card = load_feature_card(write(tmp_path, weights={"extractor": source}))
    assert card.reference == str(tmp_path / "own.yaml")
    file = find_weights(card)["extractor"]
    assert (file.path, file.path.read_bytes()) == (cache / "a.pth", b"weights")
    absent = {"file": "b.pth", "url": file_server.url("/b.pth")}
    card = load_feature_card(write(tmp_path, weights={"extractor": absent}))
    with pytest.raises(SaaneError) as caught:
        find_weights(card)
    assert f"b.pth (from {absent['url']}) is in none of the folders {tmp_path}, " in str(
        caught.value
    )
    assert str(cache) in str(caught.value)


def test_the_list_shows_them_and_fetch_and_verify_take_them(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.split("== Local features")[1].splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("disk-lightglue "))
    assert lines[row].split(None, 1)[1] == "disk, matched by lightglue; Apache-2.0"
    assert lines[row + 2] == "  weights 52 MB"
    assert lines[row + 3].startswith("  extractor: depth-save.pth missing, from http")
    assert lines[row + 4].startswith("  matcher: disk_lightglue.pth missing, from http")
    assert main(["models", "fetch", "rootsift"]) == 0
    assert main(["models", "verify", "rootsift"]) == 0
    assert "rootsift: loads; keypoints of maps as rootsift-corners" in capsys.readouterr().out
    assert main(["models", "verify", "disk"]) == 1
    assert "disk: depth-save.pth missing" in capsys.readouterr().out
