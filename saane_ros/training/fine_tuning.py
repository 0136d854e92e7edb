"""A trunk's last stage trained with the head, through images instead of cached features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.model.appearance import Trunk
from saane_ros.model.heads import Head, HeadOutput
from saane_ros.training.reading_ahead import Images, ReadAhead


class TrunkAndHead(nn.Module):
    """Gradients reach the head and the trunk's last stage; BatchNorm keeps its statistics."""

    def __init__(self, trunk: Trunk, head: Head) -> None:
        super().__init__()
        self.trunk, self.head = trunk.requires_grad_(False).eval(), head
        trunk.last_stage().requires_grad_(True)

    def forward(self, images: Tensor) -> HeadOutput:
        """Normalised images B x 3 x h x w to what the head makes of them."""
        output: HeadOutput = self.head(self.trunk(images).stride16)
        return output

    def train(self, mode: bool = True) -> TrunkAndHead:
        super().train(mode)
        self.trunk.eval()
        return self


class ImageBatches:
    """Images decoded anew for every batch; takes the place of features."""

    batch_size = 16

    def __init__(self, images: Images, preprocessing: Preprocessing) -> None:
        self.images, self.preprocessing = images, preprocessing
        self.reader = ReadAhead(images, preprocessing.resize)

    def __len__(self) -> int:
        return len(self.images)

    def expect(self, indices: NDArray[np.int64]) -> None:
        self.reader.expect(indices)

    def batch(self, indices: NDArray[np.int64], device: torch.device) -> tuple[Tensor]:
        """Normalised images float32 (B, 3, h, w)."""
        return (self.preprocessing(list(self.reader.read(indices)), device),)
