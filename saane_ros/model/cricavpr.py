"""CricaVPR (Lu et al., CVPR 2024): regions of a pyramid behind an encoder across images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.errors import SaaneError
from saane_ros.model.gem import GeM, strongest_one
from saane_ros.model.heads import Head, HeadOutput, required_token

DIVISIONS = (2, 3)
REGIONS = 1 + sum(n * n for n in DIVISIONS)


class CricaVpr(Head):
    """The class token and GeM of 2 x 2 and 3 x 3 regions, each encoded, in one unit vector.

    The published encoder lets each region look at the same region of the other images of a batch,
    16 in the authors' evaluation, so that a descriptor depends on its neighbours in the list. Here
    every image is alone with itself, and has one descriptor wherever it is met.
    Attention: the share of each cell in its regions, the largest 1.
    """

    uses_semantics = False
    uses_token = True

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.gem = GeM()
        layer = nn.TransformerEncoderLayer(
            inputs, nhead=16, dim_feedforward=2048, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.descriptor_size = REGIONS * inputs

    def forward(
        self, appearance: Tensor, semantic: Tensor | None = None, token: Tensor | None = None
    ) -> HeadOutput:
        """Features B x C x H x W and the class token B x C to a unit descriptor."""
        cells = functional.normalize(appearance.float(), dim=1)
        shares = torch.zeros_like(cells[:, :1])
        parts = [required_token(token).float()]
        for rows, columns in regions(int(cells.shape[-2]), int(cells.shape[-1])):
            pooled, share = self.gem(cells[:, :, rows, columns])
            parts.append(pooled)
            shares[:, :, rows, columns] += share
        stacked = torch.stack(parts, dim=1).to(appearance.dtype)
        # A sequence of one image each: 1 x (B * regions) x C.
        encoded = self.encoder(stacked.flatten(0, 1)[None])[0].unflatten(0, stacked.shape[:2])
        descriptor = functional.normalize(encoded.flatten(1).float(), dim=1)
        return HeadOutput(descriptor, strongest_one(shares))


def regions(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the 2 x 2 regions and then the 3 x 3, row by row, borders rounded."""
    if min(height, width) < max(DIVISIONS):
        raise SaaneError(
            f"CricaVPR needs at least 3 x 3 cells of features and the image has {height} x "
            f"{width}: give the card a larger preprocessing.height and width."
        )
    found = []
    for n in DIVISIONS:
        rows, columns = (
            [slice(round(i * side / n), round((i + 1) * side / n)) for i in range(n)]
            for side in (height, width)
        )
        found += [(row, column) for row in rows for column in columns]
    return found
