"""TFLite files: a network's convolutions as tensors, and MOSAIC's under the names of our Mosaic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.reading import parsing

IDENTIFIER = b"TFL3"
AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}
"""Operators with weights, and how their axes become PyTorch's (output, input, height, width)."""
STORED = {"FLOAT32": "<f4", "INT32": "<i4", "UINT8": "u1", "INT8": "i1"}
SPP = "spatial_pyramid_pooling_multikernel_conv"
PYRAMID = re.compile(rf"{SPP}/{SPP}([123])multikernel_split([01])_(depthwise|pointwise)\.(\w+)")
BLOCK = re.compile(
    r"MobilenetV3/expanded_conv(?:_([1-9][0-9]?))?/(expand|depthwise|project)\.(\w+)"
)
LAYERS = {
    "MobilenetV3/Conv": "stem",
    "MobilenetV3/Conv_1": "head",
    f"{SPP}/concat_projection": "context",
    "decoder/decoder_feature_projected1_1": "skip4",
    "decoder/decoder_feature_conv_0": "dec_conv",
    "decoder/decoder_separable_conv_0_depthwise": "dec_dw",
    "decoder/decoder_separable_conv_0_pointwise": "dec_pw",
}


def read_tflite(path: Path) -> dict[str, Tensor]:
    """`<layer>.weight` and `<layer>.bias` of every convolution, float32, in PyTorch's axes.

    Quantised values are brought back to real ones. Needs the package tflite, of the extra `mosaic`.
    Only numbers are read, the network is not run; what is damaged is told as a SaaneError.
    """
    try:
        import tflite
    except ImportError as error:
        raise SaaneError(
            f"Reading {path} needs the package tflite: pip install 'saane_ros[mosaic]', or "
            "pip install tflite."
        ) from error
    with parsing(f"Weight file {path} is no TFLite network", "get it again from its source"):
        content = path.read_bytes()
        if content[4:8] != IDENTIFIER:
            raise ValueError(f"it lacks the mark {IDENTIFIER.decode()}")
        found: dict[str, Tensor] = {}
        room = len(content)
        for name, values in _convolutions(tflite.Model.GetRootAs(content, 0), tflite):
            room -= values.size
            if name in found or room < 0:
                raise ValueError(f"{name[:80]} comes twice or its values overlap")
            found[name] = torch.from_numpy(values)
        if not found:
            raise ValueError("it has no convolutions")
    return found


def mosaic_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the published MOSAIC R4 under Mosaic's names.

    A file already under these passes unchanged, and a foreign layer keeps its name so that strict
    loading tells it.
    """
    return {_own_name(name): value for name, value in tensors.items()}


def _own_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    if layer in LAYERS:
        return f"{LAYERS[layer]}.{kind}"
    if block := BLOCK.fullmatch(name):
        return f"blocks.{int(block[1] or 0)}.{block[2]}.{block[3]}"
    if part := PYRAMID.fullmatch(name):
        place = ("depthwise", "pointwise").index(part[3])
        return f"spp.{int(part[1]) - 1}.{part[2]}.{place}.{part[4]}"
    return name


def _convolutions(model: Any, tflite: Any) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Weight and bias of every convolution of the only graph, by name."""
    axes = {getattr(tflite.BuiltinOperator, name): order for name, order in AXES.items()}
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Files before the 128th operator have it in the older field alone.
        order = axes.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        if order is None:
            continue
        weight, bias = (graph.Tensors(operator.Inputs(place)) for place in (1, 2))
        layer = weight.Name().decode().split(";")[0].rpartition("/")[0]
        values = _real_values(model, weight, tflite)
        yield f"{layer}.weight", np.ascontiguousarray(values.transpose(order))
        yield f"{layer}.bias", _real_values(model, bias, tflite)


def _real_values(model: Any, tensor: Any, tflite: Any) -> NDArray[np.float32]:
    """The values of a constant tensor: (stored - zero point) x scale where it is quantised."""
    kinds = {getattr(tflite.TensorType, name): kind for name, kind in STORED.items()}
    stored = np.asarray(model.Buffers(tensor.Buffer()).DataAsNumpy(), np.uint8)
    values: NDArray[Any] = stored.view(kinds[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
    if tensor.Type() != tflite.TensorType.FLOAT32:
        given = tensor.Quantization()
        along = [-1 if axis == given.QuantizedDimension() else 1 for axis in range(values.ndim)]
        zero, scale = (
            np.broadcast_to(one.reshape(along), values.shape)
            for one in (given.ZeroPointAsNumpy(), given.ScaleAsNumpy())
        )
        values = (values - zero) * scale
    with np.errstate(over="ignore"):
        real = values.astype(np.float32)
    if not np.isfinite(real).all():
        raise ValueError("it holds values that are no numbers")
    return real
