"""What a model card must obey beyond types: which keys belong together, and shorthand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from saane_ros.weights import hub
from saane_ros.weights.cards import (
    LAYER4,
    TIMM,
    TRUNK_CHANNELS,
    Appearance,
    ModelCard,
    Semantics,
    WeightSource,
)
from saane_ros.weights.class_lists import CLASS_LISTS, DYNAMIC_CLASSES
from saane_ros.weights.layer_card import ADAPTED, ON_VIT, layer_problems
from saane_ros.weights.layer_card import NEEDED as LAYERS

NEEDED = {
    "light_pspnet": ("channels", "classes", "weights"),
    "unet": ("channels", "classes", "weights"),
    "pspnet": ("variant", "classes", "weights"),
    "mosaic": ("classes", "weights"),
    "espnetv2": ("classes", "weights"),
    "huggingface": ("checkpoint",),
}

HUGGING_FACE = ("checkpoint", "sha256", "megabytes")
FOREIGN = {
    "light_pspnet": ("variant", *HUGGING_FACE, "short_side"),
    "unet": ("variant", *HUGGING_FACE, "short_side", "squeeze"),
    "pspnet": (*HUGGING_FACE, "channels", "squeeze"),
    "mosaic": ("variant", *HUGGING_FACE, "channels", "squeeze"),
    "espnetv2": ("variant", *HUGGING_FACE, "channels", "squeeze"),
    "huggingface": ("variant", "channels", "weights", "squeeze"),
}

ON_TRUNK = ("light_pspnet", "unet")
"""Semantic networks that take the trunk's features; the others take images."""
APPEARANCE_ONLY = (
    *("app", "app_att", "netvlad", "sralnet", "dense_vlad", "amosnet", "apanet"),
    *LAYERS,
)
PATCH = re.compile(rf"{TIMM}vit_\w+_patch(\d+)_\w*dinov[23]")
"""timm's names of vision transformers whose patch tokens serve as a grid."""
VLAD_SYSTEMS = ("netvlad", "sralnet", "dense_vlad")


def expand_shorthand(values: Any, problems: list[str]) -> Any:
    """`semantics.classes: ade20k` becomes its list, `semantics.weights: key` a list of one."""
    semantics = values.get("semantics") if isinstance(values, dict) else None
    if not isinstance(semantics, dict):
        return values
    semantics = dict(semantics)
    if isinstance(semantics.get("weights"), str):
        semantics["weights"] = [semantics["weights"]]
    name = semantics.get("classes")
    if isinstance(name, str):
        if name not in CLASS_LISTS:
            problems.append(
                f"semantics.classes is {name!r} instead of a list or one of "
                f"{', '.join(CLASS_LISTS)}"
            )
        semantics["classes"] = list(CLASS_LISTS.get(name, ()))
        semantics.setdefault("dynamic", list(DYNAMIC_CLASSES.get(name, ())))
    return {**values, "semantics": semantics}


def rule_problems(card: ModelCard) -> Iterator[str]:
    """Everything that is wrong with a card whose types are right."""
    yield from _positive(card)
    if card.head.channels % max(card.head.reduction, 1):
        yield f"head.channels {card.head.channels} is no multiple of head.reduction"
    if card.semantics is None and card.system not in APPEARANCE_ONLY:
        yield f"system {card.system} needs semantics"
    if card.semantics is not None and card.system in APPEARANCE_ONLY and card.filter is None:
        yield f"system {card.system} has no semantics without a filter"
    yield from _trunk_problems(card)
    yield from _aggregation_problems(card)
    yield from layer_problems(card.system, card.layer)
    yield from _vit_problems(card)
    yield from _filter_problems(card)
    if card.semantics is not None:
        yield from _semantics_problems(card.semantics)
    yield from _reference_problems(card)
    for key, source in card.weights.items():
        yield from source_problems(f"weights.{key}", source)


def _trunk_problems(card: ModelCard) -> Iterator[str]:
    part = card.appearance
    takes_images = card.semantics is not None and card.semantics.network not in ON_TRUNK
    if (part is None) != (card.system == "segmentation" and takes_images):
        needs = "needs" if part is None else "with a network that takes images has no"
        yield f"system {card.system} {needs} appearance"
    if part is None:
        return
    yield from _architecture_problems("appearance", part)
    for number, other in enumerate(card.beside):
        yield from _architecture_problems(f"beside.{number}", other)
        if other.trunk == "dense_sift" or not other.weights:
            yield f"beside.{number} needs a trunk with weights"
    if card.beside and part.trunk == "dense_sift":
        yield "beside does not apply to dense_sift"
    if (part.trunk == "dense_sift") != (card.system == "dense_vlad"):
        yield f"appearance.trunk {part.trunk} does not go with system {card.system}"
    if (part.trunk == "dense_sift") != (not part.weights):
        yield f"appearance.weights is {part.weights!r} with trunk {part.trunk}"


def _architecture_problems(where: str, part: Appearance) -> Iterator[str]:
    timm = part.trunk.startswith(TIMM)
    if not timm and part.trunk not in TRUNK_CHANNELS:
        known = ", ".join(TRUNK_CHANNELS)
        yield f"{where}.trunk is {part.trunk!r} instead of one of {known} or {TIMM}<name>"
    if part.trunk != "resnet18" and part.width != 64:
        yield f"{where}.width is for resnet18 only"
    if part.trunk != "resnet50" and part.stride_on != "conv2":
        yield f"{where}.stride_on is for resnet50 only"
    if (
        part.tap
        and not timm
        and not (part.trunk in ("resnet18", "resnet50") and part.tap == LAYER4)
    ):
        yield f"{where}.tap is for trunks of timm, or {LAYER4} of a resnet"


def _vit_problems(card: ModelCard) -> Iterator[str]:
    """Vision transformers alone have patches to fill, adapters and a class token."""
    part, size = card.appearance, card.preprocessing
    if part is None:
        return
    match = PATCH.match(part.trunk)
    patch = int(match[1]) if match else 1
    for side in ("height", "width"):
        pixels = getattr(size, side)
        if pixels % patch:
            near = max(1, round(pixels / patch)) * patch
            yield f"preprocessing.{side} is {pixels} instead of a multiple of {patch} as {near}"
    if card.system in ON_VIT and not match:
        yield f"system {card.system} needs a trunk {TIMM}vit_..._dinov2 or _dinov3"
    if card.system in LAYERS and (card.beside or not card.descriptor_size):
        yield f"system {card.system} needs one trunk whose channels are known, or layer.output"
    wanted = card.system if card.system in ADAPTED else ""
    if part.adapters != wanted:
        yield f"appearance.adapters is {part.adapters!r} with system {card.system}"


def _aggregation_problems(card: ModelCard) -> Iterator[str]:
    part = card.aggregation
    if (part is None) == (card.system in VLAD_SYSTEMS):
        yield f"system {card.system} {'needs' if part is None else 'has no'} aggregation"
    if part is None:
        return
    if (card.beside or not card.trunk_channels) and not (part.project or part.whitening):
        yield "aggregation over this trunk needs project or whitening"
    if part.words < 1 or min(part.shadows, part.project, part.whitening) < 0:
        yield "aggregation has a negative size or no words"
    if (part.shadows > 0) != (card.system == "sralnet"):
        yield f"aggregation.shadows is {part.shadows} with system {card.system}"
    if part.residual_gate and card.system != "sralnet":
        yield "aggregation.residual_gate is for sralnet only"
    if part.layout == "centroids":
        if card.system != "sralnet" or part.whitening or part.project:
            yield "aggregation.layout centroids is for sralnet without project and whitening"
    elif part.layout != "own" and (
        card.system != "netvlad" or card.appearance is None or card.appearance.trunk != "vgg16"
    ):
        yield f"aggregation.layout {part.layout} is for netvlad with trunk vgg16"
    if card.system == "dense_vlad" and part.project:
        yield "aggregation.project does not apply to dense_vlad"


def _filter_problems(card: ModelCard) -> Iterator[str]:
    part, semantics = card.filter, card.semantics
    if part is None:
        return
    if semantics is None or card.system in ("segmentation", "dense_vlad", *LAYERS):
        yield f"filter needs semantics and does not apply to {card.system}"
        return
    if semantics.classes and not (part.dynamic or semantics.dynamic):
        yield "filter.dynamic and semantics.dynamic are empty"
    strangers = [name for name in part.dynamic if name not in semantics.classes]
    if strangers and semantics.classes:
        known = ", ".join(semantics.classes)
        yield f"filter.dynamic names {', '.join(strangers)} and semantics.classes are {known}"
    if part.weights is not None and part.mode != "learned":
        yield f"filter.weights does not apply to mode {part.mode}"


def _positive(card: ModelCard) -> Iterator[str]:
    values: dict[str, Any] = {
        "appearance.width": card.appearance.width if card.appearance else 1,
        "head.channels": card.head.channels,
        "head.reduction": card.head.reduction,
        "head.levels": min(card.head.levels, default=0),
        "preprocessing.height": card.preprocessing.height,
        "preprocessing.width": card.preprocessing.width,
        "preprocessing.std": min(card.preprocessing.std),
    }
    if card.semantics is not None:
        values["semantics.channels"] = card.semantics.channels or 1
        values["semantics.squeeze"] = card.semantics.squeeze or 1
        values["semantics.short_side"] = card.semantics.short_side or 1
    for where, value in values.items():
        if not value > 0:
            yield f"{where} must be greater than 0"


def _semantics_problems(semantics: Semantics) -> Iterator[str]:
    network = semantics.network
    for key in NEEDED[network]:
        if not getattr(semantics, key):
            yield f"missing key semantics.{key}, which {network} needs"
    for key in FOREIGN[network]:
        if getattr(semantics, key):
            yield f"semantics.{key} does not apply to {network}"
    if semantics.checkpoint and network == "huggingface":
        yield from _checkpoint_problems(semantics.checkpoint, semantics.sha256)
    if len(set(semantics.classes)) != len(semantics.classes):
        yield "semantics.classes names a class twice"
    strangers = [name for name in semantics.dynamic if name not in semantics.classes]
    if strangers and semantics.classes:
        yield f"semantics.dynamic names {', '.join(strangers)}, not in semantics.classes"


def _checkpoint_problems(checkpoint: str, sha256: str) -> Iterator[str]:
    if hub.is_folder(checkpoint):
        if sha256:
            yield "semantics.sha256 does not apply to a folder"
        return
    if not hub.ID.fullmatch(checkpoint):
        yield (
            f"semantics.checkpoint is {checkpoint[:60]!r} instead of <owner>/<name>@<commit> or "
            "the path of a folder"
        )
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        yield "semantics.sha256 is not 64 lower-case hexadecimal digits"


def _reference_problems(card: ModelCard) -> Iterator[str]:
    used = list(card.trunk_weights)
    used += list(card.semantics.weights) if card.semantics else []
    used += [card.head.weights] if card.head.weights is not None else []
    used += [card.filter.weights] if card.filter and card.filter.weights is not None else []
    for key in used:
        if key not in card.weights:
            yield f"weights has no entry {key!r}"
    for key in card.weights:
        if key not in used:
            yield f"weights.{key} is used by nothing"


def source_problems(where: str, source: WeightSource) -> Iterator[str]:
    """What is wrong with a weight file of any card."""
    for name, digest in source.alternatives.items():
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            yield f"{where}.alternatives.{name} is not 64 lower-case hexadecimal digits"
    if source.torchvision:
        if source.file or source.url or source.sha256:
            yield f"{where} is torchvision's: file, url and sha256 come from torchvision"
        return
    if source.package and not re.fullmatch(r"[A-Za-z_]\w*", source.package):
        yield f"{where}.package is {source.package!r} instead of the name of a Python package"
    if not source.file:
        yield f"{where} needs file or torchvision"
    elif source.file != re.sub(r"[/\\\0]", "", source.file) or source.file.startswith("."):
        yield f"{where}.file is {source.file!r} instead of a plain file name"
    for key, address in (("url", source.url), ("page", source.page)):
        if address and not re.match(r"https?://[^/\s]+/\S+$", address):
            yield f"{where}.{key} is {address!r} instead of an http or https address"
    if source.sha256 and not re.fullmatch(r"[0-9a-f]{64}", source.sha256):
        yield f"{where}.sha256 is not 64 lower-case hexadecimal digits"
    if not source.sha256 and not source.url and not source.page:
        yield f"missing key {where}.sha256, which a file without url needs"
