"""A ready embedder from the name of a model card."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from saane_ros.embedding import ModelSettings
from saane_ros.embedding.assembly import Tensors, build_network, fill_network
from saane_ros.embedding.choice import picked
from saane_ros.embedding.engines import COMPILED, PACKAGES, TORCH, check_precision
from saane_ros.embedding.graphs import Exportable, graph_of
from saane_ros.embedding.network import NetworkEmbedder, folded
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.heads import HEADS
from saane_ros.model.huggingface import HuggingFaceSegmenter
from saane_ros.model.saane import SaaneNetwork
from saane_ros.weights.card_files import load_card
from saane_ros.weights.cards import ModelCard, System, fingerprint
from saane_ros.weights.store import find_weights
from saane_ros.weights.tensors import read_tensors, tensors_digest

_log = logging.getLogger(__name__)


class _Model(NamedTuple):
    name: str
    exportable: Exportable
    class_names: tuple[str, ...]


def settings_embedder(settings: ModelSettings) -> NetworkEmbedder:
    """The embedder that settings name; errors as of `load_embedder`."""
    return load_embedder(
        settings.model,
        settings.weights,
        settings.device,
        settings.precision,
        settings.threads,
        engine=settings.engine,
    )


def load_embedder(
    model: str,
    weights: str = "",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    system: System | None = None,
    engine: str = TORCH,
    strict: bool = False,
) -> NetworkEmbedder:
    """The embedder of a card, by name or path, on a device.

    weights: folder looked into first.  threads: CPU threads of the engine, 0 for its choice.
    system: another wiring of the same weights, such as "app": attention and semantics off.
    engine: torch, compiled, onnx or openvino; auto takes what `saane models tune` chose. One that
    cannot be had is warned of and PyTorch goes on, unless `strict`.
    Raises SaaneError for an unknown card, missing or unfitting weights, an absent device.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = pick_device(device)
    found = _load(model, weights, system)
    exportable, default = found.exportable, pick_precision("auto", chosen)
    choice = picked(engine, precision, chosen.type, exportable.fingerprint, default)
    check_precision(choice.engine, choice.precision)
    graph = None
    try:
        if choice.engine in PACKAGES:
            graph = graph_of(exportable, choice.engine, choice.precision, chosen.type, threads)
        embedder = NetworkEmbedder(
            exportable.network,
            exportable.preprocessing,
            found.name,
            exportable.fingerprint,
            found.class_names,
            chosen,
            default if graph is not None else choice.precision,
            choice.engine,
            graph,
        )
        embedder.precision = choice.precision
        if choice.engine == COMPILED:
            _compile(embedder)
    except SaaneError as error:
        if strict or choice.engine == TORCH:
            raise
        _log.warning("%s PyTorch goes on.", error)
        return load_embedder(model, weights, device, default, threads, system)
    return embedder


def load_exportable(model: str, weights: str = "", system: System | None = None) -> Exportable:
    """The network of a card as it can be exported; errors as of `load_embedder`."""
    return _load(model, weights, system).exportable


def _load(model: str, weights: str, system: System | None) -> _Model:
    card = load_card(model)
    if card.system == "segmentation":
        raise SaaneError(
            f"Model {card.name} labels pixels and has no descriptor: give one of another system."
        )
    found = find_weights(card, weights)
    files: dict[str, Tensors] = {key: read_tensors(file.path) for key, file in found.items()}
    digests = {key: file.sha256 for key, file in found.items()}
    if system is not None and system != card.system:
        card, files = rewired(card, system, files, weights)
    network = build_network(card, weights)
    fill_network(network, card, files)
    class_names = card.semantics.classes if card.semantics else ()
    if isinstance(network.semantics, HuggingFaceSegmenter):
        class_names = network.semantics.class_names
        digests["semantics"] = tensors_digest(network.semantics.state_dict())
    return _Model(
        card.name if system is None else f"{card.name}:{system}",
        Exportable(folded(network), preprocessing_of(card), fingerprint(card, digests)),
        class_names,
    )


def _compile(embedder: NetworkEmbedder) -> None:
    """Let torch.compile work, by an image; SaaneError where it cannot."""
    size = embedder.preprocessing.height, embedder.preprocessing.width
    try:
        embedder.embed([np.zeros((*size, 3), np.uint8)])
    except Exception as error:  # without a compiler it raises many things
        reason = str(error).strip().split("\n")[0][:200].rstrip(".: ") or type(error).__name__
        raise SaaneError(
            f"torch.compile does not work here ({reason}): install a C++ compiler."
        ) from error


def preprocessing_of(card: ModelCard) -> Preprocessing:
    part = card.preprocessing
    return Preprocessing(part.height, part.width, part.mean, part.std, part.interpolation)


def pick_device(device: str) -> torch.device:
    """The device of a setting: auto, cpu, cuda or cuda:N."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise SaaneError(
            f"Device {device!r} is unknown: give auto, cpu, cuda or cuda:N."
        ) from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise SaaneError(
            f"Device {device} was asked for and PyTorch sees {torch.cuda.device_count()} CUDA "
            "devices: give device:=cpu, or install the driver and a CUDA build of torch."
        )
    if chosen.type not in ("cpu", "cuda"):
        raise SaaneError(f"Device {device!r} is not supported: give auto, cpu, cuda or cuda:N.")
    return chosen


def pick_precision(precision: str, device: torch.device) -> str:
    if precision != "auto":
        return precision
    return "fp16" if device.type == "cuda" else "fp32"


def rewired(
    card: ModelCard, system: System, files: dict[str, Tensors], weights: str = ""
) -> tuple[ModelCard, dict[str, Tensors]]:
    """The card with another wiring and the part of its head's weights that this wiring has."""
    if card.system not in HEADS:
        raise SaaneError(
            f"Model {card.name} is of system {card.system} and has no part {system}: give the "
            "model without one."
        )
    appearance_only = not HEADS[system].uses_semantics and card.filter is None
    smaller = replace(card, system=system, semantics=None if appearance_only else card.semantics)
    if card.head.weights is None:
        return smaller, files
    network = build_network(smaller, weights)
    assert isinstance(network, SaaneNetwork)
    wanted = network.head.state_dict()
    head = {key: value for key, value in files[card.head.weights].items() if key in wanted}
    return smaller, {**files, card.head.weights: head}
