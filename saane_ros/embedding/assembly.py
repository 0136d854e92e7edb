"""From a model card to a network: the blocks it names, and the weights that fill them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from saane_ros.errors import SaaneError
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.heads import Head, HeadSizes, build_head
from saane_ros.model.huggingface import load_segmenter
from saane_ros.model.pspnet import PspNet
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.semantics import LightPspNet
from saane_ros.model.unet import UNet
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.checkpoints import load_strict, merged, trunk_tensors
from saane_ros.weights.pspnet_layouts import pspnet_tensors

UNTRAINED_SEED = 0

Tensors = Mapping[str, Tensor]


def build_trunk(card: ModelCard) -> ResNetTrunk:
    """The appearance trunk of a card, without its weights."""
    part = card.appearance
    return ResNetTrunk(part.trunk, part.width, part.stride_on)


def build_semantics(card: ModelCard, trunk: ResNetTrunk) -> nn.Module | None:
    """The semantic network of a card, without its weights unless it is a Hugging Face model."""
    part = card.semantics
    if part is None:
        return None
    if part.network == "light_pspnet":
        assert part.channels is not None
        return LightPspNet(trunk.channels8, trunk.channels16, part.channels, len(part.classes))
    if part.network == "unet":
        assert part.channels is not None
        return UNet(trunk, part.channels, len(part.classes))
    if part.network == "pspnet":
        assert part.variant is not None
        return PspNet(part.variant, len(part.classes))
    assert part.checkpoint is not None
    return load_segmenter(part.checkpoint, card.preprocessing.mean, card.preprocessing.std)


def build_card_head(card: ModelCard, c_a: int, c_s: int, seed: int | None = None) -> Head:
    """The head of a card, at PyTorch's default initialisation from a fixed seed or another."""
    part = card.head
    sizes = HeadSizes(c_a, c_s, part.channels, part.reduction, part.levels, part.pool)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED if seed is None else seed)
        return build_head(card.system, sizes)


def build_network(card: ModelCard) -> SaaneNetwork:
    """The whole network of a card, without its weights."""
    trunk = build_trunk(card)
    semantics = build_semantics(card, trunk)
    c_s = 0 if semantics is None else int(semantics.channels)  # type: ignore[arg-type]
    head = build_card_head(card, trunk.channels16, c_s)
    short_side = card.semantics.short_side if card.semantics else None
    return SaaneNetwork(trunk, semantics, head, short_side)


def fill_network(network: SaaneNetwork, card: ModelCard, files: Mapping[str, Tensors]) -> None:
    """Load the tensors of every weight file of a card, strictly; `files` by the card's keys."""
    fill_trunks(network.appearance, network.semantics, card, files)
    if card.head.weights is not None:
        load_strict(network.head, files[card.head.weights], f"The head of {card.name}")


def fill_trunks(
    trunk: ResNetTrunk, semantics: nn.Module | None, card: ModelCard, files: Mapping[str, Tensors]
) -> None:
    """Load appearance trunk and semantic network alone."""
    load_trunk(trunk, card, files[card.appearance.weights])
    if card.semantics is not None and card.semantics.weights:
        tensors = merged([files[key] for key in card.semantics.weights], "The segmentation")
        load_semantics(semantics, card, tensors)


def load_trunk(trunk: ResNetTrunk, card: ModelCard, tensors: Tensors) -> None:
    load_strict(trunk, trunk_tensors(tensors), f"The appearance trunk of {card.name}")


def load_semantics(semantics: nn.Module | None, card: ModelCard, tensors: Tensors) -> None:
    if semantics is None or card.semantics is None:
        raise SaaneError(f"Model {card.name} has no semantic network: give a card that has one.")
    if isinstance(semantics, PspNet):
        tensors = pspnet_tensors(
            tensors, str(card.semantics.variant), f"The segmentation of {card.name}"
        )
    load_strict(semantics, tensors, f"The segmentation of {card.name}")
