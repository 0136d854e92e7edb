"""The sizes of published place recognition layers in a card, and what each layer needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class LayerCard:
    """How a published layer makes a descriptor of the trunk's features; 0 for what it lacks.

    channels: of a local feature inside the layer.  output: values behind a last linear layer.
    rows: mixvpr and boq, mixtures of channels; convap, cells a side.  depth: blocks of mixvpr, boq.
    queries: of a block of boq.  clusters: salad, megaloc, anyloc.  token: values that salad and
    megaloc make of the class token.
    """

    channels: int = 0
    output: int = 0
    rows: int = 0
    depth: int = 0
    queries: int = 0
    clusters: int = 0
    token: int = 0


SALAD = ("clusters", "channels", "token")
NEEDED: dict[str, tuple[str, ...]] = {
    "gem": (),
    "cosplace": ("output",),
    "convap": ("channels", "rows"),
    "mixvpr": ("channels", "rows", "depth"),
    "boq": ("channels", "rows", "depth", "queries"),
    "salad": SALAD,
    "megaloc": (*SALAD, "output"),
    "anyloc": ("clusters",),
    "cricavpr": (),
    "selavpr": (),
    "selavpr_pp": ("output",),
}
"""What each system's layer is sized by; a whitened gem has output too."""
OPTIONAL = {"gem": ("output",)}
ON_VIT = ("salad", "megaloc", "anyloc", "cricavpr", "selavpr", "selavpr_pp")
"""Systems that take a class token, adapters or a facet, which only vision transformers have."""
ADAPTED = ("cricavpr", "selavpr", "selavpr_pp")
"""Systems whose checkpoints have adapters, of the same name, in the trunk."""
CRICA_REGIONS = 14


def layer_size(system: str, layer: LayerCard, inputs: int) -> int:
    """Values of the descriptor; inputs: channels of the trunk."""
    if system == "convap":
        return layer.channels * layer.rows**2
    if system in ("mixvpr", "boq"):
        return layer.channels * layer.rows
    if system == "salad":
        return layer.clusters * layer.channels + layer.token
    if system == "anyloc":
        return layer.clusters * inputs
    if system == "cricavpr":
        return CRICA_REGIONS * inputs
    return layer.output or inputs


def layer_problems(system: str, layer: LayerCard | None) -> Iterator[str]:
    """Sizes that are missing, needless or no sizes."""
    if system not in NEEDED:
        if layer is not None:
            yield f"system {system} has no layer"
        return
    needed, optional = NEEDED[system], OPTIONAL.get(system, ())
    for key, value in asdict(layer or LayerCard()).items():
        if value < 0 or (key in needed and value == 0):
            yield f"layer.{key} must be greater than 0 for system {system}"
        if value and key not in (*needed, *optional):
            yield f"layer.{key} does not apply to system {system}"
    if system == "boq" and layer is not None and layer.channels % 64:
        yield f"layer.channels is {layer.channels} instead of a multiple of 64"
