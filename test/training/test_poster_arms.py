"""The poster's arms as they ship, small: NetVLAD, SRALNet, and SRALNet with either filter.

Each shipped configuration is cut down to tiny images, words and networks, and goes through every
stage: vocabulary, weak supervision, labels by Mask2Former, the U-Net that learns them, export,
loading and embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from hugging_face_files import CLASSES, save_mask2former
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from saane_ros.cli import main
from saane_ros.data.images.labelled import read_classes
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.files import sha256_of
from saane_ros.model.appearance import ResNetTrunk, Trunk
from saane_ros.model.huggingface import load_segmenter
from saane_ros.model.vgg import VggTrunk
from saane_ros.training.config import read_training_config
from saane_ros.training.export import card_in_training
from saane_ros.types import Rgb
from saane_ros.weights.card_files import load_card
from saane_ros.weights.class_lists import CLASS_LISTS, DYNAMIC_CLASSES

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "config" / "train"
TRUNKS = ("vgg16", "resnet50")
HEIGHT, WIDTH = 64, 96
WORDS, SHADOWS, PROJECT = 4, 2, 16
DYNAMIC = ["car", "sky", "person"]
ROAD, CAR, SKY, TREE = (CLASSES.index(name) for name in ("road", "car", "sky", "tree"))


MAGENTA, ORANGE = (230, 20, 220), (250, 110, 10)


def street(seed: int, vehicle: tuple[int, int, int] | None = None) -> tuple[Rgb, np.ndarray]:
    """Sky over trees that tell the place over a road, with a car of a colour; and the labels.

    Everything ends where cells of the trunks' grid do, 16 pixels wide; the car a bit before, as a
    ResNet's first pooling sees two pixels beyond its cell.
    """
    random = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    image[:16], labels[:16] = (120, 170, 250), SKY
    leaves = random.integers(0, 120, (4, 12, 3)) * np.array([0.6, 1.6, 0.4])
    trees = cv2.resize(leaves.astype(np.uint8), (WIDTH, 32), interpolation=cv2.INTER_NEAREST)
    image[16:48], labels[16:48] = trees, TREE
    image[48:], labels[48:] = 100, ROAD
    image = (image * random.uniform(0.8, 1.0)).astype(np.uint8)
    if vehicle is not None:
        left = 16 * int(random.integers(0, WIDTH // 16 - 1))
        image[32:, left : left + 28] = vehicle
        image[36:44, left + 6 : left + 26] = (250, 240, 40)
        labels[32:, left : left + 28] = CAR
    return image, labels


def coloured(number: int) -> tuple[int, int, int] | None:
    return (None, MAGENTA, ORANGE)[number % 3]


def write_images(folder: Path, seeds: range) -> None:
    """Streets four metres apart, two of three with a car, and their poses."""
    folder.mkdir(parents=True)
    rows = ["name,x,y"]
    for index, seed in enumerate(seeds):
        image = street(seed, coloured(index))[0]
        cv2.imwrite(str(folder / f"{index:03d}.png"), image[..., ::-1])
        rows.append(f"{index:03d},{4.0 * index},1.0")
    (folder / "poses.csv").write_text("\n".join(rows))


def write_trunk(name: str, path: Path) -> None:
    """Random weights that neither blow up nor fade (He et al. 2015).

    They hardly see beyond their own cell: on so small an image a car would be in all of them.
    """
    torch.manual_seed(0)
    trunk: Trunk = VggTrunk() if name == "vgg16" else ResNetTrunk(name)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            with torch.no_grad():
                middle = module.weight.shape[-1] // 2
                own = module.weight[..., middle, middle] * module.weight.shape[-1]
                module.weight.zero_()[..., middle, middle] = own
    save_file(trunk.state_dict(), path)


def write_centroids(folder: Path) -> np.ndarray:
    """SRALNet's centroids (K, 1 + S, D) as a file: cells of trees and road, and of sky."""
    h5py = pytest.importorskip("h5py", reason="needs the extra sralnet")
    trunk = VggTrunk()
    trunk.load_state_dict(load_file(folder / "trunk.safetensors"))
    image, labels = street(80)
    with torch.no_grad():
        pixels = Preprocessing(HEIGHT, WIDTH)([image], torch.device("cpu"))
        features = functional.normalize(trunk(pixels).stride16[0].flatten(1), dim=0).numpy()
    sky = labels[8::16, 8::16].ravel() == SKY
    random = np.random.default_rng(0)
    static = random.choice(np.flatnonzero(~sky), WORDS, replace=False)
    shadows = [random.choice(np.flatnonzero(sky), SHADOWS, replace=False) for _ in static]
    cells = np.column_stack([static, np.array(shadows)])
    centroids = features[:, cells].transpose(1, 2, 0)
    with h5py.File(folder / "sral_centroids.h5", "w") as file:
        file["centroids"] = np.ascontiguousarray(centroids, np.float32)
    return centroids


@pytest.fixture(scope="module")
def mask2former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny one that has learned the streets of seeds 50 to 57, by pixels instead of by masks."""
    folder = tmp_path_factory.mktemp("mask2former")
    save_mask2former(folder)
    preprocessing = Preprocessing(HEIGHT, WIDTH)
    pairs = [street(seed, coloured(seed)) for seed in range(50, 58)]
    images = preprocessing([image for image, _ in pairs], torch.device("cpu"))
    labels = torch.from_numpy(np.stack([labels for _, labels in pairs])).long()
    for seed in range(8):
        segmenter = load_segmenter(folder, preprocessing.mean, preprocessing.std)
        if learned(segmenter, images, labels, seed):
            break
    segmenter.model.save_pretrained(folder)
    return folder


def learned(segmenter: nn.Module, images: torch.Tensor, labels: torch.Tensor, seed: int) -> bool:
    """Whether so small a network learns the labels from this seed; from some it stays half blind.

    Rare classes weigh more, and queries differ from the start.
    """
    weights = torch.bincount(labels.flatten(), minlength=len(CLASSES)).clamp_min(1) ** -0.5
    torch.manual_seed(seed)
    for name, values in segmenter.named_parameters():
        if "queries" in name:
            values.data.add_(torch.randn_like(values))
    optimizer = torch.optim.Adam(segmenter.parameters(), lr=0.003)
    for _ in range(120):
        logits = functional.interpolate(segmenter(images).logits, (HEIGHT, WIDTH), mode="bilinear")
        loss = functional.cross_entropy(logits, labels, weights)
        if loss < 0.1:
            return True
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(segmenter.parameters(), 0.05)
        optimizer.step()
    return False


class Arms:
    """A folder in which the four arms of one trunk are trained."""

    def __init__(self, folder: Path, trunk: str, mask2former: Path) -> None:
        self.folder, self.checkpoint = folder, mask2former
        write_trunk(trunk, folder / "trunk.safetensors")
        write_images(folder / "drive", range(9))
        write_images(folder / "both" / "ref", range(20, 24))
        write_images(folder / "both" / "query", range(20, 24))
        for split, seeds in (("train", range(30, 38)), ("val", range(40, 42))):
            write_images(folder / "images" / split, seeds)
        classes = {"classes": list(CLASSES), "dynamic": DYNAMIC}
        (folder / "streets.classes.yaml").write_text(yaml.safe_dump(classes))
        teacher = {
            "name": "teacher",
            "system": "segmentation",
            "semantics": {**self.mask2former(), "dynamic": ["sky"]},
            "preprocessing": {"height": HEIGHT, "width": WIDTH},
            "licence": "CC0-1.0",
            "weights": {},
        }
        (folder / "teacher.yaml").write_text(yaml.safe_dump(teacher))

    def given(self) -> dict[str, str]:
        file = self.folder / "trunk.safetensors"
        return {"file": file.name, "sha256": sha256_of(file)}

    def mask2former(self) -> dict[str, Any]:
        return {
            "network": "huggingface",
            "checkpoint": str(self.checkpoint),
            "classes": list(CLASSES),
            "dynamic": DYNAMIC,
        }

    def config(self, arm: str) -> Path:
        """The shipped configuration in small."""
        values = yaml.safe_load((CONFIGS / f"{arm}.yaml").read_text())
        model = values["model"]
        model["weights"]["trunk"] = self.given()
        model["preprocessing"] = {"height": HEIGHT, "width": WIDTH}
        sizes = {"words": WORDS, "shadows": SHADOWS, "project": PROJECT}
        model["aggregation"] = {k: v for k, v in sizes.items() if k in model["aggregation"]}
        if "unet" in arm:
            model["semantics"]["channels"] = 8
            values["labels"] = {
                "classes": "streets.classes.yaml",
                "train": [{"images": "images/train", "labels": "told/labels/images/train"}],
                "validation": [{"images": "images/val", "labels": "told/labels/images/val"}],
            }
            small = {"steps": 120, "batch": 4, "learning_rate": 0.01, "validate_every": 120}
            values["segmentation"] |= {**small, "bf16": False, "copies": 1}
        if "mask2former" in arm:
            model["semantics"] = self.mask2former()
        for source in ("places", "held_out"):
            if source in values:
                values[source] = [{"kind": "cameras", "folder": "both"}]
        if "vocabulary" in values:
            values["vocabulary"] |= {"images": 12, "per_image": 24, "candidates": 3}
            if "segmentation" in values["vocabulary"]:
                values["vocabulary"]["segmentation"] = str(self.folder / "teacher.yaml")
        values["weak"] |= {
            "sources": [{"kind": "drive", "folder": "drive"}],
            "validation": [{"kind": "dataset", "folder": str(self.folder / "both")}],
            "epochs": 1,
            "random_negatives": 2,
            "hard_negatives": 1,
        }
        path = self.folder / f"{arm}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    def train(self, stage: str, arm: str, out: str) -> None:
        common = ["--config", str(self.config(arm)), "--out", str(self.folder / "out" / out)]
        common += ["--data", str(self.folder), "--weights", str(self.folder), "--device", "cpu"]
        if stage == "export":
            common += ["--models", str(self.folder / "models")]
        assert main(["train", stage, *common]) == 0, (stage, arm)

    def label(self) -> None:
        """Mask2Former's labels of some images, as the shipped configurations ask for them."""
        command = ["train", "pseudo-labels", "--teacher", str(self.folder / "teacher.yaml")]
        command += ["--classes", str(self.folder / "streets.classes.yaml")]
        command += ["--data", str(self.folder), "--images", "images/train", "images/val"]
        command += ["--out", str(self.folder / "told"), "--weights", str(self.folder)]
        assert main([*command, "--device", "cpu"]) == 0

    def fine_tune(self, out: str) -> dict[str, torch.Tensor]:
        """Move the trunk that weak supervision left: so few images need not have changed it."""
        file = self.folder / "out" / out / "segmentation" / "trunk.safetensors"
        moved = {
            key: v * 1.01 if v.is_floating_point() else v for key, v in load_file(file).items()
        }
        save_file(moved, file)
        return moved

    def head(self, out: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / "out" / out / "embedding" / "head.safetensors")

    def load(self, name: str) -> NetworkEmbedder:
        card = self.folder / "models" / f"{name}.yaml"
        return load_embedder(str(card), str(self.folder), "cpu", "fp32")


@pytest.mark.parametrize("trunk", TRUNKS)
def test_every_arm_trains_ships_and_its_filter_forgets_which_car_stood_there(
    trunk: str, mask2former: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="the extra train is not installed")
    arms = Arms(tmp_path, trunk, mask2former)
    netvlad, sralnet = f"netvlad-{trunk}", f"sralnet-{trunk}"
    if trunk == "vgg16":
        published = write_centroids(tmp_path)
    for arm in (netvlad, sralnet):
        arms.train("vocabulary", arm, arm)
    with_words = arms.head(netvlad)["centroids"]
    torch.testing.assert_close(with_words, arms.head(sralnet)["centroids"])
    if trunk == "vgg16":
        np.testing.assert_allclose(with_words.numpy(), published[:, 0], atol=1e-6)
    unet = f"{sralnet}-unet"
    out = ["--out", str(tmp_path / "out" / sralnet), "--data", str(tmp_path), "--device", "cpu"]
    given = ["--config", str(arms.config(unet)), "--weights", str(tmp_path)]
    assert main(["train", "segmentation", *given, *out]) == 1
    assert "run `saane train weak` with the same --out first" in capsys.readouterr().err
    for arm in (netvlad, sralnet):
        arms.train("weak", arm, arm)
    fine_tuned = arms.fine_tune(sralnet)
    for arm in (netvlad, sralnet):
        arms.train("export", arm, arm)
    arms.label()
    arms.train("segmentation", unet, sralnet)
    for arm in (unet, f"{sralnet}-mask2former"):
        arms.train("export", arm, sralnet)

    names = [f"{sralnet}-pitts30k{end}" for end in ("", "-unet", "-mask2former")]
    cards = [load_card(tmp_path / "models" / f"{name}.yaml") for name in names]
    for role in ("trunk", "head"):
        assert len({card.weights[role].sha256 for card in cards}) == 1, role
    shipped = load_file(tmp_path / "models" / f"{names[0]}.trunk.safetensors")
    for key, values in shipped.items():
        assert torch.equal(values, fine_tuned[key].half()), key

    plain, *filtered = (arms.load(name) for name in names)
    descriptor = arms.load(f"{netvlad}-sralnet-words").embed([street(70)[0]])[0].descriptor
    assert descriptor.shape == (WORDS * (PROJECT if trunk == "resnet50" else 512),)
    assert np.linalg.norm(descriptor) == pytest.approx(1, abs=1e-4)
    without = moved(plain)
    for embedder in filtered:
        assert label_accuracy(embedder) > 0.9
        assert (moved(embedder) < 0.01 * without).all()


def moved(embedder: NetworkEmbedder) -> np.ndarray:
    """How far the descriptor of each of some streets moves when another car stands there."""
    far = []
    for seed in range(60, 66):
        one, other = embedder.embed([street(seed, car)[0] for car in (MAGENTA, ORANGE)])
        far.append(np.linalg.norm(one.descriptor - other.descriptor))
    return np.array(far)


def label_accuracy(embedder: NetworkEmbedder) -> float:
    shown = [street(seed, coloured(seed)) for seed in range(60, 66)]
    found = embedder.embed([image for image, _ in shown], labels=True)
    return float(
        np.mean(
            [(one.labels == labels).mean() for one, (_, labels) in zip(found, shown, strict=True)]
        )
    )


@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_shipped_arms_differ_in_their_filter_alone(trunk: str) -> None:
    """NetVLAD and SRALNet see the same images and words; filters share trunk, words, whitening."""
    arms = (f"sralnet-{trunk}", f"sralnet-{trunk}-unet", f"sralnet-{trunk}-mask2former")
    plain, unet, mask2former = (read_training_config(CONFIGS / f"{arm}.yaml") for arm in arms)
    netvlad = read_training_config(CONFIGS / f"netvlad-{trunk}.yaml")
    assert netvlad.places == plain.places
    assert netvlad.weak == plain.weak == unet.weak == mask2former.weak
    assert netvlad.vocabulary.centroids == plain.vocabulary.centroids
    assert netvlad.vocabulary.segmentation == plain.vocabulary.segmentation
    for config in (unet, mask2former):
        assert config.model["weights"] == plain.model["weights"]
        for part in ("system", "appearance", "head", "aggregation", "preprocessing"):
            assert config.model[part] == plain.model[part]
    card = card_in_training(mask2former.model, mask2former.path)
    assert card.semantics is not None
    assert card.semantics.checkpoint == "facebook/mask2former-swin-tiny-cityscapes-semantic"
    known = read_classes(CONFIGS / unet.labels.classes)
    assert known.classes == card.semantics.classes == CLASS_LISTS["cityscapes"]
    assert set(known.dynamic) == set(card.semantics.dynamic) == set(DYNAMIC_CLASSES["cityscapes"])
