"""Networks in MatConvNet's .mat files, such as the authors' NetVLAD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.reading import parsing, read_matlab

AVERAGE_IMAGE = "net.meta.normalization.averageImage"
TOLERANCE = 0.05
"""Grey levels of 255 by which a card's mean may differ from the file's."""


def read_matconvnet(path: Path) -> dict[str, Tensor]:
    """`net.layers.<i>.weights.<j>` of every layer with weights, in the file's own shapes.

    Also `AVERAGE_IMAGE` where the file has it: what it subtracts from images of 0 to 255, (3,).

    Needs scipy, of the extra `transformers` or `train`. Numbers are read, nothing is run.
    """
    fault = f"Weight file {path} is no MatConvNet network"
    remedy = "get it again from its source"
    content, found = read_matlab(path, fault, remedy), {}
    with parsing(fault, remedy):
        for index, layer in enumerate(np.atleast_1d(content["net"].layers)):
            for number, values in enumerate(_weights(layer)):
                tensor = torch.from_numpy(np.array(values, np.float32))
                found[f"net.layers.{index}.weights.{number}"] = tensor
        average = _average_image(content["net"])
    return found if average is None else {**found, AVERAGE_IMAGE: average}


def check_average_image(
    tensors: Mapping[str, Tensor], mean: Sequence[float], std: Sequence[float], what: str
) -> None:
    """SaaneError where a file subtracts other values than `mean` and `std` (of 0 to 1) stand for.

    MatConvNet's networks take images of 0 to 255 that nothing divides.
    """
    average = tensors.get(AVERAGE_IMAGE)
    if average is None:
        return
    given = 255 * torch.tensor(mean)
    divided = 255 * torch.tensor(std)
    if (average - given).abs().max() > TOLERANCE or (divided - 1).abs().max() > 1e-3:
        wanted = ", ".join(f"{value / 255:.6f}" for value in average.tolist())
        raise SaaneError(
            f"{what} was trained on images less {_listed(average)} and divided by 1, where the "
            f"model card stands for {_listed(given)} and {_listed(divided)}: set "
            f"preprocessing.mean to [{wanted}] and every value of preprocessing.std to 1 / 255."
        )


def _listed(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in values.tolist()) + ")"


def _average_image(net: object) -> Tensor | None:
    normalization = getattr(getattr(net, "meta", None), "normalization", None)
    values = np.asarray(getattr(normalization, "averageImage", ()))
    if values.dtype.kind not in "fui" or not values.size or values.size % 3:
        return None
    return torch.from_numpy(values.reshape(-1, 3).mean(axis=0).astype(np.float32))


def _weights(layer: object) -> list[np.ndarray]:
    values = getattr(layer, "weights", ())
    return [np.asarray(one) for one in values if np.asarray(one).dtype.kind == "f"]
