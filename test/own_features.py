"""Small models with local features of their own, for tests of maps that keep them."""

from __future__ import annotations

import torch
from torch import nn

from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.heads import Head
from saane_ros.model.local_branch import PatchNetVlad, SelaVpr
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.vlad import VladSizes

HEIGHT, WIDTH = 96, 128
GRID_SHAPES = {"own-mutual": (21, 29, 128), "own-rapid": (2, 4, 12)}
"""Of 6 x 8 cells: SelaVPR's branch, and patches of five cells a side."""


def own_embedder(rerank: str, engine: str = "torch") -> NetworkEmbedder:
    """A trunk of a few channels with random weights, and the heads whose authors re-rank so."""
    torch.manual_seed(3)
    trunk = ResNetTrunk("resnet18", width=16)
    head: Head = SelaVpr(trunk.channels16)
    if rerank == "own-rapid":
        head = PatchNetVlad(VladSizes(inputs=trunk.channels16, words=4, whitening=12))
        nn.init.normal_(head.centroids, 0, 0.1)
    return NetworkEmbedder(
        SaaneNetwork(trunk, None, head),
        Preprocessing(HEIGHT, WIDTH),
        f"tiny {rerank}",
        f"tiny {rerank} 3",
        (),
        torch.device("cpu"),
        engine=engine,
    )
