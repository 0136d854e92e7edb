"""`saane fleet`, as a person calls it: from a push to a vehicle that has no network."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from fleet.fleet_maps import street
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.cli import main
from saane_ros.embedding import loading

pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")

ORIGIN = (48.0, 11.0, 500.0)
_load_embedder = loading.load_embedder


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())
    monkeypatch.setenv("SAANE_FLEET", str(tmp_path / "store"))


def told(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["fleet", *map(str, words)]) == code
    streams = capsys.readouterr()
    return streams.err.splitlines()[-1] if code else streams.out


def test_the_way_of_a_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, maps = tmp_path / "street.routemap", tmp_path / "maps"
    assert "There is no fleet store" in told(capsys, "list", code=1)
    street(path, origin=ORIGIN)
    text = told(capsys, "push", path, "--condition", "noon")
    assert "is in the store: 30 of 30 places were new" in text
    first = text.split()[2]
    assert "is in the store already" in told(capsys, "push", path, "--condition", "noon")
    street(path, changed=range(5), origin=ORIGIN)
    second = told(capsys, "push", path, "--condition", "noon").split()[2]
    lines = told(capsys, "list").splitlines()
    assert [line.split()[:2] for line in lines] == [["street", first], ["street", second]]
    assert "noon: 30 places of colour-grid, post-processing none box 48.0" in lines[0]
    assert told(capsys, "verify").count("is whole: 30 places") == 2

    told(capsys, "pull", "street", "--version", first[:5], "--to", maps, "--install")
    text = told(capsys, "pull", "street", "--to", maps)
    assert f"{second}.routemap is fetched: 30 places, 5 of them" in text
    assert "is here already: 30 places" in told(capsys, "pull", "street", "--to", maps)
    assert (maps / "street.routemap").resolve().name == f"{first}.routemap"
    assert told(capsys, "install", "street", second, "--to", maps) == f"street is now {second}\n"
    assert told(capsys, "rollback", "street", "--to", maps) == f"street is again {first}\n"


def test_a_working_set_near_the_last_pose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, pose = tmp_path / "maps", tmp_path / "pose.json"
    for name, seed, origin in (("a", 0, ORIGIN), ("b", 50, ORIGIN), ("far", 90, (52.0, 9.0, 0.0))):
        street(tmp_path / f"{name}.routemap", seed=seed, origin=origin)
        told(capsys, "push", tmp_path / f"{name}.routemap")
    pose.write_text(json.dumps({"map": "a", "position": [30.0, 0.0, 0.0]}))
    words = ("pull", "--kept-pose", pose, "--radius", "11", "--to", maps, "--install")
    assert told(capsys, *words).count("11 places") == 2
    assert sorted(one.name for one in maps.glob("*.routemap")) == ["a.routemap", "b.routemap"]
    monkeypatch.setenv("SAANE_FLEET", "http://127.0.0.1:9")
    monkeypatch.setattr("saane_ros.fleet.remote.WAITS_S", (0.01,))
    assert "gave no whole answer in 2 tries" in told(capsys, *words, code=1)
    images = tmp_path / "images"
    images.mkdir()
    for i in range(10, 21):
        cv2.imwrite(str(images / f"{i}.png"), smooth_scene(i, 48, 64)[..., ::-1])
    capsys.readouterr()
    assert main(["localize", "--map", str(maps / "a.routemap"), "--images", str(images)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split(",")[1:5] == [
        "20.png",
        "localized",
        "10",
        "20.png",
    ]


def test_maps_of_a_card_of_ones_own_ask_for_that_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    street(tmp_path / "a.routemap", origin=ORIGIN)
    version = told(capsys, "push", tmp_path / "a.routemap").split()[2]
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), smooth_scene(7, 48, 64)[..., ::-1])
    monkeypatch.setattr(loading, "load_embedder", _load_embedder)
    assert (
        f"Map a version {version} was made by model 'colour-grid', which is no card of the package"
        in told(capsys, "find", photo, code=1)
    )


def test_a_photo_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", 0), ("b", 50)):
        street(tmp_path / f"{name}.routemap", seed=seed, origin=ORIGIN)
        told(capsys, "push", tmp_path / f"{name}.routemap", "--condition", "dusk")
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), smooth_scene(57, 48, 64)[..., ::-1])
    lines = told(capsys, "find", photo, "--count", "3").splitlines()
    assert len(lines) == 3
    assert lines[0].split()[0] == "0.0000"
    assert lines[0].split()[1::2] == ["b", "7.png", "at", "11.0001876"]
    far = ("find", photo, "--near", "48,11.01", "--radius", "100")
    assert told(capsys, *far) == "no place\n"
    assert told(capsys, "find", photo, "--condition", "noon") == "no place\n"


def test_a_photo_is_found_in_maps_with_a_post_processing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, kind in (("a", "none"), ("b", "mean")):
        street(tmp_path / f"{name}.routemap", seed=50, postprocessing=kind)
        told(capsys, "push", tmp_path / f"{name}.routemap")
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), smooth_scene(57, 48, 64)[..., ::-1])
    lines = told(capsys, "find", photo, "--count", "1").splitlines()
    assert lines[1] == "by mean, whose distances compare with each other alone:"
    assert [line.split()[1::2] for line in (lines[0], lines[2])] == [["a", "7.png"], ["b", "7.png"]]


def test_versions_are_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, found = tmp_path / "street.routemap", []
    for number in range(4):
        street(path, changed=[number])
        found.append(told(capsys, "push", path).split()[2])
    street(tmp_path / "road.routemap", seed=50)
    told(capsys, "push", tmp_path / "road.routemap")
    newest = f"street version {found[3]} is the newest of that map, which vehicles pull: give"
    for words in (("--version", found[3]), ("--keep", "0")):
        assert newest in told(capsys, "remove", "street", *words, code=1)
    assert "has no map lane: there are road, street" in told(
        capsys, "remove", "lane", "--keep", "1", code=1
    )
    assert "has no versions zz of map street" in told(
        capsys, "remove", "street", "--version", "zz", code=1
    )
    for name in ("", " "):
        assert "The name of a map is empty" in told(capsys, "remove", name, "--keep", "1", code=1)
    assert len(told(capsys, "list").splitlines()) == 5
    lines = told(capsys, "remove", "street", "--version", found[1][:8]).splitlines()
    assert lines[0] == f"street version {found[1]} is removed"
    # Its own changed place alone: all others have the places that these changed.
    assert lines[1].startswith("1 places and ")
    lines = told(capsys, "remove", "street", "road", "--keep", "1").splitlines()
    assert sorted(lines[:2]) == sorted(f"street version {found[i]} is removed" for i in (0, 2))
    assert [line.split()[1] for line in told(capsys, "list", "street").splitlines()] == [found[3]]
    assert told(capsys, "verify").count("is whole") == 2
    nothing = told(capsys, "remove", "street", "--keep", "1")
    assert nothing == "0 places and 0 pieces that no other version needs went\n"
    told(capsys, "remove", "street", "--keep", "0", "--newest")
    assert [line.split()[0] for line in told(capsys, "list").splitlines()] == ["road"]


def test_mistakes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    street(tmp_path / "street.routemap")
    told(capsys, "push", tmp_path / "street.routemap")
    maps = ("--to", tmp_path / "maps")
    for words, sentence in (
        (("pull", "road", *maps), "has no map road: there are street"),
        (("pull", "street", "--version", "zz", *maps), "has no versions zz of map street: give"),
        (("pull", *maps), "No map is named: give its name, or --near"),
        (("pull", "--near", "48,11", *maps), "No map of the store lies within 2000 m of there"),
        (("pull", "street", "--near", "a,b", *maps), "--near is 'a,b': give LATITUDE,LONGITUDE"),
        (("pull", "street", "--near", "9000,9000", *maps), "has no place within 2000 m of there"),
        (("install", "street", "abc", *maps), "holds no versions abc of street (there is none)"),
        (("push", tmp_path), "is no route map, as it has no map.yaml"),
        (("verify", "--store", " "), "No fleet store is named: give --store or set SAANE_FLEET"),
    ):
        assert sentence in told(capsys, *words, code=1)
    assert not list((tmp_path / "maps").rglob("*.routemap"))
