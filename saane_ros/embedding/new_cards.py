"""A card for a trunk of timm or a segmentation of Hugging Face, by what the library knows of it."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from saane_ros.errors import SaaneError
from saane_ros.model.huggingface import HuggingFaceSegmenter, image_processor, load_segmenter
from saane_ros.model.timm_trunk import PREFIX, TimmTrunk
from saane_ros.model.vit_trunk import VitTrunk, is_vit
from saane_ros.weights import hub
from saane_ros.weights.cards import Semantics
from saane_ros.weights.store import download_folder, find_checkpoint

HUB_PREFIX = "hf-hub:"
UNKNOWN_LICENCE = "unknown, ask its authors"
SIDE, STRIDE = 224, 16
"""Most pixels a side for a vision transformer, which patches of 14 and of 16 fill; all other sizes
are timm's, in multiples of the stride."""
SEGMENTATION_SIDE = 512
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
WEIGHTS = (hub.MODEL, "pytorch_model.bin")
"""Names of a network's weights on the hub, the better first."""
_DINOV2 = re.compile(r"facebook/dinov2-(with-registers-)?(small|base|large|giant)\b")
_DINOV3 = re.compile(r"facebook/dinov3-(vit|convnext-)(\w+?)(?:16(plus)?)?-pretrain-(\w+)")
_DINOV3_SIZES = {"s": "small", "b": "base", "l": "large", "h": "huge", "7b": "7b"}


def new_card(hub_name: str, semantics: str = "") -> dict[str, Any]:
    """The keys of a card, its name among them, pinned to a commit where the hub can be asked.

    hub_name: `timm/<architecture>[.<tag>]`, with `hf-hub:` before it or not, or else a Hugging Face
        segmentation, <owner>/<name>[@<commit>] or the path of its folder.
    semantics: such a segmentation beside a trunk of timm, which makes it SAANE; its head and that
        of a trunk alone are untrained.
    Raises SaaneError for a name that the library does not know, a network that cannot serve, one
    without published weights, and a gated one.
    """
    name = hub_name.removeprefix(HUB_PREFIX)
    if not name.startswith(PREFIX):
        if semantics:
            raise SaaneError(f"--semantics goes with a trunk {PREFIX}<name>, and not {hub_name}.")
        if not (hub.is_folder(name) or hub.ID.fullmatch(name)):
            raise SaaneError(
                f"There is no model {hub_name!r} to add: give {PREFIX}<name> for a trunk of timm, "
                "<owner>/<name> for a segmentation of Hugging Face, or the path of its folder."
            )
        return _segmentation(name)
    card = _trunk(name.removeprefix(PREFIX))
    if semantics:
        size, mean, std = (
            card["preprocessing"]["height"],
            *(card["preprocessing"][k] for k in _KEYS),
        )
        found = _Checkpoint(semantics)
        segmenter = found.loaded(mean, std)
        card |= {
            "name": f"saane-{card['name']}-{_plain(found.title)}",
            "description": f"SAANE on {name} at {size} pixels with {found.title}, head untrained.",
            "system": "saane",
            "semantics": found.semantics(segmenter),
        }
    return card


_KEYS = ("mean", "std")


def _trunk(name: str) -> dict[str, Any]:
    config = _timm_config(name)
    architecture, tag = str(config.architecture), str(config.tag or "")
    vit = is_vit(architecture)
    trunk = VitTrunk(architecture) if vit else TimmTrunk(architecture)
    step = trunk.patch if isinstance(trunk, VitTrunk) else STRIDE
    height, width = (
        max(1, round((min(side, SIDE) if vit else side) / step)) * step
        for side in config.input_size[1:]
    )
    title = f"{architecture}.{tag}" if tag else architecture
    source: dict[str, Any] = {"file": str(config.url).rsplit("/", 1)[-1], "url": config.url}
    if config.hf_hub_id:
        source = _hub_source(config.hf_hub_id, config.hf_hub_filename, title)
    if not source["url"]:
        raise SaaneError(
            f"timm publishes no weights of {title}: name one of timm.list_models(pretrained=True)."
        )
    return {
        "name": _plain(title),
        "description": f"{title} of timm, to start a head of your own from.",
        "system": "app",
        "appearance": {"trunk": f"{PREFIX}{architecture}", "weights": "trunk"},
        "preprocessing": {
            "height": height,
            "width": width,
            "mean": list(config.mean),
            "std": list(config.std),
        },
        "licence": config.license or UNKNOWN_LICENCE,
        "trained_on": f"what timm calls {tag}, the trunk alone" if tag else "",
        "weights": {"trunk": source},
    }


def _hub_source(name: str, file: str | None, title: str) -> dict[str, Any]:
    """The weights of a repository of the hub, at the commit of today where the hub can be asked.

    file: its name there where timm says it; else the first of WEIGHTS that is there.
    """
    told = hub.repository(name)
    wanted = [file] if file else list(WEIGHTS)
    if told is not None:
        wanted = [one for one in wanted if one in told.files]
    if not wanted:
        raise SaaneError(
            f"{name} of Hugging Face has none of {', '.join([file] if file else WEIGHTS)}: its "
            "weights are of another kind, so name another tag of the model."
        )
    chosen = wanted[0]
    source: dict[str, Any] = {
        "file": title + Path(chosen).suffix,
        "url": hub.address(name, told.commit if told else hub.MAIN, chosen),
    }
    return source | (_known(told.files[chosen]) if told else {})


def _known(file: hub.HubFile) -> dict[str, Any]:
    """Keys of a card for what the hub tells of a file."""
    keys = {"sha256": file.sha256, "megabytes": file.megabytes}
    return {key: value for key, value in keys.items() if value}


def _timm_config(name: str) -> Any:
    """timm's pretrained_cfg of an architecture or of one tag of it."""
    import timm

    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        raise SaaneError(
            f"timm has no model {architecture!r}.{hint} See timm.list_models() for its names."
        )
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "none"
        raise SaaneError(
            f"timm has no weights {name!r}: those of that model are {tags}."
        ) from error
    if config is None:
        raise SaaneError(
            f"timm publishes no weights of {name}: name one of timm.list_models(pretrained=True)."
        )
    return config


def _segmentation(checkpoint: str) -> dict[str, Any]:
    found = _Checkpoint(checkpoint)
    segmenter = found.loaded(*IMAGENET)
    height, width = _input_size(image_processor(found.folder))
    return {
        "name": _plain(found.title),
        "description": f"{found.title} of Hugging Face, a segmentation for a semantic stream.",
        "system": "segmentation",
        "semantics": found.semantics(segmenter),
        "preprocessing": {"height": height, "width": width},
        "licence": found.licence or UNKNOWN_LICENCE,
        "weights": {},
    }


class _Checkpoint:
    """A Hugging Face segmentation in a folder of this machine or on the hub, by its name there.

    title: its name without owner and commit.  licence: as the hub tells it, empty of a folder and
    where the hub cannot be asked.
    """

    def __init__(self, name: str) -> None:
        self.name, self.licence = name, ""
        self.known: dict[str, Any] = {}
        if not hub.is_folder(name):
            _refuse_trunk(name)
            self._ask(*hub.split_id(name))
        self.title = self.name.rstrip("/").rsplit("/", 1)[-1].split("@")[0]
        keys = Semantics(network="huggingface", checkpoint=self.name, **self.known)
        self.folder = find_checkpoint(keys, [download_folder()])

    def _ask(self, name: str, revision: str) -> None:
        """Pin the name to its commit, where the hub can be asked."""
        told = hub.repository(name, revision)
        if told is None:
            return
        if hub.MODEL not in told.files:
            raise SaaneError(
                f"{name} of Hugging Face has no {hub.MODEL}, and pickled or divided weights are "
                "not loaded: write it with save_pretrained and give the path of that folder."
            )
        self.name, self.licence = f"{name}@{told.commit}", told.licence
        self.known = _known(told.files[hub.MODEL])

    def loaded(self, mean: Any, std: Any) -> HuggingFaceSegmenter:
        """The network, which shows that it can serve."""
        return load_segmenter(self.folder, mean, std)

    def semantics(self, segmenter: HuggingFaceSegmenter) -> dict[str, Any]:
        """That section of a card."""
        return {
            "network": "huggingface",
            "checkpoint": self.name,
            **self.known,
            "classes": list(segmenter.class_names),
        }


def _refuse_trunk(name: str) -> None:
    """SaaneError for DINOv2 and DINOv3 of transformers, which says what timm calls them."""
    two, three = _DINOV2.match(name), _DINOV3.match(name)
    if two:
        timm_name = f"vit_{two[2]}_patch14_{'reg4_' if two[1] else ''}dinov2.lvd142m"
    elif three and three[1] == "vit" and three[2] in _DINOV3_SIZES:
        plus = "_plus" if three[3] else ""
        timm_name = f"vit_{_DINOV3_SIZES[three[2]]}{plus}_patch16_dinov3.{three[4]}"
    elif three:
        timm_name = f"convnext_{three[2]}.dinov3_{three[4]}"
    else:
        return
    raise SaaneError(
        f"{name} is a trunk and no segmentation, and trunks are timm's: give {PREFIX}{timm_name}, "
        "which has the same weights."
    )


def _input_size(processor: dict[str, Any]) -> tuple[int, int]:
    """Height and width that the checkpoint's image processor asks for."""
    size = processor.get("size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict):
        side = size.get("shortest_edge") or SEGMENTATION_SIDE
        return int(size.get("height") or side), int(size.get("width") or side)
    return SEGMENTATION_SIDE, SEGMENTATION_SIDE


def _plain(name: str) -> str:
    """A name for a card and its file."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
