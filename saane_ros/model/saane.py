"""The whole network: frozen trunks and a trainable head (SAANE, Fig. 2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.appearance import Trunk
from saane_ros.model.heads import Head, HeadOutput, align_semantics
from saane_ros.model.semantics import LightPspNet
from saane_ros.model.semantics_output import SemanticOutput
from saane_ros.model.static_filter import StaticFilter
from saane_ros.model.unet import UNet


class SaaneOutput(NamedTuple):
    """descriptor: B x D.  attention: B x 1 x H x W per modality.  logits: B x K x h x w.

    grid: B x C_A x H x W, the appearance features that the descriptor was made of.
    """

    descriptor: Tensor
    appearance_attention: Tensor | None
    semantic_attention: Tensor | None
    logits: Tensor | None
    grid: Tensor | None = None


class TrunkOutput(NamedTuple):
    """appearance: B x C_A x H x W.  semantic: B x C_S x H x W.  logits: B x K x h x w.

    token: B x C_A, the class token of a trunk that has one.
    """

    appearance: Tensor
    semantic: Tensor | None
    logits: Tensor | None
    token: Tensor | None = None


class SaaneNetwork(nn.Module):
    """Trunks without gradient and always in evaluation mode, and the head behind them.

    semantics: a LightPspNet or UNet on the appearance trunk's own features, a network that takes
        images, or None for the systems without a semantic stream.
    semantic_short_side: pixels; images are enlarged to it for a semantic network of its own.
    static_filter: weighs the cells before the head aggregates them, by the classes of `semantics`.
    """

    def __init__(
        self,
        appearance: Trunk,
        semantics: nn.Module | None,
        head: Head,
        semantic_short_side: int | None = None,
        static_filter: StaticFilter | None = None,
    ) -> None:
        super().__init__()
        self.appearance = appearance
        self.semantics = semantics
        self.head = head
        self.semantic_short_side = semantic_short_side
        self.static_filter = static_filter
        self.freeze_trunks()

    def freeze_trunks(self) -> None:
        for trunk in self._trunks():
            trunk.requires_grad_(False).eval()

    @property
    def descriptor_size(self) -> int:
        return self.head.descriptor_size

    def _trunks(self) -> list[nn.Module]:
        return [trunk for trunk in (self.appearance, self.semantics) if trunk is not None]

    def train(self, mode: bool = True) -> SaaneNetwork:
        """Training mode for the head alone: BatchNorm statistics of the trunks never move."""
        super().train(mode)
        for trunk in self._trunks():
            trunk.eval()
        return self

    @torch.no_grad()
    def trunk_features(self, images: Tensor, semantics: bool = True) -> TrunkOutput:
        """Frozen features of normalised images B x 3 x h x w on one common grid."""
        trunk = self.appearance(images)
        if self.semantics is None or not semantics:
            return TrunkOutput(trunk.stride16, None, None, trunk.token)
        if isinstance(self.semantics, (LightPspNet, UNet)):
            output: SemanticOutput = self.semantics(trunk)
        else:
            output = self.semantics(enlarged(images, self.semantic_short_side))
        height, width = trunk.stride16.shape[-2:]
        semantic = align_semantics(output.features, (height, width))
        return TrunkOutput(trunk.stride16, semantic, output.logits, trunk.token)

    def forward(self, images: Tensor, labels: bool = False) -> SaaneOutput:
        """Normalised images B x 3 x h x w to descriptors, attention and, if asked, logits."""
        filtering = self.static_filter is not None
        features = self.trunk_features(images, self.head.uses_semantics or labels or filtering)
        output, static = self.head_output(features)
        return SaaneOutput(
            output.descriptor,
            _weighted(output.appearance_attention, static),
            _weighted(output.semantic_attention, static) if self.head.uses_semantics else None,
            features.logits,
            features.appearance,
        )

    def head_output(self, features: TrunkOutput) -> tuple[HeadOutput, Tensor | None]:
        """What the head makes of trunk features, and the filter's weights where there is one."""
        if self.head.uses_token:
            return self.head(features.appearance, token=features.token), None
        if self.static_filter is None:
            return self.head(features.appearance, features.semantic), None
        assert features.logits is not None
        height, width = features.appearance.shape[-2:]
        static = self.static_filter(features.logits, (height, width)).to(features.appearance.dtype)
        return self.head.filtered(features.appearance, features.semantic, static), static


def enlarged(images: Tensor, short_side: int | None) -> Tensor:
    """Images B x 3 x h x w at least that many pixels high and wide, for a network of its own."""
    short = min(images.shape[-2:])
    if short_side is None or short >= short_side:
        return images
    scale = short_side / short
    return functional.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)


def _weighted(attention: Tensor | None, static: Tensor | None) -> Tensor | None:
    """An attention map with the filter's weights; those alone for a head without a map."""
    if attention is None or static is None:
        return static if attention is None else attention
    return attention * static
