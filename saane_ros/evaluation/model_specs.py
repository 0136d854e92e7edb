"""From the text that names a model to what stands in the table."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from saane_ros.embedding.loading import load_embedder
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.embedding.untrained import PREFIX, load_untrained
from saane_ros.errors import SaaneError
from saane_ros.evaluation.postprocessed import RAW, SUFFIXES, split_suffix
from saane_ros.evaluation.systems import InputSize, ModelSystem, System, file_system
from saane_ros.model.heads import HEADS
from saane_ros.weights.cards import System as Wiring

ARRAY_SUFFIXES = (".npz", ".npy")


def open_system(
    spec: str,
    weights: str = "",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    size: InputSize | None = None,
    rerank: str = "",
) -> System:
    """A descriptor or score file, an untrained trunk, or a card with an optional wiring.

    rerank: as of `ModelSystem`.  Trunks and cards may have a suffix of `postprocessed.SUFFIXES`.
    """
    path = Path(spec).expanduser()
    if path.suffix in ARRAY_SUFFIXES:
        return file_system(path)
    if size is not None and min(size.longer or size.height, size.longer or size.width) < 1:
        raise SaaneError("An input side below 1 pixel: give --size or --max-side above 0.")
    model, suffix = split_suffix(spec)
    embedder = _embedder(model, weights, device, precision, threads)
    return ModelSystem(embedder.name + suffix, embedder, SUFFIXES.get(suffix, RAW), size, rerank)


def _embedder(
    spec: str, weights: str, device: str, precision: str, threads: int
) -> NetworkEmbedder:
    if spec.startswith(PREFIX):
        return load_untrained(spec, weights, device, precision, threads)
    card, _, wiring = spec.rpartition(":")
    if wiring in HEADS and card:
        return load_embedder(card, weights, device, precision, threads, cast(Wiring, wiring))
    return load_embedder(spec, weights, device, precision, threads)
