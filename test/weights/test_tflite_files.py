"""TFLite files: values as they are stored, names, and damage told in one sentence."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz.mutations import mutated
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_networks import BIAS_SCALE, is_depthwise, layers, mosaic_bytes, stored, tflite_bytes

from saane_ros.errors import SaaneError
from saane_ros.model.mosaic import Mosaic
from saane_ros.weights.checkpoints import load_strict
from saane_ros.weights.tensors import read_tensors
from saane_ros.weights.tflite_files import mosaic_tensors

pytest.importorskip("tflite", reason="needs the extra mosaic")

SMALL = {"a/first": (3, 2, 2, 4), "a/first_depthwise": (1, 3, 3, 3), "b/last": (5, 1, 1, 3)}
# Where one layer of each kind must arrive, by hand.
ARRIVALS = {
    "MobilenetV3/Conv": "stem",
    "MobilenetV3/expanded_conv/expand": "blocks.0.expand",
    "MobilenetV3/expanded_conv_13/depthwise": "blocks.13.depthwise",
    "MobilenetV3/Conv_1": "head",
    "spatial_pyramid_pooling_multikernel_conv/spatial_pyramid_pooling_multikernel_conv2"
    "multikernel_split1_pointwise": "spp.1.1.1",
    "spatial_pyramid_pooling_multikernel_conv/concat_projection": "context",
    "decoder/decoder_feature_projected1_1": "skip4",
    "decoder/decoder_separable_conv_0_depthwise": "dec_dw",
}


@cache
def small_bytes() -> bytes:
    return tflite_bytes(SMALL)


def read(content: bytes, folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "net.tflite"
    path.write_bytes(content)
    return read_tensors(path)


def by_hand(name: str, shape: tuple, many: bool = False) -> np.ndarray:
    """The weight value by value, in the axes (output, input, height, width)."""
    weight, _, scale, zero = stored(name, shape)
    real = np.empty(
        (shape[3], 1, *shape[1:3]) if is_depthwise(name) else (shape[0], shape[3], *shape[1:3])
    )
    for at in np.ndindex(*shape):
        value = (int(weight[at]) - zero) * scale * (1 + at[3] if many else 1)
        real[(at[3], 0, at[1], at[2]) if is_depthwise(name) else (at[0], at[3], at[1], at[2])] = (
            value
        )
    return real


@pytest.mark.parametrize("scales", [1, 2])
def test_values_are_real_ones_in_the_axes_of_torch(scales, tmp_path):
    found = read(tflite_bytes(SMALL, scales), tmp_path)
    assert list(found) == [f"{name}.{kind}" for name in SMALL for kind in ("weight", "bias")]
    for name, shape in SMALL.items():
        assert found[f"{name}.weight"].dtype == torch.float32
        np.testing.assert_allclose(
            found[f"{name}.weight"].numpy(), by_hand(name, shape, scales > 1), rtol=1e-6
        )
        bias = stored(name, shape)[1] * BIAS_SCALE
        np.testing.assert_array_equal(found[f"{name}.bias"].numpy(), bias)


def test_the_published_layers_fill_mosaic(tmp_path):
    network = Mosaic()
    load_strict(network, mosaic_tensors(read(mosaic_bytes(), tmp_path)), "It")
    state = network.state_dict()
    assert 2 * len(layers()) == len(state)
    for name, arrival in ARRIVALS.items():
        np.testing.assert_allclose(
            state[f"{arrival}.weight"].numpy(), by_hand(name, layers()[name]), rtol=1e-6
        )
    assert mosaic_tensors(state).keys() == state.keys()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda shapes: shapes.pop("MobilenetV3/Conv_1"), r"2 keys missing \(head\.weight, head"),
        (
            lambda shapes: shapes.update({"decoder/extra": (4, 1, 1, 4)}),
            r"2 keys the network does not have \(decoder/extra\.weight",
        ),
        (
            lambda shapes: shapes.update({"MobilenetV3/Conv": (32, 5, 5, 3)}),
            r"of the wrong shape \(stem\.weight 32x3x5x5 instead of 32x3x3x3\)",
        ),
    ],
)
def test_missing_foreign_and_misshapen_layers_are_told(
    change: Callable[[dict], object], told: str, tmp_path: Path
) -> None:
    shapes = layers()
    change(shapes)
    with pytest.raises(SaaneError, match=f"It does not fit the network: .*{told}"):
        load_strict(Mosaic(), mosaic_tensors(read(tflite_bytes(shapes), tmp_path)), "It")


def test_a_layer_that_comes_twice_is_told(tmp_path):
    twice = tflite_bytes(SMALL, named={"b/last": "a/first"})
    with pytest.raises(SaaneError, match=r"no TFLite network \(a/first\.weight comes twice"):
        read(twice, tmp_path)


def test_tensors_that_share_more_than_the_file_holds_are_told(tmp_path):
    # Every layer points at the one buffer, as a file that wants much memory for few bytes.
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="needs litert")
    flatbuffers = pytest.importorskip("flatbuffers")
    shapes = {f"layer{index}": (64, 8, 8, 64) for index in range(3)}
    model = schema.ModelT.InitFromPackedBuf(bytearray(tflite_bytes(shapes)), 0)
    weights = [tensor for tensor in model.subgraphs[0].tensors if b"weights" in tensor.name]
    for tensor in weights:
        tensor.buffer = weights[0].buffer
    model.buffers = [
        buffer if index <= 2 or len(buffer.data) < 1000 else schema.BufferT()
        for index, buffer in enumerate(model.buffers)
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(SaaneError, match="its values overlap"):
        read(bytes(builder.Output()), tmp_path)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200)
def test_damage_is_told_in_one_sentence(seed, tmp_path_factory):
    whole = small_bytes()
    content = mutated(whole, random.Random(seed), [whole])
    found, told = {}, ""
    try:
        found = read(content, tmp_path_factory.getbasetemp())
    except SaaneError as error:
        told = str(error)
    assert found or re.fullmatch(r"Weight file [^\n]+ is no TFLite network [^\n]+\.", told)
    assert all(torch.isfinite(values).all() for values in found.values())
    assert sum(values.numel() for values in found.values()) <= len(content)


@given(size=st.integers(0, 3000))
def test_a_cut_file_is_told(size, tmp_path_factory):
    whole = small_bytes()
    with pytest.raises(SaaneError, match="is no TFLite network"):
        read(whole[: size % len(whole)], tmp_path_factory.getbasetemp())


def test_without_the_extra_the_remedy_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(SaaneError, match=r"needs the package tflite: pip install 'saane_ros\["):
        read(b"", tmp_path)
