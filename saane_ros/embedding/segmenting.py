"""Label maps from a segmentation model, by the name of its card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saane_ros.embedding.assembly import build_semantics, build_trunk, fill_trunks
from saane_ros.embedding.loading import pick_device, preprocessing_of
from saane_ros.embedding.network import enlarged_logits
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import Trunk
from saane_ros.model.saane import enlarged
from saane_ros.types import Rgb
from saane_ros.weights.card_files import load_card
from saane_ros.weights.store import find_weights
from saane_ros.weights.tensors import read_tensors


class Segmentation:
    """A segmentation network on a device, with the trunk that it is on unless it takes images.

    class_names: by label.  dynamic: names of the classes that move or change.  short_side: pixels,
    to which smaller images are enlarged for a network that takes them.
    """

    def __init__(
        self,
        trunk: Trunk | None,
        network: nn.Module,
        preprocessing: Preprocessing,
        class_names: tuple[str, ...],
        dynamic: tuple[str, ...],
        device: torch.device,
        short_side: int | None = None,
    ) -> None:
        self.trunk = None if trunk is None else trunk.eval().to(device)
        self.network, self.short_side = network.eval().to(device), short_side
        self.preprocessing, self.device = preprocessing, device
        self.class_names, self.dynamic = class_names, dynamic

    @torch.inference_mode()
    def logits(self, images: Sequence[Rgb]) -> Tensor:
        """Class scores float32 (B, K, H, W) at the size of the preprocessed images."""
        pixels = self.preprocessing(images, self.device)
        if self.trunk is None:
            output = self.network(enlarged(pixels, self.short_side))
        else:
            output = self.network(self.trunk(pixels))
        return enlarged_logits(self.network, output.logits, pixels.shape[-2:])

    def labels(self, images: Sequence[Rgb]) -> NDArray[np.uint8]:
        """The class of every pixel, uint8 (B, H, W)."""
        return self.logits(images).argmax(dim=1).to(torch.uint8).cpu().numpy()


def load_segmentation(model: str, weights: str = "", device: str = "auto") -> Segmentation:
    """The segmentation of any card that has one, with the card's preprocessing."""
    card = load_card(model)
    trunk = None if card.appearance is None else build_trunk(card)
    network = build_semantics(card, trunk, weights)
    if network is None or card.semantics is None:
        raise SaaneError(f"Model {card.name} has no segmentation: give a card that has one.")
    files = {key: read_tensors(f.path) for key, f in find_weights(card, weights).items()}
    fill_trunks(trunk, network, card, files)
    return Segmentation(
        trunk if hasattr(network, "levels") else None,
        network,
        preprocessing_of(card),
        tuple(getattr(network, "class_names", card.semantics.classes)),
        card.semantics.dynamic,
        pick_device(device),
        card.semantics.short_side,
    )
