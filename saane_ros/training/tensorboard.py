"""What a run leaves for TensorBoard: scalars, and attention over a few held-out views."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from saane_ros.errors import SaaneError
from saane_ros.model.heads import Head
from saane_ros.training.features import Features
from saane_ros.training.place_views import PlaceViews
from saane_ros.visualization import overlay_attention

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

OPACITY = 0.6


class ScalarLog:
    """Event files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.writer: SummaryWriter = _writer(folder)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


class TrainingLog(ScalarLog):
    """Also pictures of `views` with the attention that the head gives them.

    Each map is on a scale of its own, drawn below it: early in training they are nearly flat.
    """

    def __init__(
        self, folder: Path, features: Features, views: PlaceViews, rows: list[int]
    ) -> None:
        super().__init__(folder)
        self.features, self.views, self.rows = features, views, rows

    @torch.no_grad()
    def attention(self, step: int, head: Head) -> None:
        """Nothing for heads without spatial attention."""
        device = next(head.parameters()).device
        output = head(*self.features.batch(np.array(self.rows), device))
        maps = {"appearance": output.appearance_attention, "semantic": output.semantic_attention}
        for modality, values in maps.items():
            if values is None:
                continue
            for row, value in zip(self.rows, values[:, 0].float().cpu().numpy(), strict=True):
                picture = overlay_attention(self.views.read(row), value, OPACITY)
                name = f"attention/{modality}/{row}"
                self.writer.add_image(name, picture, step, dataformats="HWC")
        self.writer.flush()


def _writer(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SaaneError(
            "Training writes for TensorBoard: install it with pip install 'saane_ros[train]'."
        ) from error
    return SummaryWriter(str(folder))
