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
from saane_ros.types import Rgb
from saane_ros.weights.card_files import load_card
from saane_ros.weights.store import find_weights
from saane_ros.weights.tensors import read_tensors


class Segmentation:
    """A trunk and the network behind it on a device.

    class_names: by label.  dynamic: names of the classes that move or change.
    """

    def __init__(
        self,
        trunk: Trunk,
        network: nn.Module,
        preprocessing: Preprocessing,
        class_names: tuple[str, ...],
        dynamic: tuple[str, ...],
        device: torch.device,
    ) -> None:
        self.trunk, self.network = trunk.eval().to(device), network.eval().to(device)
        self.preprocessing, self.device = preprocessing, device
        self.class_names, self.dynamic = class_names, dynamic

    @torch.inference_mode()
    def logits(self, images: Sequence[Rgb]) -> Tensor:
        """Class scores float32 (B, K, H, W) at the size of the network's input."""
        pixels = self.preprocessing(images, self.device)
        on_trunk = hasattr(self.network, "levels")
        output = self.network(self.trunk(pixels) if on_trunk else pixels)
        return enlarged_logits(self.network, output.logits, pixels.shape[-2:])

    def labels(self, images: Sequence[Rgb]) -> NDArray[np.uint8]:
        """The class of every pixel, uint8 (B, H, W)."""
        return self.logits(images).argmax(dim=1).to(torch.uint8).cpu().numpy()


def load_segmentation(model: str, weights: str = "", device: str = "auto") -> Segmentation:
    """The segmentation of any card that has one, with the card's preprocessing."""
    card = load_card(model)
    trunk = build_trunk(card)
    network = build_semantics(card, trunk)
    if network is None or card.semantics is None:
        raise SaaneError(f"Model {card.name} has no segmentation: give a card that has one.")
    files = {key: read_tensors(f.path) for key, f in find_weights(card, weights).items()}
    fill_trunks(trunk, network, card, files)
    return Segmentation(
        trunk,
        network,
        preprocessing_of(card),
        tuple(getattr(network, "class_names", card.semantics.classes)),
        card.semantics.dynamic,
        pick_device(device),
    )
