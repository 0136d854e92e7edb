"""Memory of models against sums by hand and work of a known size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import smooth_scene

from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.evaluation.memory import measured_memory, peak_added
from saane_ros.model.amosnet import AmosNet
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.heads import HeadSizes
from saane_ros.model.saane import SaaneNetwork

CPU = torch.device("cpu")
MIB = 1 << 20


def embedder(height: int, width: int) -> NetworkEmbedder:
    torch.manual_seed(0)
    trunk = ResNetTrunk("resnet18", width=16)
    head = AmosNet(HeadSizes(c_a=trunk.channels16, channels=8))
    network = SaaneNetwork(trunk, None, head)
    return NetworkEmbedder(network, Preprocessing(height, width), "tiny", "f", (), CPU)


@pytest.mark.parametrize("size", [24, 96])
def test_work_of_a_known_size_is_measured(size: int) -> None:
    def work() -> int:
        return int(np.ones(size * MIB, np.uint8).sum())

    measured = [peak_added(work, CPU) for _ in range(3)]
    assert None not in measured
    for added in measured:
        assert abs(added - size * MIB) < 4 * MIB  # the kernel counts pages of threads in lots
    kept: list[np.ndarray] = []
    peak_added(lambda: kept.append(np.ones(size * MIB, np.uint8)), CPU)
    assert peak_added(lambda: None, CPU) < MIB  # what is held already is not added


def test_a_larger_input_needs_more_memory_and_the_model_stays_the_same() -> None:
    image = smooth_scene(0, 60, 80)
    small = measured_memory(embedder(64, 96), image)
    large = measured_memory(embedder(640, 960), image)
    network = embedder(64, 96).network
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    assert small.model == large.model == sum(t.numel() * t.element_size() for t in tensors.values())
    assert small.added is not None
    assert large.added is not None
    # The first convolution alone writes 16 channels of a quarter of the pixels, in float32.
    assert large.added > 16 * 4 * 640 * 960 / 4
    assert large.added > small.added
