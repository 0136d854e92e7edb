"""AMOSNet as the SAANE paper compares against it: every layer fine-tuned to tell cameras apart.

Chen et al. 2017 train a network on fixed cameras by classification and pool its last convolution
with a pyramid. SAANE gives it the same backbone as the others.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.appearance import Trunk
from saane_ros.model.fusion import Projection
from saane_ros.model.heads import Fused, HeadSizes, PyramidHead

Loss = Literal["softmax", "cosine"]
SCALE = 30.0
"""Of the cosines; without it a softmax over numbers of at most one stays flat."""


class AmosNet(PyramidHead):
    """F^A -> 1x1 convolution -> pyramid, to unit length."""

    uses_semantics = False

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.projection = Projection(sizes.c_a, sizes.channels)

    def fused(self, appearance: Tensor, semantic: Tensor | None) -> Fused:
        return Fused(self.projection(appearance))

    def normalised(self, pyramid: Tensor) -> Tensor:
        return functional.normalize(pyramid.float(), dim=1)

    def pyramid(self, appearance: Tensor) -> Tensor:
        """F^A, B x C_A x H x W, to the pooled pyramid, B x D, which a softmax classifies."""
        return self.pooling(self.projection(appearance))


class CameraClassifier(nn.Module):
    """Trunk, head and a linear layer over cameras; only the first two make descriptors.

    "softmax", as Chen et al. and SAANE have it: weights and a bias per camera over the pyramid,
    zero at first: random ones would undo what is pretrained before they say anything.
    "cosine" compares by angle, as the search for places does: logits are SCALE times the cosines
    of descriptor and camera weights (Wang et al. 2017, NormFace).
    """

    def __init__(self, trunk: Trunk, head: AmosNet, cameras: int, loss: Loss = "softmax") -> None:
        super().__init__()
        self.trunk, self.head, self.loss = trunk, head, loss
        self.classifier = nn.Linear(head.descriptor_size, cameras, bias=loss == "softmax")
        if loss == "softmax":
            nn.init.zeros_(self.classifier.weight)
            nn.init.zeros_(self.classifier.bias)

    def describe(self, images: Tensor) -> Tensor:
        """Normalised images B x 3 x h x w to unit descriptors B x D."""
        return self.head(self.trunk(images).stride16).descriptor

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images B x 3 x h x w to logits B x cameras."""
        if self.loss == "softmax":
            return self.classifier(self.head.pyramid(self.trunk(images).stride16))
        weights = functional.normalize(self.classifier.weight, dim=1)
        return SCALE * functional.linear(self.describe(images), weights)
