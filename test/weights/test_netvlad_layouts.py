"""Public NetVLAD checkpoints: names, signs, transpositions and the order of a flattened VLAD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from saane_ros.embedding.loading import load_embedder
from saane_ros.errors import SaaneError
from saane_ros.model.vgg import VggTrunk
from saane_ros.weights.netvlad_layouts import (
    CONVOLUTIONS,
    cluster_major,
    netvlad_head,
    netvlad_trunk,
)
from saane_ros.weights.tensors import read_tensors

MODELS = Path(__file__).resolve().parents[2] / "models"

WORDS, CHANNELS, SIZE = 3, 512, 7


@pytest.fixture(scope="module")
def parts() -> dict[str, torch.Tensor]:
    """Trunk, assignment, centroids and a whitening (P, K * D) in plain form."""
    torch.manual_seed(0)
    values = {f"trunk.{k}": v for k, v in VggTrunk().state_dict().items()}
    values["assignment"] = 20 * torch.randn(WORDS, CHANNELS)
    values["centroids"] = torch.randn(WORDS, CHANNELS) / 20
    values["matrix"] = torch.randn(SIZE, WORDS * CHANNELS)
    values["offset"] = torch.randn(SIZE) / 10
    return values


def nanne(parts: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
    trunk = {
        f"encoder.{prefix}{k.removeprefix('trunk.features.')}": v
        for k, v in parts.items()
        if k.startswith("trunk.")
    }
    return {
        **trunk,
        f"pool.{prefix}conv.weight": parts["assignment"][:, :, None, None],
        f"pool.{prefix}centroids": parts["centroids"],
    }


def patch_netvlad(parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        **nanne(parts),
        "WPCA.0.weight": parts["matrix"][:, :, None, None],
        "WPCA.0.bias": parts["offset"],
    }


def write_matconvnet(
    parts: dict[str, torch.Tensor], path: Path, average: np.ndarray | None = None
) -> None:
    """As MatConvNet keeps it: minus the centres, D x K, and whitening rows d * K + k."""
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed")
    layers: list[dict[str, object]] = [{"type": "relu"} for _ in range(34)]
    for index in CONVOLUTIONS:
        weight = parts[f"trunk.features.{index}.weight"].permute(2, 3, 1, 0).numpy()
        bias = parts[f"trunk.features.{index}.bias"].numpy()
        layers[index] = {"type": "conv", "weights": cells(weight, bias)}
    layers[30]["weights"] = cells(parts["assignment"].T.numpy(), -parts["centroids"].T.numpy())
    matrix = np.zeros((WORDS * CHANNELS, SIZE), np.float32)
    for k in range(WORDS):
        for d in range(CHANNELS):
            matrix[d * WORDS + k] = parts["matrix"][:, k * CHANNELS + d].numpy()
    layers[33]["weights"] = cells(matrix[None, None], parts["offset"].numpy())
    net: dict[str, object] = {"layers": np.array(layers, dtype=object)}
    if average is not None:
        net["meta"] = {"normalization": {"averageImage": average}}
    scipy_io.savemat(path, {"net": net})


def cells(*values: np.ndarray) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        found[index] = value
    return found


def card(folder: Path, layout: str, file: str, whitening: int = SIZE, words: int = WORDS) -> Path:
    from saane_ros.files import sha256_of

    values = {
        "name": "public",
        "system": "netvlad",
        "appearance": {"trunk": "vgg16", "weights": "net"},
        "head": {"weights": "net"},
        "aggregation": {"words": words, "whitening": whitening, "layout": layout},
        "preprocessing": {"height": 32, "width": 48},
        "licence": "MIT",
        "weights": {"net": {"file": file, "sha256": sha256_of(folder / file)}},
    }
    path = folder / f"{layout}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_three_layouts_give_one_descriptor(
    parts: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    write_matconvnet(parts, tmp_path / "hloc.mat")
    torch.save({"state_dict": patch_netvlad(parts), "num_pcs": SIZE}, tmp_path / "patch.pth")
    save_file({k: v.contiguous() for k, v in nanne(parts).items()}, tmp_path / "n.safetensors")
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)
    patch = load_embedder(str(card(tmp_path, "patch_netvlad", "patch.pth")), device="cpu")
    hloc = load_embedder(str(card(tmp_path, "hloc", "hloc.mat")), device="cpu")
    plain = load_embedder(str(card(tmp_path, "nanne", "n.safetensors", 0)), device="cpu")
    expected = patch.embed([image])[0].descriptor
    np.testing.assert_allclose(hloc.embed([image])[0].descriptor, expected, atol=1e-5)
    assert patch.descriptor_size == SIZE
    whitened = parts["matrix"].numpy() @ plain.embed([image])[0].descriptor
    whitened = whitened + parts["offset"].numpy()
    np.testing.assert_allclose(whitened / np.linalg.norm(whitened), expected, atol=1e-5)


def test_names_of_several_gpus_are_understood(parts: dict[str, torch.Tensor]) -> None:
    plain = netvlad_head(nanne(parts), "nanne", "it")
    wrapped = netvlad_head(nanne(parts, "module."), "nanne", "it")
    assert plain.keys() == wrapped.keys() == {"assignment.weight", "assignment.bias", "centroids"}
    assert float(plain["assignment.bias"].abs().max()) == 0
    trunk = netvlad_trunk(nanne(parts, "module."), "nanne", "it")
    assert trunk.keys() == VggTrunk().state_dict().keys()


def test_columns_move_from_value_by_value_to_cluster_by_cluster() -> None:
    matrix = torch.arange(2.0 * 12).reshape(2, 12)
    moved = cluster_major(matrix, words=3, channels=4, what="it")
    for k in range(3):
        for d in range(4):
            assert torch.equal(moved[:, k * 4 + d], matrix[:, d * 3 + k])


def test_a_whitening_in_the_other_order_or_size_is_refused(
    parts: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    write_matconvnet(parts, tmp_path / "hloc.mat")
    with pytest.raises(SaaneError, match=r"MatConvNet \(D x K\).*Patch-NetVLAD \(K x D\)"):
        load_embedder(str(card(tmp_path, "patch_netvlad", "hloc.mat")), device="cpu")
    with pytest.raises(SaaneError, match=r"2x10 and needs 3 x 4 = 12 columns"):
        cluster_major(torch.zeros(2, 10), 3, 4, "it")
    with pytest.raises(SaaneError, match=r"layout Patch-NetVLAD .* expects pytorch-NetVlad"):
        netvlad_head(patch_netvlad(parts), "nanne", "it")
    with pytest.raises(SaaneError, match=r"unknown \(fc\.weight"):
        netvlad_head({"fc.weight": torch.zeros(1)}, "own", "it")


def test_another_size_names_what_was_expected_and_found(
    parts: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(patch_netvlad(parts), tmp_path / "patch.pth")
    with pytest.raises(SaaneError, match="centroids 3x512 instead of 5x512"):
        load_embedder(str(card(tmp_path, "patch_netvlad", "patch.pth", words=5)), device="cpu")


def test_a_damaged_mat_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip("scipy.io", reason="scipy is not installed")
    path = tmp_path / "broken.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(SaaneError, match=r"broken\.mat is no MatConvNet network"):
        read_tensors(path)


@pytest.mark.parametrize("shape", [(1, 1, 3), (4, 5, 3)])
def test_an_average_image_other_than_the_cards_mean_is_refused(
    parts: dict[str, torch.Tensor], tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """Of one pixel, as the authors' files have it, or of a whole image."""
    average = np.broadcast_to(np.array([123.68, 116.779, 103.939], np.float32), shape)
    write_matconvnet(parts, tmp_path / "hloc.mat", average)
    wrong = card(tmp_path, "hloc", "hloc.mat")
    with pytest.raises(SaaneError) as told:
        load_embedder(str(wrong), device="cpu")
    assert "less (123.68, 116.78, 103.94)" in str(told.value)
    assert "preprocessing.mean to [0.485020, 0.457957, 0.407604]" in str(told.value)
    published = yaml.safe_load((MODELS / "netvlad-vgg16-pitts30k.yaml").read_text())
    values = yaml.safe_load(wrong.read_text())
    values["preprocessing"] |= {k: published["preprocessing"][k] for k in ("mean", "std")}
    wrong.write_text(yaml.safe_dump(values))
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)
    seen = load_embedder(str(wrong), device="cpu").preprocessing([image], torch.device("cpu"))
    expected = image.transpose(2, 0, 1) - average.reshape(-1, 3)[0][:, None, None]
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=2e-3)
