"""Published networks behind `Extractor` and `Glue`, of transformers and kornia, by their tensors.

SuperPoint (DeTone et al. 2018), DISK (Tyszkiewicz et al. 2020), ALIKED (Zhao et al. 2023) and
LightGlue (Lindenberger et al. 2023). Of the libraries only the architectures are used: weights are
found, verified and read by the package, and fill every layer or are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from saane_ros.errors import SaaneError
from saane_ros.metric.learned_features import Extractor, Found, Glue

Tensors = Mapping[str, Tensor]
LUMA = (0.299, 0.587, 0.114)
DERIVED = {"confidence_thresholds", "dkd.hw_grid"}
"""Buffers that follow from the architecture, which published files lack."""
KORNIA_SIZE = 128
"""Values of a descriptor of DISK and of ALIKED-N(16)."""


class SuperPoint:
    """Of transformers; it looks at one channel, a grey image."""

    cell = 8

    def __init__(self, tensors: Tensors, device: torch.device) -> None:
        library = _transformers("superpoint")
        config = library.SuperPointConfig()
        kind = library.SuperPointForKeypointDetection
        self.module: Any = _loaded_by_transformers(kind, config, tensors).to(device)
        self.size = int(config.descriptor_decoder_dim)
        self._luma = torch.tensor(LUMA, device=device).view(1, 3, 1, 1)

    def found(self, pixels: Tensor) -> Found:
        """See `Extractor`."""
        grey = (pixels * self._luma).sum(dim=1, keepdim=True).expand_as(pixels)
        found = self.module(pixel_values=grey)
        there = found.mask[0].bool()
        height, width = pixels.shape[2:]
        # Keypoints are told as shares of the sides.
        sides = torch.tensor([width, height], device=pixels.device)
        return Found(
            found.keypoints[0][there] * sides, found.descriptors[0][there], found.scores[0][there]
        )


class Disk:
    """Of kornia."""

    cell, size = 16, KORNIA_SIZE

    def __init__(self, tensors: Tensors, device: torch.device) -> None:
        self.module = _filled(_kornia("disk").DISK(self.size), tensors, "disk").to(device)

    def found(self, pixels: Tensor) -> Found:
        """See `Extractor`."""
        found = self.module(pixels)[0]
        return Found(found.keypoints, found.descriptors, found.detection_scores)


class Aliked:
    """ALIKED-N(16) of kornia, which pads images itself."""

    cell, size = 32, KORNIA_SIZE

    def __init__(self, tensors: Tensors, device: torch.device) -> None:
        kornia = _kornia("aliked")
        if not hasattr(kornia, "ALIKED"):
            raise SaaneError(
                "The installed kornia has no ALIKED: pip install --upgrade kornia, or take disk."
            )
        self.module = _filled(kornia.ALIKED("aliked-n16"), tensors, "aliked").to(device)

    def found(self, pixels: Tensor) -> Found:
        """See `Extractor`."""
        found = self.module(pixels)[0]
        return Found(found.keypoints, found.descriptors, found.keypoint_scores)


class KorniaGlue:
    """LightGlue of kornia, for descriptors of 128 values."""

    def __init__(self, tensors: Tensors, device: torch.device) -> None:
        kind = _kornia("lightglue").LightGlue
        # Published files name the layers as their first version did.
        renamed = {
            re.sub(r"^(self_attn|cross_attn)\.(\d+)", r"transformers.\2.\1", name): value
            for name, value in tensors.items()
        }
        # Flash attention would make halves of float32 on a GPU.
        module = kind(features=None, input_dim=KORNIA_SIZE, flash=False)
        self.module = _filled(module, renamed, "lightglue").to(device)

    def pairs(
        self, xy: tuple[Tensor, Tensor], unit: tuple[Tensor, Tensor], size: tuple[int, int]
    ) -> Tensor:
        """See `Glue`."""
        extent = torch.tensor([size], device=xy[0].device)
        images = {
            f"image{side}": {
                "keypoints": xy[side][None],
                "descriptors": unit[side][None],
                "image_size": extent,
            }
            for side in (0, 1)
        }
        pairs: Tensor = self.module(images)["matches"][0]
        return pairs


class TransformersGlue:
    """LightGlue of transformers, for SuperPoint."""

    def __init__(self, tensors: Tensors, device: torch.device) -> None:
        library = _transformers("lightglue")
        config = library.LightGlueConfig()
        kind = library.LightGlueForKeypointMatching
        self.module: Any = _loaded_by_transformers(kind, config, tensors).to(device)

    def pairs(
        self, xy: tuple[Tensor, Tensor], unit: tuple[Tensor, Tensor], size: tuple[int, int]
    ) -> Tensor:
        """See `Glue`."""
        counts = [len(one) for one in xy]
        most = max(counts)
        points = xy[0].new_zeros(1, 2, most, 2)
        descriptors = xy[0].new_zeros(1, 2, most, unit[0].shape[1])
        mask = torch.zeros(1, 2, most, dtype=torch.int32, device=xy[0].device)
        for side, count in enumerate(counts):
            points[0, side, :count] = xy[side]
            descriptors[0, side, :count] = unit[side]
            mask[0, side, :count] = 1
        width, height = size
        found = self.module._match_image_pair(points, descriptors, height, width, mask=mask)[0]
        second_of = found[0, 0, : counts[0]].long()
        mine = torch.nonzero((second_of >= 0) & (second_of < counts[1]))[:, 0]
        return torch.stack([mine, second_of[mine]], dim=1)


EXTRACTORS: dict[str, type[SuperPoint | Disk | Aliked]] = {
    "superpoint": SuperPoint,
    "disk": Disk,
    "aliked": Aliked,
}


def extractor_of(system: str, tensors: Tensors, device: torch.device) -> Extractor:
    """The extractor of a card's system; SaaneError where package or weights do not serve."""
    return EXTRACTORS[system](tensors, device)


def glue_of(system: str, tensors: Tensors, device: torch.device) -> Glue:
    """The LightGlue for an extractor of that system; SaaneError."""
    return (TransformersGlue if system == "superpoint" else KorniaGlue)(tensors, device)


def _filled(module: nn.Module, tensors: Tensors, family: str) -> nn.Module:
    """A network whose every weight is one of `tensors`, and the other way round."""
    own = module.state_dict()
    whole = {name: own[name] for name in DERIVED & own.keys()} | dict(tensors)
    _check(own.keys() - whole.keys(), whole.keys() - own.keys(), family)
    try:
        module.load_state_dict(whole)
    except RuntimeError as error:
        raise _unfit(family, str(error).splitlines()[-1].strip()) from error
    return module.eval()


def _loaded_by_transformers(kind: Any, config: Any, tensors: Tensors) -> nn.Module:
    """The same through the library, which knows what it once named layers."""
    family = config.model_type
    try:
        module, report = kind.from_pretrained(
            None, config=config, state_dict=dict(tensors), output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unfit(family, str(error).splitlines()[0]) from error
    _check(report["missing_keys"], report["unexpected_keys"], family)
    return module.eval()


def _check(missing: Any, foreign: Any, family: str) -> None:
    if missing:
        raise _unfit(family, f"{len(missing)} are missing, as {min(missing)}")
    if foreign:
        raise _unfit(family, f"{len(foreign)} are of another network, as {min(foreign)}")


def _unfit(family: str, reason: str) -> SaaneError:
    return SaaneError(
        f"The weights do not fit the {family} network ({reason[:200]}): give those of its card."
    )


def _kornia(what: str) -> ModuleType:
    try:
        from kornia import feature
    except ImportError:
        raise _absent("kornia", what) from None
    return feature


def _transformers(what: str) -> ModuleType:
    try:
        import transformers
    except ImportError:
        raise _absent("transformers", what) from None
    return transformers


def _absent(package: str, what: str) -> SaaneError:
    return SaaneError(
        f"Local features with {what} need the package {package}, which is not installed: "
        f"pip install 'saane_ros[{package}]'."
    )
