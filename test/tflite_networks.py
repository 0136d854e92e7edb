"""TFLite files of random uint8 weights, as MLPerf's MOSAIC R4 has them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

SPP = "spatial_pyramid_pooling_multikernel_conv"
SEED = 5

Shape = tuple[int, int, int, int]


def layers() -> dict[str, Shape]:
    """Every convolution of the published graph: its name and shape in TensorFlow's axes."""
    blocks = [(32, 96, 3, 32), (32, 64, 3, 32), (32, 160, 5, 64)]
    blocks += [(64, middle, 3, 64) for middle in (192, 128, 192)] + [(64, 384, 5, 128)]
    blocks += [(128, 384, 3, 128)] * 3 + [(128, 768, 3, 160), (160, 640, 3, 160)]
    blocks += [(160, 960, 3, 192), (192, 384, 5, 96), (96, 384, 5, 96), (96, 384, 5, 96)]
    found: dict[str, Shape] = {"MobilenetV3/Conv": (32, 3, 3, 3)}
    for index, (inputs, middle, size, outputs) in enumerate(blocks):
        name = f"MobilenetV3/expanded_conv{f'_{index}' if index else ''}"
        found[f"{name}/expand"] = (middle, 1, 1, inputs)
        found[f"{name}/depthwise"] = (1, size, size, middle)
        found[f"{name}/project"] = (outputs, 1, 1, middle)
    found["MobilenetV3/Conv_1"] = (448, 1, 1, 96)
    found["decoder/decoder_feature_projected1_1"] = (32, 1, 1, 64)
    for grid in (1, 2, 3):
        for split, size in ((0, 3), (1, 5)):
            name = f"{SPP}/{SPP}{grid}multikernel_split{split}"
            found[f"{name}_depthwise"] = (1, size, size, 224)
            found[f"{name}_pointwise"] = (64, 1, 1, 224)
    found[f"{SPP}/concat_projection"] = (128, 1, 1, 832)
    found["decoder/decoder_feature_conv_0"] = (64, 1, 1, 320)
    found["decoder/decoder_separable_conv_0_depthwise"] = (1, 3, 3, 64)
    found["decoder/decoder_separable_conv_0_pointwise"] = (32, 1, 1, 64)
    return found


def is_depthwise(name: str) -> bool:
    return name.endswith("depthwise")


@cache
def stored(name: str, shape: Shape) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Weight (uint8), bias (int32), the weight's scale and zero point, from the layer's name."""
    random = np.random.default_rng([SEED, *name.encode()])
    weight = random.integers(0, 256, shape, np.uint8)
    bias = random.integers(-5000, 5000, shape[3 if is_depthwise(name) else 0]).astype(np.int32)
    fan = shape[1] * shape[2] * (1 if is_depthwise(name) else shape[3])
    return weight, bias, float(np.float32(0.02 / fan**0.5)), int(random.integers(100, 156))


BIAS_SCALE = 2.0**-16


def tflite_bytes(
    shapes: dict[str, Shape], scales: int = 1, named: dict[str, str] | None = None
) -> bytes:
    """A file with these layers, one after another.

    scales: 1 for one a tensor, more for one a channel of the last axis.  named: other names.
    """
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="needs litert")
    flatbuffers = pytest.importorskip("flatbuffers")
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [0], [0]
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = [schema.OperatorCodeT() for _ in range(3)]
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")
    for code, kind in zip(model.operatorCodes, kinds, strict=True):
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)

    def add(name: str, values: np.ndarray | None, kind: str, scale: Any, zero: Any) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type = name, getattr(schema.TensorType, kind)
        tensor.shape = [1, 8, 8, 1] if values is None else list(values.shape)
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = scale, zero
        tensor.quantization.quantizedDimension = 3 if len(scale) > 1 else 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    flow = add("PreprocessedImageTensor", None, "UINT8", [1.0], [0])
    for name, shape in shapes.items():
        weight, bias, scale, zero = stored(name, shape)
        told = (named or {}).get(name, name)
        operation = "depthwise_Fold" if is_depthwise(name) else "Conv2D_Fold"
        many = shape[3] if scales > 1 else 1
        steps = [scale * (1 + index) for index in range(many)]
        operator = schema.OperatorT()
        operator.opcodeIndex = int(is_depthwise(name))
        operator.inputs = [
            flow,
            add(f"{told}/{operation};{told}/weights", weight, "UINT8", steps, [zero] * many),
            add(f"{told}/BatchNorm_Fold/bias", bias, "INT32", [BIAS_SCALE], [0]),
        ]
        flow = add(f"{told}/Relu", None, "UINT8", [1.0], [0])
        operator.outputs = [flow]
        between = schema.OperatorT()
        between.opcodeIndex, between.inputs, between.outputs = 2, [flow, flow], [flow]
        graph.operators += [operator, between]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@cache
def mosaic_bytes() -> bytes:
    return tflite_bytes(layers())
