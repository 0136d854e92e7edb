"""A network as an ONNX graph: one exporter for every card.

A graph takes uint8 images (B, height, width, 3) of the card's size, so that normalising is part of
it, and gives what the network gives: descriptor, attention maps, class scores, feature grid.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.averaging import averaged_by_product
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.model.saane import SaaneNetwork, SaaneOutput

INPUT = "images"
OUTPUTS = SaaneOutput._fields
OPSET = 17

_TRACED = 2
"""Images in the traced batch: one would let a shape of the batch pass for a constant."""


class FromPixels(nn.Module):
    """A network behind its preprocessing: uint8 images (B, h, w, 3) to its output."""

    def __init__(
        self,
        network: SaaneNetwork | DenseVlad,
        preprocessing: Preprocessing,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.network, self.preprocessing, self.dtype = network, preprocessing, dtype

    def forward(self, images: Tensor, labels: bool = False) -> SaaneOutput:
        pixels = self.preprocessing.normalise(images.permute(0, 3, 1, 2)).to(self.dtype)
        output: SaaneOutput = self.network(pixels, labels=labels)
        return output


class ExportedNetwork(FromPixels):
    """The same in float32, with those of its outputs that it has."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return tuple(value for value in super().forward(images) if value is not None)


def export(
    network: SaaneNetwork | DenseVlad, preprocessing: Preprocessing, path: Path, batches: bool
) -> tuple[str, ...]:
    """Write the graph of a float32 network on the CPU, of the card's size.

    batches: for any number of images; else for one.

    Returns the names of its outputs.  Raises SaaneError where the network has a step that ONNX
    lacks.
    """
    if isinstance(network, DenseVlad):
        raise SaaneError(
            "The network cannot be exported to ONNX: its dense SIFT is computed by OpenCV."
        )
    wrapped = ExportedNetwork(network, preprocessing, torch.float32).eval()
    shape = (_TRACED if batches else 1, preprocessing.height, preprocessing.width, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator())
    try:
        with (
            torch.no_grad(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),  # it prints the whole graph where it fails
            StaticPooling(),
        ):
            # The exporter that follows torch.export needs one more package and knows less of SIFT.
            warnings.simplefilter("ignore")
            output = network(preprocessing.normalise(images.permute(0, 3, 1, 2)))
            names = [n for n, v in zip(OUTPUTS, output, strict=True) if v is not None]
            torch.onnx.export(
                wrapped,
                (images,),
                str(path),
                dynamo=False,
                input_names=[INPUT],
                output_names=names,
                dynamic_axes={name: {0: "batch"} for name in (INPUT, *names) if batches},
                opset_version=OPSET,
            )
    except Exception as error:  # whatever a foreign network makes the exporter raise
        reason = str(error).strip().split("\n")[0][:200].rstrip(".: ") or type(error).__name__
        raise SaaneError(f"The network cannot be exported to ONNX ({reason}).") from error
    return tuple(names)


class StaticPooling(TorchFunctionMode):
    """While a network is traced: adaptive pooling and resizing written with the sizes at hand.

    The exporter refuses 15 x 20 cells into 4 x 4 fields, and takes a size that is read off a tensor
    for one that may change. An average is a product with constants; a maximum is taken slice by
    slice.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.adaptive_avg_pool2d:
            return averaged_by_product(*args, **kwargs)
        if func is functional.adaptive_max_pool2d:
            return largest(*args[:2])
        if func is functional.interpolate and isinstance(kwargs.get("size"), Sequence):
            kwargs["size"] = tuple(int(side) for side in kwargs["size"])
        return func(*args, **kwargs)


def largest(features: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """`functional.adaptive_max_pool2d` by slices."""
    rows, columns = _fields(features, output_size)
    lines = [
        torch.stack([features[..., r, c].amax(dim=(-2, -1)) for c in columns], dim=-1) for r in rows
    ]
    return torch.stack(lines, dim=-2)


def _fields(features: Tensor, output_size: int | Sequence[int]) -> tuple[list[slice], list[slice]]:
    """The rows and the columns of every field, as PyTorch divides them."""
    wanted = (output_size, output_size) if isinstance(output_size, int) else output_size
    sides = [int(side) for side in features.shape[-2:]]
    rows, columns = (
        [slice(i * side // count, -(-(i + 1) * side // count)) for i in range(count)]
        for side, count in zip(sides, (int(count) for count in wanted), strict=True)
    )
    return rows, columns
