"""Filters that keep what stands still: weights of feature cells from a segmentation.

The poster's filter multiplies a binary mask, made by a U-Net or Mask2Former, into the weights of
the residuals at the grid of the feature map. Its future work is here too: one learned weight per
class instead of zero or one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saane_ros.errors import SaaneError
from saane_ros.model.averaging import averaged

LEAST_STATIC = 0.01
"""Share of weight left in an image below which its mask is ignored."""
THRESHOLD = 0.5
INITIAL_LOGIT = 3.0

LOG = logging.getLogger(__name__)


class StaticFilter(nn.Module):
    """Class logits to weights of cells in [0, 1].

    dynamic: names of the classes that are taken out.  mode: "binary" as on the poster, "soft" the
    static share of a cell, "learned" a weight sigmoid(theta_c) for every class, theta beginning at
    3 for static and -3 for dynamic classes.
    """

    static: Tensor

    def __init__(
        self, class_names: Sequence[str], dynamic: Sequence[str], mode: str = "binary"
    ) -> None:
        super().__init__()
        strangers = [name for name in dynamic if name not in class_names]
        if strangers or not dynamic:
            raise SaaneError(
                f"The filter takes out {', '.join(strangers) or 'no class'} and its segmentation "
                f"knows {', '.join(class_names)}: give names of these."
            )
        self.mode = mode
        static = torch.tensor([float(name not in dynamic) for name in class_names])
        self.register_buffer("static", static, persistent=False)
        if mode == "learned":
            self.theta = nn.Parameter(INITIAL_LOGIT * (2 * static - 1))

    def forward(self, logits: Tensor, grid: tuple[int, int]) -> Tensor:
        """Logits B x classes x h x w to weights B x 1 x H x W."""
        probabilities = logits.float().softmax(dim=1)
        of_class = self.theta.float().sigmoid() if self.mode == "learned" else self.static.float()
        share = torch.einsum("bchw,c->bhw", probabilities, of_class)[:, None]
        return cell_weights(share, grid, binary=self.mode == "binary")

    def regulariser(self) -> Tensor:
        """|theta - theta_0|^2, for the training of the learned weights."""
        return ((self.theta - INITIAL_LOGIT * (2 * self.static - 1)) ** 2).sum()


def cell_weights(share: Tensor, grid: tuple[int, int], binary: bool = True) -> Tensor:
    """Static shares B x 1 x h x w of pixels to weights B x 1 x H x W of cells, by area average.

    binary: 1 where at least half of a cell is static.  An image that keeps less than
    `LEAST_STATIC` of its weight is not filtered at all: nothing would be left to describe.
    """
    cells = averaged(share, grid)
    if binary:
        cells = (cells >= THRESHOLD).to(cells.dtype)
    empty = cells.mean(dim=(1, 2, 3), keepdim=True) < LEAST_STATIC
    # To ask a GPU would hold a frame up, and its answer cannot be part of a recorded frame.
    if not empty.is_cuda and bool(empty.any()):
        LOG.warning(
            "%d image(s) have next to nothing static: their mask is ignored", int(empty.sum())
        )
    return cells.masked_fill(empty, 1.0)
