"""From a model card to a network: the blocks it names, and the weights that fill them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from saane_ros.embedding.place_heads import published_head
from saane_ros.errors import SaaneError
from saane_ros.model.amosnet import AmosNet
from saane_ros.model.apanet import ApaNet, ApaNetMultiModal
from saane_ros.model.appearance import ResNetTrunk, Trunk
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.model.espnetv2 import EspNetV2
from saane_ros.model.fused_trunk import FusedTrunk
from saane_ros.model.heads import Head, HeadSizes, build_head
from saane_ros.model.huggingface import load_segmenter
from saane_ros.model.local_branch import PatchNetVlad
from saane_ros.model.mixvpr import MixVpr
from saane_ros.model.mosaic import Mosaic
from saane_ros.model.normalisation import Renormalisation
from saane_ros.model.pspnet import PspNet
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.semantics import LightPspNet
from saane_ros.model.sralnet import PUBLISHED_ALPHA, SralNet, set_centroids
from saane_ros.model.static_filter import StaticFilter
from saane_ros.model.timm_trunk import TimmTrunk
from saane_ros.model.unet import UNet
from saane_ros.model.vgg import VggTrunk
from saane_ros.model.vit_trunk import VitTrunk, is_vit
from saane_ros.model.vlad import VladHead, VladSizes
from saane_ros.weights.cards import TIMM, Appearance, ModelCard
from saane_ros.weights.centroid_files import fitting_centroids
from saane_ros.weights.checkpoints import (
    load_strict,
    merged,
    trunk_tensors,
    without_module_prefix,
)
from saane_ros.weights.layer_card import NEEDED
from saane_ros.weights.matconvnet import check_average_image
from saane_ros.weights.netvlad_layouts import netvlad_head, netvlad_trunk
from saane_ros.weights.place_layouts import place_head, place_trunk
from saane_ros.weights.pspnet_layouts import pspnet_tensors
from saane_ros.weights.store import find_checkpoint, search_folders
from saane_ros.weights.tflite_files import mosaic_tensors

UNTRAINED_SEED = 0
NETVLAD_LAYOUTS = ("nanne", "patch_netvlad", "hloc")
"""Checkpoints that hold the trunk too."""

Tensors = Mapping[str, Tensor]


def build_trunk(card: ModelCard) -> Trunk:
    """The appearance trunk of a card, without its weights; several where others stand beside it."""
    first = _single_trunk(card.local_features)
    if not card.beside:
        return first
    mean, std = card.preprocessing.mean, card.preprocessing.std
    others = [
        (_single_trunk(part), Renormalisation(mean, std, part.mean, part.std))
        for part in card.beside
    ]
    return FusedTrunk(first, others)


def _single_trunk(part: Appearance) -> Trunk:
    if part.trunk.startswith(TIMM):
        name = part.trunk.removeprefix(TIMM)
        if is_vit(name):
            return VitTrunk(name, part.tap, part.adapters)
        return TimmTrunk(name, part.tap)
    if part.trunk == "vgg16":
        return VggTrunk()
    return ResNetTrunk(part.trunk, part.width, part.stride_on, part.tap)


def build_semantics(card: ModelCard, trunk: Trunk | None, weights: str = "") -> nn.Module | None:
    """The semantic network of a card, without its weights unless it is a Hugging Face model.

    trunk: what it is built on, None for the segmentations that take images.
    weights: folder looked into first for the files of a Hugging Face model, which is downloaded
        where it is missing.
    """
    part, images = card.semantics, card.preprocessing
    if part is None:
        return None
    if trunk is not None:
        _require_strides(card, trunk)
    if part.network == "light_pspnet":
        assert part.channels is not None
        assert trunk is not None
        return LightPspNet(
            trunk.channels8, trunk.channels16, part.channels, len(part.classes), part.squeeze
        )
    if part.network == "unet":
        assert part.channels is not None
        assert trunk is not None
        return UNet(trunk, part.channels, len(part.classes))
    if part.network == "pspnet":
        assert part.variant is not None
        return PspNet(part.variant, len(part.classes))
    if part.network == "mosaic":
        return Mosaic(len(part.classes), images.mean, images.std)
    if part.network == "espnetv2":
        return EspNetV2(len(part.classes), images.mean, images.std)
    folder = find_checkpoint(part, search_folders(card, weights))
    return load_segmenter(folder, images.mean, images.std)


def _require_strides(card: ModelCard, trunk: Trunk) -> None:
    """SaaneError where the semantic network takes features that the trunk does not have."""
    assert card.semantics is not None
    taken = {"light_pspnet": LightPspNet.levels, "unet": UNet.levels}
    for level in taken.get(card.semantics.network, ()):
        if not getattr(trunk, level.replace("stride", "channels")):
            raise SaaneError(
                f"Model {card.name} puts {card.semantics.network} on a trunk without features at "
                f"{level.replace('stride', 'stride ')}: choose another trunk or segmentation."
            )


def build_card_head(card: ModelCard, c_a: int, c_s: int, seed: int | None = None) -> Head:
    """The head of a card, at PyTorch's default initialisation from a fixed seed or another."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED if seed is None else seed)
        return _new_head(card, c_a, c_s)


def _new_head(card: ModelCard, c_a: int, c_s: int) -> Head:
    part = card.head
    if card.system in NEEDED:
        return published_head(card, c_a)
    if card.aggregation is not None:
        vlad = PatchNetVlad if card.system == "netvlad" else SralNet
        return vlad(vlad_sizes(card, c_a))
    if card.system == "apanet":
        return ApaNet(c_a, part.channels)
    if card.system == "apanet_mm":
        return ApaNetMultiModal(c_a, c_s, part.channels)
    sizes = HeadSizes(c_a, c_s, part.channels, part.reduction, part.levels, part.pool)
    return AmosNet(sizes) if card.system == "amosnet" else build_head(card.system, sizes)


def vlad_sizes(card: ModelCard, inputs: int) -> VladSizes:
    part = card.aggregation
    assert part is not None
    return VladSizes(
        inputs, part.words, part.shadows, part.project, part.whitening, part.residual_gate
    )


def build_filter(card: ModelCard, semantics: nn.Module | None) -> StaticFilter | None:
    """The static filter of a card over the classes that its segmentation really has."""
    if card.filter is None or card.semantics is None:
        return None
    names = getattr(semantics, "class_names", card.semantics.classes)
    return StaticFilter(names, card.filter.dynamic or card.semantics.dynamic, card.filter.mode)


def build_network(card: ModelCard, weights: str = "") -> SaaneNetwork | DenseVlad:
    """The whole network of a card, without its weights; `weights` as of `build_semantics`."""
    if card.system == "dense_vlad":
        assert card.aggregation is not None
        return DenseVlad(
            card.aggregation.words,
            card.aggregation.whitening,
            card.preprocessing.mean,
            card.preprocessing.std,
        )
    trunk = build_trunk(card)
    semantics = build_semantics(card, trunk, weights)
    c_s = 0 if semantics is None else int(semantics.channels)  # type: ignore[arg-type]
    head = build_card_head(card, trunk.channels16, c_s)
    short_side = card.semantics.short_side if card.semantics else None
    return SaaneNetwork(trunk, semantics, head, short_side, build_filter(card, semantics))


def fill_network(
    network: SaaneNetwork | DenseVlad, card: ModelCard, files: Mapping[str, Tensors]
) -> None:
    """Load the tensors of every weight file of a card, strictly; `files` by the card's keys."""
    if isinstance(network, SaaneNetwork):
        fill_trunks(network.appearance, network.semantics, card, files)
        if network.static_filter is not None and card.filter and card.filter.weights is not None:
            what = f"The static filter of {card.name}"
            load_strict(network.static_filter, files[card.filter.weights], what)
    if card.head.weights is not None:
        load_head(network, card, files[card.head.weights])


def load_head(network: SaaneNetwork | DenseVlad, card: ModelCard, tensors: Tensors) -> None:
    """Load head or vocabulary."""
    if isinstance(network, DenseVlad):
        load_strict(network, tensors, f"The vocabulary of {card.name}")
        return
    what = f"The head of {card.name}"
    if card.aggregation is not None and card.aggregation.layout == "centroids":
        assert isinstance(network.head, SralNet)
        set_centroids(network.head, own_centroids(network.head, tensors, what), PUBLISHED_ALPHA)
        return
    if card.aggregation is not None and card.system == "netvlad":
        tensors = netvlad_head(tensors, card.aggregation.layout, what)
    if card.system in NEEDED:
        tensors = place_head(tensors, card.system, what)
    if isinstance(network.head, MixVpr):
        network.head.require_cells(tensors, what)
    load_strict(network.head, tensors, what)


def own_centroids(head: VladHead, tensors: Tensors, what: str) -> Tensor:
    """SRALNet's published centroids (K, 1 + S, D), of the sizes of a head; S is 0 for NetVLAD."""
    return fitting_centroids(tensors, head.words, head.shadows, head.centroids.shape[1], what)


def fill_trunks(
    trunk: Trunk | None, semantics: nn.Module | None, card: ModelCard, files: Mapping[str, Tensors]
) -> None:
    """Load appearance trunk, where there is one, and semantic network alone."""
    if trunk is not None:
        load_trunk(trunk, card, files)
    if card.semantics is not None and card.semantics.weights:
        tensors = merged([files[key] for key in card.semantics.weights], "The segmentation")
        load_semantics(semantics, card, tensors)


def load_trunk(trunk: Trunk, card: ModelCard, files: Mapping[str, Tensors]) -> None:
    """Load the trunk, or each of several from its own file."""
    parts = trunk.parts if isinstance(trunk, FusedTrunk) else [trunk]
    for one, part in zip(parts, (card.local_features, *card.beside), strict=True):
        _load_single(one, part, card, files[part.weights])


def _load_single(trunk: Trunk, part: Appearance, card: ModelCard, tensors: Tensors) -> None:
    what = f"The appearance trunk of {card.name}"
    if card.system in NEEDED:
        tensors = place_trunk(tensors, card.system, part.trunk, what)
    if isinstance(trunk, (TimmTrunk, VitTrunk)):
        load_strict(trunk, trunk.own_tensors(without_module_prefix(tensors)), what)
        return
    if card.aggregation is not None and card.aggregation.layout in NETVLAD_LAYOUTS:
        check_average_image(tensors, card.preprocessing.mean, card.preprocessing.std, what)
        tensors = netvlad_trunk(tensors, card.aggregation.layout, what)
    load_strict(trunk, trunk_tensors(tensors, part.tap), what)


def load_semantics(semantics: nn.Module | None, card: ModelCard, tensors: Tensors) -> None:
    if semantics is None or card.semantics is None:
        raise SaaneError(f"Model {card.name} has no semantic network: give a card that has one.")
    if isinstance(semantics, PspNet):
        tensors = pspnet_tensors(
            tensors, str(card.semantics.variant), f"The segmentation of {card.name}"
        )
    if isinstance(semantics, Mosaic):
        tensors = mosaic_tensors(tensors)
    load_strict(semantics, tensors, f"The segmentation of {card.name}")
