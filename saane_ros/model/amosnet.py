"""AMOSNet as the SAANE paper compares against it: every layer fine-tuned to tell cameras apart.

Chen et al. 2017 train a network on fixed cameras by classification and pool its last convolution
with a pyramid. SAANE gives it the same backbone as the others.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.appearance import Trunk
from saane_ros.model.fusion import Projection
from saane_ros.model.heads import HeadOutput, HeadSizes, PyramidHead


class AmosNet(PyramidHead):
    """F^A -> 1x1 convolution -> pyramid, to unit length."""

    uses_semantics = False

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.projection = Projection(sizes.c_a, sizes.channels)

    def pyramid(self, appearance: Tensor) -> Tensor:
        """The pyramid before normalisation: what the classifier sees."""
        return self.pooling(self.projection(appearance))

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        return HeadOutput(functional.normalize(self.pyramid(appearance).float(), dim=1))


class CameraClassifier(nn.Module):
    """Trunk, head and a linear layer over cameras; only the first two make descriptors."""

    def __init__(self, trunk: Trunk, head: AmosNet, cameras: int) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self.classifier = nn.Linear(head.descriptor_size, cameras)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images B x 3 x h x w to logits B x cameras."""
        return self.classifier(self.head.pyramid(self.trunk(images).stride16))
