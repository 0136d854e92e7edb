"""A card for a trunk of timm or a segmentation of Hugging Face, by what the library knows of it."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from saane_ros.errors import SaaneError
from saane_ros.model.huggingface import HuggingFaceSegmenter, load_segmenter
from saane_ros.model.timm_trunk import PREFIX, TimmTrunk
from saane_ros.model.vit_trunk import VitTrunk, is_vit

HUB = "https://huggingface.co/"
HUB_PREFIX = "hf-hub:"
UNKNOWN_LICENCE = "unknown, ask its authors"
SIDE, STRIDE = 224, 16
"""Most pixels a side for a vision transformer, which patches of 14 and of 16 fill; all other sizes
are timm's, in multiples of the stride."""
SEGMENTATION_SIDE = 512
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
GATED, NOT_FOUND = "GatedRepoError", "RepositoryNotFoundError"


def new_card(hub_name: str, semantics: str = "") -> dict[str, Any]:
    """The keys of a card, its name among them.

    hub_name: `timm/<architecture>[.<tag>]`, with `hf-hub:` before it or not, or else the hub id or
        folder of a Hugging Face segmentation.
    semantics: such a segmentation beside a trunk of timm, which makes it SAANE; its head and that
        of a trunk alone are untrained.
    Raises SaaneError for a name that the library does not know, a network that cannot serve, one
    without published weights, and a gated one.
    """
    name = hub_name.removeprefix(HUB_PREFIX)
    if not name.startswith(PREFIX):
        if semantics:
            raise SaaneError(f"--semantics goes with a trunk {PREFIX}<name>, and not {hub_name}.")
        return _segmentation(name)
    card = _trunk(name.removeprefix(PREFIX))
    if semantics:
        size, mean, std = (
            card["preprocessing"]["height"],
            *(card["preprocessing"][k] for k in _KEYS),
        )
        segmenter = _loaded(semantics, mean, std)
        title = _plain(semantics.rstrip("/").rsplit("/", 1)[-1])
        card |= {
            "name": f"saane-{card['name']}-{title}",
            "description": f"SAANE on {name} at {size} pixels with {title}, its head untrained.",
            "system": "saane",
            "semantics": {
                "network": "huggingface",
                "checkpoint": semantics,
                "classes": list(segmenter.class_names),
            },
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
    address, file = config.url, str(config.url or "").rsplit("/", 1)[-1]
    if config.hf_hub_id:
        address = f"{HUB}{config.hf_hub_id}/resolve/main/model.safetensors"
        file = f"{title}.safetensors"
    if not address:
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
        "weights": {"trunk": {"file": file, "url": address}},
    }


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
    segmenter = _loaded(checkpoint, *IMAGENET)
    title = checkpoint.rstrip("/").rsplit("/", 1)[-1]
    height, width = _input_size(checkpoint)
    return {
        "name": _plain(title),
        "description": f"{title} of Hugging Face, a segmentation for a semantic stream.",
        "system": "segmentation",
        "semantics": {
            "network": "huggingface",
            "checkpoint": checkpoint,
            "classes": list(segmenter.class_names),
        },
        "preprocessing": {"height": height, "width": width},
        "licence": _licence(checkpoint),
        "weights": {},
    }


def _loaded(checkpoint: str, mean: Any, std: Any) -> HuggingFaceSegmenter:
    """The network, which shows that the name, the weights and the kind of network are right."""
    try:
        return load_segmenter(checkpoint, mean, std)
    except SaaneError as error:
        causes = _causes(error)
        if GATED in causes:
            raise SaaneError(
                f"Hugging Face model {checkpoint} is gated: accept its terms at {HUB}{checkpoint}, "
                "log in with `hf auth login`, and give the same command again."
            ) from error
        if NOT_FOUND in causes:
            raise SaaneError(
                f"Hugging Face has no model {checkpoint!r}, or it is private: correct the name, or "
                f"give {PREFIX}<name> for a trunk of timm, or the path of a folder."
            ) from error
        raise


def _causes(error: BaseException | None) -> list[str]:
    """Names of the kinds of errors that led to this one."""
    names = []
    while error is not None:
        names += [kind.__name__ for kind in type(error).__mro__]
        error = error.__cause__ or error.__context__
    # A gated repository is to the hub a kind of one that is not found.
    return [GATED] if GATED in names else names


def _input_size(checkpoint: str) -> tuple[int, int]:
    """Height and width that the checkpoint's image processor asks for."""
    from transformers.image_processing_utils import BaseImageProcessor

    size: Any = None
    with suppress(OSError):
        values, _ = BaseImageProcessor.get_image_processor_dict(checkpoint)
        size = values.get("size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict):
        side = size.get("shortest_edge") or SEGMENTATION_SIDE
        return int(size.get("height") or side), int(size.get("width") or side)
    return SEGMENTATION_SIDE, SEGMENTATION_SIDE


def _licence(checkpoint: str) -> str:
    """As the hub tells it; unknown of a folder and where the hub cannot be asked."""
    if Path(checkpoint).is_dir():
        return UNKNOWN_LICENCE
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError

    with suppress(HfHubHTTPError, OSError, ValueError):
        told = model_info(checkpoint).card_data
        return str(told.license) if told is not None and told.license else UNKNOWN_LICENCE
    return UNKNOWN_LICENCE


def _plain(name: str) -> str:
    """A name for a card and its file."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
