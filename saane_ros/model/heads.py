"""From trunk features to a descriptor: SAANE and the four ablations of its Table 1.

A head sees features only, so it trains on cached ones; trunks are joined in `saane.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saane_ros.errors import SaaneError
from saane_ros.model.attention import ChannelAttention, SpatialAttention
from saane_ros.model.averaging import averaged
from saane_ros.model.fusion import Fusion, Projection
from saane_ros.model.pooling import SpatialPyramidPooling, scaled_unit


@dataclass(frozen=True)
class HeadSizes:
    """The paper's sizes by default: c_a and c_s are the trunks' channels C_A and C_S."""

    c_a: int = 1024
    c_s: int = 512
    channels: int = 256
    reduction: int = 16
    levels: tuple[int, ...] = (4, 3, 2, 1)
    pool: str = "max"


class HeadOutput(NamedTuple):
    """descriptor: B x D.  The spatial maps, where the head has them: B x 1 x H x W."""

    descriptor: Tensor
    appearance_attention: Tensor | None = None
    semantic_attention: Tensor | None = None


class Fused(NamedTuple):
    """features: B x C x H x W.  maps: the spatial maps, as in HeadOutput."""

    features: Tensor
    maps: tuple[Tensor, ...] = ()


class Head(nn.Module):
    """From features on one grid, B x C x H x W, to a descriptor of `descriptor_size` values."""

    uses_semantics = True
    uses_token = False
    """Whether `forward` takes the class token of a vision transformer as `token`, B x C."""
    descriptor_size: int
    own_score = ""
    """What its authors put their first places in order by, one of `feature_grids.SCORES`."""
    own_shares: tuple[float, ...] = ()
    """Of each of `own_features` in that score, sum 1."""

    def own_features(self, appearance: Tensor) -> list[Tensor]:
        """Local features of unit length, B x P x h x w a scale; none without `own_score`."""
        return []

    def own_grid(self, appearance: Tensor) -> Tensor:
        """The one scale of them that a map keeps, B x P x h x w."""
        return self.own_features(appearance)[0]

    def filtered(self, appearance: Tensor, semantic: Tensor | None, static: Tensor) -> HeadOutput:
        """The descriptor with every cell weighted by `static`, B x 1 x H x W in [0, 1].

        A cell without weight has zero features, which bias-free projections keep at zero.
        """
        output: HeadOutput = self(
            appearance * static, None if semantic is None else semantic * static
        )
        return output


def required_token(token: Tensor | None) -> Tensor:
    """The class token, for the heads that cannot do without; SaaneError."""
    if token is None:
        raise SaaneError(
            "This layer needs the class token of a vision transformer, which its trunk or features "
            "kept for training do not have: use it as its card has it, untrained."
        )
    return token


class PyramidHead(Head):
    """What the heads of the paper's Table 1 share: the pooling and the norm of 10."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.pooling = SpatialPyramidPooling(sizes.levels, sizes.pool)
        self.descriptor_size = sizes.channels * self.pooling.cells

    @abstractmethod
    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        """What is pooled, and the spatial maps."""

    def normalised(self, pyramid: Tensor) -> Tensor:
        return scaled_unit(pyramid)

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        features, maps = self.fused(appearance, semantic)
        return HeadOutput(self.normalised(self.pooling(features)), *maps)

    def filtered(self, appearance: Tensor, semantic: Tensor | None, static: Tensor) -> HeadOutput:
        """As of every head, and no masked cell is a candidate for a maximum."""
        features, maps = self.fused(
            appearance * static, None if semantic is None else semantic * static
        )
        return HeadOutput(self.normalised(self.pooling(features, static)), *maps)


class AttentionBlock(nn.Module):
    """Channel then spatial attention of one stream, as SAANE's but computed from itself."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Attended features and the spatial map."""
        channel = self.channel(features)
        spatial = self.spatial(features * channel)
        return features * channel * spatial, spatial


class App(PyramidHead):
    """F_A -> pyramid."""

    uses_semantics = False

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.fusion1 = Projection(sizes.c_a, sizes.channels)

    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        return Fused(self.fusion1(appearance))


class AppSem(PyramidHead):
    """F_M = F_A + F_S -> pyramid."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.fusion1 = Fusion(sizes.c_a, sizes.c_s, sizes.channels)

    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        f_a, f_s = self.fusion1(appearance, semantic)
        return Fused(f_a + f_s)


class AppAtt(PyramidHead):
    """F_A attended by itself -> second projection -> pyramid."""

    uses_semantics = False

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.fusion1 = Projection(sizes.c_a, sizes.channels)
        self.attention = AttentionBlock(sizes.channels, sizes.reduction)
        self.fusion2 = Projection(sizes.channels, sizes.channels)

    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        attended, spatial = self.attention(self.fusion1(appearance))
        return Fused(self.fusion2(attended), (spatial,))


class AppAttSemAtt(PyramidHead):
    """Each modality attended by itself -> second fusion -> pyramid."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.fusion1 = Fusion(sizes.c_a, sizes.c_s, sizes.channels)
        self.attention_appearance = AttentionBlock(sizes.channels, sizes.reduction)
        self.attention_semantic = AttentionBlock(sizes.channels, sizes.reduction)
        self.fusion2 = Fusion(sizes.channels, sizes.channels, sizes.channels)

    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        f_a, f_s = self.fusion1(appearance, semantic)
        attended_a, spatial_a = self.attention_appearance(f_a)
        attended_s, spatial_s = self.attention_semantic(f_s)
        g_a, g_s = self.fusion2(attended_a, attended_s)
        return Fused(g_a + g_s, (spatial_a, spatial_s))


class Saane(PyramidHead):
    """Shared channel attention, one spatial attention per modality (Eq. 1 to 3), both fusions."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.fusion1 = Fusion(sizes.c_a, sizes.c_s, sizes.channels)
        self.channel = ChannelAttention(sizes.channels, sizes.reduction)
        self.spatial_appearance = SpatialAttention()
        self.spatial_semantic = SpatialAttention()
        self.fusion2 = Fusion(sizes.channels, sizes.channels, sizes.channels)

    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        f_a, f_s = self.fusion1(appearance, semantic)
        f_m = f_a + f_s
        m_c = self.channel(f_m)
        attended = f_m * m_c
        s_a = self.spatial_appearance(attended)
        s_s = self.spatial_semantic(attended)
        g_a, g_s = self.fusion2(f_a * m_c * s_a, f_s * m_c * s_s)
        return Fused(g_a + g_s, (s_a, s_s))


HEADS: dict[str, type[Head]] = {
    "app": App,
    "app_sem": AppSem,
    "app_att": AppAtt,
    "app_att_sem_att": AppAttSemAtt,
    "saane": Saane,
}


def build_head(system: str, sizes: HeadSizes) -> Head:
    """The head of one row of the paper's Table 1."""
    return HEADS[system](sizes)


def align_semantics(semantic: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average-pool semantic features B x C x h x w to the appearance grid (H, W).

    The paper assumes equal grids though the strides are 8 and 16. Averaging commutes with the
    1x1 projection behind it; where h, w are twice H, W it is the exact 2x2 mean.
    """
    if semantic.shape[-2:] == torch.Size(grid):
        return semantic
    return averaged(semantic, grid)
