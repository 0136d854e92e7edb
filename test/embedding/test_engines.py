"""Engines beside PyTorch: real exports of small networks, and what is said where one cannot be."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from own_features import GRID_SHAPES, own_embedder
from scenes import smooth_scene
from test_network_embedder import write_model
from torch.nn import functional

from saane_ros.embedding import choice as choices
from saane_ros.embedding import engines
from saane_ros.embedding.choice import Choice, choice_file, keep_choice, kept_choice
from saane_ros.embedding.export import largest
from saane_ros.embedding.graphs import GRAPH, quantise
from saane_ros.embedding.loading import load_embedder, load_exportable
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.errors import SaaneError
from saane_ros.model.averaging import averaged_by_product

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("openvino", reason="the extra openvino is not installed")

IMAGES = [smooth_scene(1), smooth_scene(2, 240, 320), smooth_scene(3, 48, 64)]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SAANE_CACHE", str(tmp_path / "cache"))
    return str(write_model(tmp_path))


def loaded(model: str, engine: str, precision: str = "auto") -> NetworkEmbedder:
    return load_embedder(model, "", "cpu", precision, 1, engine=engine)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_graph_gives_all_that_the_network_gives(model: str, engine: str) -> None:
    plain, other = loaded(model, "torch"), loaded(model, engine)
    assert other.engine == engine
    assert other.fingerprint == plain.fingerprint
    for batch in (IMAGES[:1], IMAGES):
        expected = plain.embed(batch, attention=True, labels=True, grid=True)
        found = other.embed(batch, attention=True, labels=True, grid=True)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine.descriptor, theirs.descriptor, atol=1e-4)
            assert mine.attention.keys() == theirs.attention.keys() == {"appearance", "semantic"}
            for name, values in theirs.attention.items():
                np.testing.assert_allclose(mine.attention[name], values, atol=1e-4)
            np.testing.assert_allclose(mine.grid, theirs.grid, atol=1e-4)
            assert np.mean(mine.labels == theirs.labels) > 0.999


def test_a_batch_is_what_its_images_are_alone(model: str) -> None:
    embedder = loaded(model, "openvino", "bf16")
    assert (embedder.precision, embedder.dtype) == ("bf16", torch.float32)
    for image, together in zip(IMAGES, embedder.embed(IMAGES), strict=True):
        alone = embedder.embed([image])[0].descriptor
        assert alone @ together.descriptor / 100 > 0.999


def test_int8_learns_from_images_and_needs_them(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    assert loaded(model, "onnx", "int8").engine == "torch"
    assert "has no int8 graph" in caplog.text
    exportable = load_exportable(model)
    quantise(exportable, list(exportable.preprocessing.resized(IMAGES)))
    expected = loaded(model, "torch").embed(IMAGES)
    for engine in ("onnx", "openvino"):
        rounded = loaded(model, engine, "int8")
        assert rounded.engine == engine
        for mine, theirs in zip(rounded.embed(IMAGES), expected, strict=True):
            cosine = mine.descriptor @ theirs.descriptor / 100
            assert 0.97 < cosine < 0.999999


def test_bfloat16_on_pytorch_stays_near(model: str) -> None:
    exact, rounded = (loaded(model, "torch", p).embed(IMAGES) for p in ("fp32", "bf16"))
    for mine, theirs in zip(rounded, exact, strict=True):
        assert 0.99 < mine.descriptor @ theirs.descriptor / 100 < 0.999999


def test_a_library_that_is_absent_is_named_and_pytorch_goes_on(
    model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(engines.PACKAGES, "onnx", "no_such_runtime")
    embedder = loaded(model, "onnx")
    assert (embedder.engine, embedder.embed(IMAGES)[0].descriptor.size) == ("torch", 480)
    (sentence,) = caplog.messages
    assert sentence == (
        "Engine onnx needs the package no_such_runtime, which is not installed: pip install "
        '"saane_ros[onnx]". PyTorch goes on.'
    )
    with pytest.raises(SaaneError, match="no_such_runtime"):
        load_embedder(model, "", "cpu", engine="onnx", strict=True)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_graph_is_named_and_pytorch_goes_on(
    model: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = loaded(model, "onnx").embed(IMAGES)[0].descriptor
    (graph,) = (tmp_path / "cache").rglob(GRAPH)
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 0xFF
    if damage == "gone":
        graph.unlink()
    else:
        graph.write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    embedder = loaded(model, "onnx")
    assert embedder.engine == "torch"
    np.testing.assert_allclose(embedder.embed(IMAGES)[0].descriptor, expected, atol=1e-4)
    (sentence,) = caplog.messages
    assert f"{graph} is damaged: remove its folder" in sentence


def test_a_network_that_cannot_be_exported_says_so(
    model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def sorted_by_unique(features: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(features)  # a step that ONNX lacks

    monkeypatch.setattr("saane_ros.model.heads.scaled_unit", sorted_by_unique)
    embedder = loaded(model, "openvino")
    assert embedder.engine == "torch"
    (sentence,) = caplog.messages
    assert sentence.startswith("The network cannot be exported to ONNX (")


def test_a_graph_that_says_otherwise_is_refused(
    model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def shifted(features: torch.Tensor, output_size: int) -> torch.Tensor:
        return averaged_by_product(features, output_size) + 0.05

    monkeypatch.setattr("saane_ros.embedding.export.averaged_by_product", shifted)
    assert loaded(model, "onnx").engine == "torch"
    assert "gives other values on onnx than on torch" in caplog.text


def test_auto_takes_the_stored_choice_where_it_fits(model: str) -> None:
    fingerprint = load_exportable(model).fingerprint
    assert loaded(model, "auto").engine == "torch"
    keep_choice(fingerprint, "cpu", Choice("openvino", "bf16"))
    assert kept_choice(fingerprint, "cpu") == Choice("openvino", "bf16")
    assert loaded(model, "auto").engine == "openvino"
    assert loaded(model, "openvino").engine == "openvino"
    assert loaded(model, "torch").engine == "torch"
    assert loaded(model, "auto", "fp32").engine == "torch"


def test_a_choice_of_other_versions_is_not_taken(
    model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fingerprint = load_exportable(model).fingerprint
    keep_choice(fingerprint, "cpu", Choice("openvino", "bf16"))
    path = choice_file(fingerprint, "cpu")
    document = json.loads(path.read_text())
    there = document["versions"]["openvino"]
    document["versions"]["openvino"] = "2020.1"
    path.write_text(json.dumps(document))
    assert loaded(model, "auto").engine == "torch"
    assert caplog.messages == [
        f"Engine openvino was chosen with openvino 2020.1, and {there} is installed now: tune the "
        "model again. PyTorch goes on."
    ]
    monkeypatch.setitem(choices.PACKAGES, "openvino", "no_such_runtime")
    document["versions"] = {"no_such_runtime": "1.0", **choices.versions("torch")}
    path.write_text(json.dumps(document))
    assert loaded(model, "auto").engine == "torch"
    assert caplog.messages[-1] == (
        "Engine openvino was chosen with no_such_runtime 1.0, and it is not installed now: tune "
        "the model again. PyTorch goes on."
    )


@given(st.binary(max_size=200))
def test_a_damaged_choice_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAANE_CACHE", str(tmp_path_factory.getbasetemp() / "damaged"))
        path = choice_file("0123", "cpu")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        with pytest.raises(SaaneError, match="is damaged: tune the model again"):
            kept_choice("0123", "cpu")


@pytest.mark.parametrize(
    ("engine", "precision"), [("torch", "int8"), ("onnx", "bf16"), ("compiled", "int8")]
)
def test_a_precision_that_an_engine_lacks_is_an_error(
    model: str, engine: str, precision: str
) -> None:
    with pytest.raises(SaaneError, match=f"Engine {engine} has no precision {precision}"):
        loaded(model, engine, precision)


def test_providers_prefer_the_gpu_unless_the_cpu_is_asked_for() -> None:
    built = ["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
    path = Path("cache/engines/a/graph.onnx")
    found = engines._providers(built, "fp16", path, "auto")
    assert [name for name, _ in found] == list(engines.PROVIDERS)
    assert found[0][1]["trt_fp16_enable"] == "True"
    assert found[0][1]["trt_engine_cache_path"] == str(Path("cache/engines/tensorrt"))
    (alone,) = engines._providers(built, "fp32", path, "cpu")
    assert alone == ("CPUExecutionProvider", {})
    with pytest.raises(SaaneError, match="fp16 with TensorRT alone"):
        engines._providers(built[:2], "fp16", path, "auto")


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(1, 6), st.integers(0, 9)
)
def test_static_pooling_is_adaptive_pooling(
    height: int, width: int, rows: int, columns: int, seed: int
) -> None:
    features = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    size = (rows, columns)
    expected = functional.adaptive_avg_pool2d(features, size)
    torch.testing.assert_close(averaged_by_product(features, size), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(largest(features, size), functional.adaptive_max_pool2d(features, size))


def test_compiled_hands_batches_to_the_network_itself(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling takes a minute, so here it only counts what it is given."""
    seen: list[int] = []

    def counting(network: torch.nn.Module, dynamic: bool) -> object:
        def run(pixels: torch.Tensor, labels: bool = False) -> object:
            seen.append(len(pixels))
            return network(pixels, labels=labels)

        return run

    monkeypatch.setattr(torch, "compile", counting)
    compiled, plain = loaded(model, "compiled"), loaded(model, "torch")
    seen.clear()
    for batch in (IMAGES[:1], IMAGES):
        found, expected = compiled.embed(batch), plain.embed(batch)
        np.testing.assert_array_equal(found[0].descriptor, expected[0].descriptor)
    assert seen == [1]


@pytest.mark.parametrize("kind", GRID_SHAPES)
def test_compiled_gives_local_features_beside_grids(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One compiled network serves maps of either."""
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    compiled, plain = own_embedder(kind, "compiled"), own_embedder(kind)
    for image in IMAGES:
        for one, other in ((compiled, plain), (compiled.with_own_grids(), plain.with_own_grids())):
            found, expected = one.embed([image], grid=True)[0], other.embed([image], grid=True)[0]
            np.testing.assert_array_equal(found.grid, expected.grid)
        assert found.grid.shape == GRID_SHAPES[kind]


def test_a_compiler_that_fails_is_told_and_pytorch_goes_on(
    model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(network: torch.nn.Module, dynamic: bool) -> object:
        def run(pixels: torch.Tensor, labels: bool = False) -> object:
            raise RuntimeError("No working C++ compiler found\nin /usr")

        return run

    monkeypatch.setattr(torch, "compile", failing)
    with caplog.at_level(logging.WARNING):
        assert loaded(model, "compiled").engine == "torch"
    assert caplog.messages == [
        "torch.compile does not work here (No working C++ compiler found): install a C++ compiler. "
        "PyTorch goes on."
    ]
