"""An embedder on a GPU against the same on the CPU; skipped where there is none."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import smooth_scene
from test_network_embedder import write_model

from saane_ros.embedding.choice import machine
from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.preprocessing import fetched, sent
from saane_ros.evaluation.memory import measured_memory
from saane_ros.model.averaging import averaged
from saane_ros.ros.shared.model_loading import free_device_memory

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

IMAGES = [smooth_scene(1), smooth_scene(2, 240, 320), smooth_scene(3, 48, 64)]
RUNS = [("torch", "fp32"), ("torch", "fp16"), ("torch", "bf16"), ("compiled", "fp16")]
LEAST = {"fp32": 0.99999, "fp16": 0.9999, "bf16": 0.99}
"""The cosine to float32 on the CPU."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model")))


def loaded(model: str, engine: str = "torch", precision: str = "auto") -> NetworkEmbedder:
    return load_embedder(model, "", "cuda", precision, engine=engine, strict=True)


@pytest.mark.parametrize(("engine", "precision"), RUNS)
def test_a_gpu_gives_all_that_the_cpu_gives(model: str, engine: str, precision: str) -> None:
    plain, other = load_embedder(model, device="cpu"), loaded(model, engine, precision)
    assert (other.engine, other.device.type) == (engine, "cuda")
    assert other.fingerprint == plain.fingerprint
    for batch in (IMAGES[:1], IMAGES, IMAGES[1:2]):
        expected = plain.embed(batch, attention=True, labels=True, grid=True)
        found = other.embed(batch, attention=True, labels=True, grid=True)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.descriptor.dtype == np.float32
            assert mine.descriptor @ theirs.descriptor / 100 > LEAST[precision]
            assert mine.attention.keys() == theirs.attention.keys() == {"appearance", "semantic"}
            for name, values in theirs.attention.items():
                np.testing.assert_allclose(mine.attention[name], values, atol=0.02)
            assert mine.grid is not None
            assert theirs.grid is not None
            np.testing.assert_allclose(mine.grid, theirs.grid, atol=0.02 * theirs.grid.max())
            assert mine.labels is not None
            assert np.mean(mine.labels == theirs.labels) > 0.97


def test_half_precision_is_what_auto_takes(model: str) -> None:
    assert loaded(model).dtype == torch.float16
    assert torch.cuda.get_device_name() in machine("cuda")


@pytest.mark.parametrize(("engine", "precision"), RUNS)
def test_the_frames_path_waits_for_the_gpu_once(
    model: str, engine: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that waits raises, but for the one that fetches what was found."""
    embedder = loaded(model, engine, precision)
    embedder.embed(IMAGES[:1], attention=True, labels=True, grid=True)
    waited = []

    def counted(values: dict[str, torch.Tensor], device: torch.device) -> dict[str, np.ndarray]:
        torch.cuda.set_sync_debug_mode("default")
        waited.append(len(values))
        return fetched(values, device)

    monkeypatch.setattr("saane_ros.embedding.network.fetched", counted)
    torch.cuda.set_sync_debug_mode("error")
    try:
        embedder.embed(IMAGES[:1], attention=True, labels=True, grid=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waited == [5]


def test_what_was_fetched_is_not_written_over_by_the_next_frame(model: str) -> None:
    embedder = loaded(model, "compiled", "fp16")
    first = embedder.embed(IMAGES[:1], grid=True)[0]
    kept, grid = first.descriptor.copy(), np.copy(first.grid)
    embedder.embed(IMAGES[1:2], grid=True)
    np.testing.assert_array_equal(first.descriptor, kept)
    np.testing.assert_array_equal(first.grid, grid)
    again = embedder.embed(IMAGES[:1], grid=True)[0]
    np.testing.assert_array_equal(again.descriptor, kept)


def test_pinned_copies_carry_every_byte() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 65, 33, 3)).astype(np.uint8)
    device = torch.device("cuda")
    there = sent(pixels, device)
    assert there.is_cuda
    back = fetched({"a": there, "b": there.float() / 2}, device)
    np.testing.assert_array_equal(back["a"], pixels)
    np.testing.assert_array_equal(back["b"], pixels / np.float32(2))
    assert back["a"].flags.owndata


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_model_that_is_dropped_gives_its_memory_back(model: str, engine: str) -> None:
    """As when the localizer's model is changed while it runs."""

    def held() -> int:
        gc.collect()
        free_device_memory()
        torch.cuda.synchronize()
        return torch.cuda.memory_reserved()

    def once() -> None:
        embedder = loaded(model, engine, "fp16")
        embedder.embed(IMAGES[:1], attention=True, labels=True, grid=True)

    _in_a_frame_of_its_own(once)
    before = held()
    for _ in range(3):
        _in_a_frame_of_its_own(once)
    assert held() <= before


def _in_a_frame_of_its_own(work: Callable[[], None]) -> None:
    work()
    torch.compiler.reset()


@settings(deadline=None)
@given(
    seed=st.integers(0, 99),
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fields=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_averages_on_a_gpu_are_those_of_the_cpu(
    seed: int, sides: tuple[int, int], fields: tuple[int, int]
) -> None:
    features = torch.randn(2, 5, *sides, generator=torch.Generator().manual_seed(seed))
    there = features.cuda().requires_grad_()
    found = averaged(there, fields)
    here = features.requires_grad_()
    expected = averaged(here, fields)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-5, rtol=1e-5)
    (found**2).sum().backward()
    (expected**2).sum().backward()
    torch.testing.assert_close(there.grad.cpu(), here.grad, atol=1e-4, rtol=1e-4)
    with torch.inference_mode():
        half = averaged(features.cuda().half(), fields)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.cpu().float(), expected, atol=4e-3, rtol=4e-3)


def test_memory_is_that_of_the_gpu(model: str) -> None:
    single, half = (loaded(model, "torch", precision) for precision in ("fp32", "fp16"))
    sizes = [measured_memory(embedder, IMAGES[1]) for embedder in (single, half)]
    assert sizes[1].model is not None
    assert sizes[0].model == pytest.approx(2 * sizes[1].model, rel=0.01)
    assert sizes[0].added is not None
    assert sizes[0].added > 3 * 4 * 64 * 96


def test_a_network_larger_than_the_gpu_says_so(model: str, tmp_path: Path) -> None:
    """What PyTorch raises where memory is short reaches the node as an error of one frame."""
    embedder = loaded(model)
    limit = torch.cuda.mem_get_info()[1]
    with pytest.raises(torch.cuda.OutOfMemoryError):
        torch.empty(2 * limit, dtype=torch.uint8, device="cuda")
    assert embedder.embed(IMAGES[:1])[0].descriptor.size == embedder.descriptor_size
