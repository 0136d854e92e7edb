"""AMOSNet as the SAANE paper compares against it: every layer fine-tuned to tell cameras apart.

Chen et al. 2017 train a network on fixed cameras by classification and pool its last convolution
with a pyramid. SAANE gives it the same backbone as the others.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.appearance import Trunk
from saane_ros.model.fusion import Projection
from saane_ros.model.heads import Fused, HeadSizes, PyramidHead

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


class CameraClassifier(nn.Module):
    """Trunk, head and a linear layer over cameras; only the first two make descriptors.

    The layer compares by angle, as the search for places does: logits are SCALE times the cosines
    of descriptor and class weights (Wang et al. 2017, NormFace).
    """

    def __init__(self, trunk: Trunk, head: AmosNet, cameras: int) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self.classifier = nn.Linear(head.descriptor_size, cameras, bias=False)

    def describe(self, images: Tensor) -> Tensor:
        """Normalised images B x 3 x h x w to unit descriptors B x D."""
        return self.head(self.trunk(images).stride16).descriptor

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images B x 3 x h x w to logits B x cameras."""
        weights = functional.normalize(self.classifier.weight, dim=1)
        return SCALE * functional.linear(self.describe(images), weights)
