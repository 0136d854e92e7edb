"""SRALNet's published centroids: the file, the card that loads it, and vocabularies from it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from naive_vlad import naive_vlad
from safetensors.torch import save_file
from torch.nn import functional

from saane_ros.embedding.assembly import build_network, fill_network
from saane_ros.embedding.loading import load_embedder
from saane_ros.errors import SaaneError
from saane_ros.files import sha256_of
from saane_ros.model.sralnet import PUBLISHED_ALPHA
from saane_ros.model.vgg import VggTrunk
from saane_ros.weights.card_files import load_card, parse_card
from saane_ros.weights.cards import fingerprint
from saane_ros.weights.tensors import read_tensors


def unit_centroids(words: int = 64, slots: int = 5, channels: int = 512) -> torch.Tensor:
    values = torch.randn(words, slots, channels, generator=torch.Generator().manual_seed(0))
    return functional.normalize(values, dim=2)


def write(path: Path, values: torch.Tensor, name: str = "centroids") -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(path, "w") as file:
        file[name] = values.numpy()
    return path


def test_the_file_gives_its_values_as_they_are(tmp_path: Path) -> None:
    values = unit_centroids()
    found = read_tensors(write(tmp_path / "c.h5", values))
    assert list(found) == ["centroids"]
    assert torch.equal(found["centroids"], values)


def test_the_card_fills_a_vgg_network_that_equals_loops_over_its_cells(tmp_path: Path) -> None:
    card = load_card("sralnet-vgg16")
    assert card.descriptor_size == 64 * 512
    torch.manual_seed(0)
    trunk, values = VggTrunk(), unit_centroids()
    classifier = {"classifier.0.weight": torch.zeros(1)}
    network = build_network(card)
    files = {"trunk": {**trunk.state_dict(), **classifier}, "centroids": {"centroids": values}}
    fill_network(network, card, files)
    pixels = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output, cells = network(pixels), trunk(pixels).stride16[0]
    assert cells.shape == (512, 2, 3)
    assert float(cells.min()) < 0  # conv5_3 before its ReLU
    expected, saliency = naive_vlad(
        cells.double().numpy(),
        (2 * PUBLISHED_ALPHA * values.flatten(0, 1)).double().numpy(),
        np.full(64 * 5, -PUBLISHED_ALPHA),
        values[:, 0].double().numpy(),
        shadows=4,
    )
    np.testing.assert_allclose(output.descriptor[0].numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(output.appearance_attention[0, 0].numpy(), saliency, atol=1e-4)


SMALL = {
    "name": "small",
    "system": "sralnet",
    "appearance": {"trunk": "vgg16", "weights": "trunk"},
    "head": {"weights": "centroids"},
    "aggregation": {"words": 3, "shadows": 2, "layout": "centroids"},
    "preprocessing": {"height": 32, "width": 32},
    "licence": "MIT",
}


def test_centroids_of_other_sizes_are_told(tmp_path: Path) -> None:
    save_file(VggTrunk().state_dict(), tmp_path / "trunk.safetensors")
    write(tmp_path / "c.h5", unit_centroids(3, 5))
    weights = {
        key: {"file": file, "sha256": sha256_of(tmp_path / file)}
        for key, file in (("trunk", "trunk.safetensors"), ("centroids", "c.h5"))
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({**SMALL, "weights": weights}))
    with pytest.raises(SaaneError, match=r"shape \(3, 5, 512\) instead of \(3, 3, 512\)"):
        load_embedder(str(tmp_path / "small.yaml"), device="cpu")


def test_other_files_and_a_missing_h5py_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write(tmp_path / "other.h5", unit_centroids(1, 1, 4), "weights")
    with pytest.raises(SaaneError, match="no HDF5 file with a dataset 'centroids'"):
        read_tensors(other)
    (tmp_path / "text.h5").write_text("centroids")
    with pytest.raises(SaaneError, match="no HDF5 file with a dataset 'centroids'"):
        read_tensors(tmp_path / "text.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SaaneError, match="needs h5py: pip install"):
        read_tensors(other)


def test_the_residual_gate_moves_the_fingerprint_and_is_for_sralnet() -> None:
    def card(system: str, **aggregation: object) -> object:
        parts = {"aggregation": {"words": 3, **aggregation}, "head": {}, "system": system}
        weights = {"trunk": {"file": "t.safetensors", "sha256": "0" * 64}}
        return parse_card(yaml.safe_dump({**SMALL, **parts, "weights": weights}), Path("c.yaml"))

    plain = card("sralnet", shadows=2)
    gated = card("sralnet", shadows=2, residual_gate=True)
    assert fingerprint(plain, {}) == fingerprint(
        card("sralnet", shadows=2, residual_gate=False), {}
    )
    assert fingerprint(plain, {}) != fingerprint(gated, {})
    assert build_network(gated).head.residual_gate
    with pytest.raises(SaaneError, match="residual_gate is for sralnet only"):
        card("netvlad", residual_gate=True)
