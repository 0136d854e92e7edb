"""Checkpoints of the published layouts without values, from the lists of names and shapes."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

KEYS = Path(__file__).parent / "published_keys"
RANGE = re.compile(r"(?<=\.)(\d+)-(\d+)(?=\.)")


TRUNKS = ("dinov2-vitg14",)
"""Lists of a trunk alone, whose card takes another file for its head."""


def layout_names() -> list[str]:
    """The cards whose checkpoints hold all that they need."""
    return sorted(path.stem for path in KEYS.glob("*.tsv") if path.stem not in TRUNKS)


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Every key of a model's checkpoint and its shape."""
    found = {}
    for line in (KEYS / f"{name}.tsv").read_text().splitlines():
        key, sides = line.split("\t")
        shape = () if sides == "scalar" else tuple(map(int, sides.split("x")))
        match = RANGE.search(key)
        places = range(int(match[1]), int(match[2]) + 1) if match else [0]
        for place in places:
            found[RANGE.sub(str(place), key) if match else key] = shape
    return found


def empty_checkpoint(name: str) -> dict[str, Tensor]:
    """Tensors of the published shapes on the meta device, each an object of its own."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes(name).items()}
