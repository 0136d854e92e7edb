"""Label maps by the town's own segmentation, from their files to the student that learns them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from saane_ros.cli import main
from saane_ros.data.images.labelled import IGNORED, read_classes
from saane_ros.embedding.segmenting import load_segmentation
from saane_ros.files import sha256_of
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.simulation import CLASS_NAMES, VALIDATION_SEEDS, Camera, Town, Traverse
from saane_ros.training import pseudo_labels

CAMERAS = ("north", "south")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras with three images each, and the true label maps beside them."""
    root = tmp_path_factory.mktemp("town")
    traverse = Traverse(
        Town(VALIDATION_SEEDS[0], 120.0), "day", seed=1, camera=Camera(width=160, height=120)
    )
    for index, camera in enumerate(CAMERAS):
        for part in ("images", "truth"):
            (root / part / camera).mkdir(parents=True)
        for time in range(3):
            frame = traverse.render(10 + 30 * index + 8 * time)
            bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(root / "images" / camera / f"t{time}.png"), bgr)
            cv2.imwrite(str(root / "truth" / camera / f"t{time}.png"), frame.labels)
    return root


def label(town: Path, out: Path, *more: str, teacher: tuple[str, ...] = ("saane-town",)) -> int:
    command = ["train", "pseudo-labels", "--teacher", *teacher, "--out", str(out)]
    command += ["--data", str(town), "--images", "images", "--device", "cpu", *more]
    return main(command)


@pytest.fixture(scope="module")
def labelled(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labels") / "out"
    assert label(town, out, "--flip", "--confidence", "0.7") == 0
    return out


def read_map(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def maps(out: Path) -> dict[str, bytes]:
    labels = out / "labels"
    return {str(p.relative_to(labels)): p.read_bytes() for p in sorted(labels.rglob("*.png"))}


def naive_answer(image: np.ndarray) -> np.ndarray:
    """Flip-averaged probabilities (classes, 120, 160) of the town's segmentation."""
    segmentation = load_segmentation("saane-town", device="cpu")
    answers = []
    for flip in (1, -1):
        scores = np.exp(segmentation.logits([image[:, ::flip].copy()])[0].numpy())
        answers.append((scores / scores.sum(axis=0))[..., ::flip])
    mean = np.mean(answers, axis=0)
    return np.stack([cv2.resize(channel, (160, 120)) for channel in mean])


def test_a_map_holds_the_likeliest_class_where_it_is_likely_enough(
    town: Path, labelled: Path
) -> None:
    assert set(maps(labelled)) == {f"images/{c}/t{t}.png" for c in CAMERAS for t in range(3)}
    pixels, sums = np.zeros(256), np.zeros(256)
    for name in maps(labelled):
        found = read_map(labelled / "labels" / name)
        image = cv2.imread(str(town / name))[..., ::-1]
        answer = naive_answer(image)
        likely = answer.max(axis=0)
        clear = np.abs(likely - 0.7) > 1e-4
        expected = np.where(likely < 0.7, IGNORED, answer.argmax(axis=0))
        assert found.dtype == np.uint8
        assert np.mean(found[clear] != expected[clear]) < 1e-3
        pixels += np.bincount(found.ravel(), minlength=256)
        sums += np.bincount(found.ravel(), likely.ravel(), minlength=256)
        truth = read_map(town / "truth" / Path(name).relative_to("images"))
        assert np.mean(found[found != IGNORED] == truth[found != IGNORED]) > 0.9
    report = json.loads((labelled / "report.json").read_text())
    assert report["images"] == 6
    assert report["ignored"] == pixels[IGNORED] / pixels.sum()
    assert 0.01 < report["ignored"] < 0.5
    for index, name in enumerate(CLASS_NAMES):
        row = report["classes"][name]
        assert row["pixels"] == pixels[index]
        if row["pixels"]:
            assert row["confidence"] == pytest.approx(sums[index] / pixels[index], abs=1e-3)
    classes = read_classes(labelled / "classes.yaml")
    assert classes.classes == CLASS_NAMES
    assert set(classes.dynamic) == {"car", "bus", "person"}


def test_a_cut_run_goes_on_and_ends_as_a_whole_one(
    town: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = pseudo_labels.read_image, []

    def read(path: Path) -> np.ndarray:
        seen.append(path)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(pseudo_labels, "read_image", read)
    assert label(town, tmp_path / "out", "--flip", "--confidence", "0.7") == 130
    assert len(maps(tmp_path / "out")) == 2
    with (tmp_path / "out" / "images.jsonl").open("a") as journal:
        journal.write('{"map": "images/sou')  # a kill amid a line
    assert label(town, tmp_path / "out", "--flip", "--confidence", "0.7") == 0
    assert len(seen) == 3 + 4
    assert maps(tmp_path / "out") == maps(labelled)
    for name in ("report.json", "images.jsonl"):
        assert (tmp_path / "out" / name).read_text() == (labelled / name).read_text()
    assert label(town, tmp_path / "out", "--flip", "--confidence", "0.7") == 0
    assert len(seen) == 3 + 4


def test_maps_of_other_options_are_not_mixed(
    town: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = maps(labelled)
    assert label(town, labelled, "--confidence", "0.6") == 1
    assert "made with other confidence, flip (see made_by.json)" in capsys.readouterr().err
    assert maps(labelled) == before


def write_counterparts(path: Path, names: dict[str, str]) -> str:
    path.write_text(yaml.safe_dump(names))
    return str(path)


def test_a_second_opinion_is_asked_on_what_it_knows(town: Path, tmp_path: Path) -> None:
    """The same network, told that it knows three classes and calls roads buildings."""
    wrong = {"sky": "sky", "building": "building", "road": "building"}
    file = write_counterparts(tmp_path / "wrong.yaml", wrong)
    all_pixels = ("--confidence", "0")
    assert label(town, tmp_path / "one", *all_pixels) == 0
    assert label(town, tmp_path / "two", *all_pixels, "--teacher", "saane-town", file) == 0
    sky, road, building = (CLASS_NAMES.index(name) for name in ("sky", "road", "building"))
    alone, both = (
        np.stack([read_map(tmp_path / out / "labels" / name) for name in maps(tmp_path / out)])
        for out in ("one", "two")
    )
    # Roads are unknown to the second, so nothing is asked there.
    assert np.mean(both[alone == road] == road) > 0.99
    report = json.loads((tmp_path / "two" / "report.json").read_text())["agreement"]["saane-town"]
    asked = np.isin(alone, (sky, building))
    assert report["asked"] == pytest.approx(asked.mean())
    assert not (both[~asked] == IGNORED).any()
    assert report["refused"] == pytest.approx(np.mean(both == IGNORED))
    assert report["agreed"] == pytest.approx(np.mean(both[asked] != IGNORED))
    assert report["agreed"] > 0.95


def test_classes_by_a_file_and_counterparts_that_do_not_fit(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.classes.yaml"
    own.write_text("classes: [vehicle, sky]\ndynamic: [vehicle, sky]\n")
    names = {"car": "vehicle", "bus": "vehicle", "sky": "sky"}
    file = write_counterparts(tmp_path / "names.yaml", names)
    given = ("saane-town", file)
    assert label(town, tmp_path / "out", "--classes", str(own), teacher=given) == 0
    for name in maps(tmp_path / "out"):
        found = read_map(tmp_path / "out" / "labels" / name)
        truth = read_map(town / "truth" / Path(name).relative_to("images"))
        assert set(np.unique(found)) <= {0, 1, IGNORED}
        sky = CLASS_NAMES.index("sky")
        assert np.mean(truth[found == 1] == sky) > 0.95
        assert np.mean(found[truth == sky] == 1) > 0.9
    capsys.readouterr()
    for bad, told in (
        ({"lorry": "vehicle"}, "names 'lorry', which is not among sky, road"),
        ({"car": "auto"}, "names 'auto', which is not among vehicle, sky"),
    ):
        write_counterparts(tmp_path / "names.yaml", bad)
        assert label(town, tmp_path / "bad", "--classes", str(own), teacher=given) == 1
        assert told in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


def test_images_and_folders_that_cannot_be_labelled_are_told(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(town / "images" / "north", tmp_path / "data" / "images")
    shutil.copy(tmp_path / "data" / "images" / "t0.png", tmp_path / "data" / "images" / "t0.jpg")
    assert label(tmp_path / "data", tmp_path / "out") == 1
    assert "would share one label map" in capsys.readouterr().err
    assert label(town, tmp_path / "out", "--images", str(tmp_path / "data")) == 1
    assert "does not lie below" in capsys.readouterr().err
    (tmp_path / "out" / "labels").mkdir(parents=True)
    assert label(town, tmp_path / "out") == 1
    assert "was not made by this command" in capsys.readouterr().err


def student(tmp_path: Path) -> dict[str, Any]:
    """A configuration whose test labels are the town's own under other names and numbers."""
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.manual_seed(0)
    save_file(ResNetTrunk("resnet18", 8).state_dict(), weights / "trunk.safetensors")
    (tmp_path / "town.classes.yaml").write_text(
        yaml.safe_dump({"classes": list(CLASS_NAMES), "dynamic": ["car", "bus", "person"]})
    )
    foreign = [name.upper() for name in CLASS_NAMES]
    (tmp_path / "truth.classes.yaml").write_text(yaml.safe_dump({"classes": foreign}))
    write_counterparts(tmp_path / "names.yaml", {"SKY": "sky", "ROAD": "road", "BUS": "car"})
    digest = sha256_of(weights / "trunk.safetensors")
    return {
        "model": {
            "name": "light",
            "system": "segmentation",
            "appearance": {"trunk": "resnet18", "width": 8},
            "semantics": {"network": "light_pspnet", "channels": 8},
            "preprocessing": {"height": 64, "width": 96},
            "licence": "CC0-1.0",
            "weights": {"trunk": {"file": "trunk.safetensors", "sha256": digest}},
        },
        "labels": {
            "classes": "town.classes.yaml",
            "train": [{"images": "images", "labels": "labels/images", "without": ["south"]}],
            "validation": [{"images": "images", "labels": "labels/images", "only": ["south"]}],
            "test": [
                {
                    "images": "images",
                    "labels": "truth",
                    "only": ["south"],
                    "classes": "truth.classes.yaml",
                    "counterparts": "names.yaml",
                }
            ],
        },
        "segmentation": {
            "steps": 150,
            "batch": 3,
            "learning_rate": 0.02,
            "train_trunk": False,
            "validate_every": 50,
            "copies": 1,
            "loss_stride": 2,
        },
    }


def test_a_light_student_learns_them_and_is_measured_on_labels_of_other_classes(
    town: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = student(tmp_path)
    path = tmp_path / "light.yaml"
    path.write_text(yaml.safe_dump(config))
    common = ["--config", str(path), "--data", str(town), "--weights", str(tmp_path / "weights")]
    common += ["--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["train", "segmentation", *common, "--labels", str(labelled)]) == 0
    report = json.loads((tmp_path / "out" / "segmentation" / "report.json").read_text())
    assert list(report["test"]["IoU"]) == ["sky", "road", "car"]
    assert main(["train", "export", *common, "--models", str(tmp_path / "models")]) == 0
    light = load_segmentation(
        str(tmp_path / "models" / "light.yaml"), str(tmp_path / "weights"), "cpu"
    )
    agreed = asked = 0
    hits, union = np.zeros(256), np.zeros(256)
    to_common = np.full(256, IGNORED)
    for theirs, ours in (("sky", "sky"), ("road", "road"), ("bus", "car")):
        to_common[CLASS_NAMES.index(theirs)] = CLASS_NAMES.index(ours)
    for name in (f"south/t{time}.png" for time in range(3)):
        image = cv2.imread(str(town / "images" / name))[..., ::-1]
        found = light.labels([image])[0]
        given = read_map(labelled / "labels" / "images" / name)
        given = cv2.resize(given, (96, 64), interpolation=cv2.INTER_NEAREST)
        agreed += (found == given)[given != IGNORED].sum()
        asked += (given != IGNORED).sum()
        truth = to_common[read_map(town / "truth" / name)].astype(np.uint8)
        truth = cv2.resize(truth, (96, 64), interpolation=cv2.INTER_NEAREST)
        for label_ in range(len(CLASS_NAMES)):
            a, b = (m[truth != IGNORED] == label_ for m in (found, truth))
            hits[label_] += (a & b).sum()
            union[label_] += (a | b).sum()
    assert report["validation"]["pixel_accuracy"] == pytest.approx(agreed / asked, abs=0.01)
    assert agreed / asked > 0.6
    for name in ("sky", "road"):
        row = CLASS_NAMES.index(name)
        assert report["test"]["IoU"][name] == pytest.approx(hits[row] / union[row], abs=0.01)
    counted = [v for v in report["test"]["IoU"].values() if v is not None]
    assert report["test"]["mIoU"] == pytest.approx(np.mean(counted))

    capsys.readouterr()
    common = ["train", "segmentation", *common]
    assert main(common) == 1
    assert "label maps are missing" in capsys.readouterr().err
    config["labels"]["validation"][0]["only"] = ["north", "south"]
    path.write_text(yaml.safe_dump(config))
    assert main([*common, "--labels", str(labelled)]) == 1
    assert "3 images" in (told := capsys.readouterr().err)
    assert "both in labels.train and in labels.validation" in told
    (tmp_path / "town.classes.yaml").write_text("classes: [sky, road]\n")
    assert main([*common, "--labels", str(labelled)]) == 1
    assert "labels of other classes" in capsys.readouterr().err
