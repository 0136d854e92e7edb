"""Networks in MatConvNet's .mat files, such as the authors' NetVLAD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saane_ros.errors import SaaneError


def read_matconvnet(path: Path) -> dict[str, Tensor]:
    """`net.layers.<i>.weights.<j>` of every layer with weights, in the file's own shapes.

    Needs scipy, of the extra `transformers` or `train`. Numbers are read, nothing is run.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise SaaneError(
            f"Reading {path} needs scipy: pip install scipy, or convert it to safetensors."
        ) from error
    try:
        content = loadmat(path, struct_as_record=False, squeeze_me=True)
        layers = np.atleast_1d(content["net"].layers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SaaneError(
            f"Weight file {path} is no MatConvNet network ({reason}): get it again from its source."
        ) from error
    found = {}
    for index, layer in enumerate(layers):
        for number, values in enumerate(_weights(layer)):
            tensor = torch.from_numpy(np.array(values, np.float32))
            found[f"net.layers.{index}.weights.{number}"] = tensor
    return found


def _weights(layer: object) -> list[np.ndarray]:
    values = getattr(layer, "weights", ())
    return [np.asarray(one) for one in values if np.asarray(one).dtype.kind == "f"]
