"""Local features by the name of a card, or by the name that a map has of those that made it."""

from __future__ import annotations

import re

from saane_ros.errors import SaaneError
from saane_ros.metric.features import MOST, LocalFeatures, RootSift
from saane_ros.weights.feature_cards import EXTRACTOR, MATCHER, ROOTSIFT, load_feature_card

DIGITS = 8
"""Of the extractor's digest, in the name."""
FORMER = ("rootsift-upright",)
"""Features of earlier releases, which find other keypoints than those of today."""


def load_features(
    name: str = ROOTSIFT, weights: str = "", device: str = "auto", most: int = MOST
) -> LocalFeatures:
    """The features of a card by name or path, or of a map by its `Points.features`.

    weights: folder looked into first; missing files are downloaded where the card has an address.
    most: keypoints of an image.  Learned features are named by their card and the first digits of
    their weights' digest, so that a map is never searched with others.  Raises SaaneError where
    card, package or weights are missing.
    """
    if name in FORMER:
        raise SaaneError(
            f"The points of the map are {name} of an earlier release: build the map again."
        )
    if name == RootSift.name:
        name = ROOTSIFT
    card = load_feature_card(re.sub(rf"@[0-9a-f]{{{DIGITS}}}$", "", name))
    if card.system == ROOTSIFT:
        return RootSift(most)
    from saane_ros.embedding.loading import pick_device
    from saane_ros.metric.learned_features import LearnedFeatures
    from saane_ros.metric.networks import extractor_of, glue_of
    from saane_ros.weights.store import find_weights
    from saane_ros.weights.tensors import read_tensors

    chosen, files = pick_device(device), find_weights(card, weights)
    extractor = extractor_of(card.system, read_tensors(files[EXTRACTOR].path), chosen)
    glue = None
    if MATCHER in files:
        glue = glue_of(card.system, read_tensors(files[MATCHER].path), chosen)
    own = f"{card.reference}@{files[EXTRACTOR].sha256[:DIGITS]}"
    return LearnedFeatures(own, extractor, glue, chosen, most)
