"""From the layer of a card to the head behind its trunk, for the published systems."""

from __future__ import annotations

from saane_ros.model.anyloc import AnyLoc
from saane_ros.model.boq import BagOfQueries
from saane_ros.model.convap import ConvAp
from saane_ros.model.cricavpr import CricaVpr
from saane_ros.model.gem import CosPlace, GemHead
from saane_ros.model.heads import Head
from saane_ros.model.local_branch import SelaVpr
from saane_ros.model.mixvpr import STRIDE, MixVpr
from saane_ros.model.salad import Salad, SaladSizes
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.layer_card import LayerCard


def published_head(card: ModelCard, inputs: int) -> Head:
    """The head of a system of `layer_card.NEEDED`; inputs: channels of the trunk."""
    layer = card.layer or LayerCard()
    if card.system == "gem":
        return GemHead(inputs, layer.output)
    if card.system == "convap":
        return ConvAp(inputs, layer.channels, layer.rows)
    if card.system == "mixvpr":
        size = card.preprocessing
        grid = (-(-size.height // STRIDE), -(-size.width // STRIDE))
        return MixVpr(inputs, grid, layer.channels, layer.rows, layer.depth)
    if card.system == "boq":
        return BagOfQueries(inputs, layer.channels, layer.queries, layer.depth, layer.rows)
    if card.system in ("salad", "megaloc"):
        sizes = SaladSizes(layer.clusters, layer.channels, layer.token, layer.output)
        return Salad(inputs, sizes)
    if card.system == "anyloc":
        return AnyLoc(inputs, layer.clusters)
    if card.system == "cricavpr":
        return CricaVpr(inputs)
    if card.system == "selavpr":
        return SelaVpr(inputs)
    return CosPlace(inputs, layer.output, mix=card.system == "selavpr_pp")
