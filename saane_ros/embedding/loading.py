"""A ready embedder from the name of a model card."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch

from saane_ros.embedding.assembly import Tensors, build_network, fill_network
from saane_ros.embedding.choice import Choice, picked
from saane_ros.embedding.engines import COMPILED, PACKAGES, TORCH, Graph, check_precision
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


def load_embedder(
    model: str,
    weights: str = "",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    system: System | None = None,
    engine: str = TORCH,
) -> NetworkEmbedder:
    """The embedder of a card, by name or path, on a device.

    weights: folder looked into first.  threads: CPU threads of PyTorch, 0 for its choice.
    system: another wiring of the same weights, such as "app": attention and semantics off.
    engine: torch, compiled, onnx or openvino; auto takes what `saane models tune` chose. One that
    cannot be had is warned of, and PyTorch goes on.
    Raises SaaneError for an unknown card, missing or unfitting weights, an absent device.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = pick_device(device)
    card = load_card(model)
    if card.system == "segmentation":
        raise SaaneError(
            f"Model {card.name} labels pixels and has no descriptor: give one of another system."
        )
    found = find_weights(card, weights)
    files: dict[str, Tensors] = {key: read_tensors(file.path) for key, file in found.items()}
    digests = {key: file.sha256 for key, file in found.items()}
    if system is not None and system != card.system:
        card, files = rewired(card, system, files)
    network = build_network(card)
    fill_network(network, card, files)
    class_names = card.semantics.classes if card.semantics else ()
    if isinstance(network.semantics, HuggingFaceSegmenter):
        class_names = network.semantics.class_names
        digests["semantics"] = tensors_digest(network.semantics.state_dict())
    digest, preprocessing = fingerprint(card, digests), preprocessing_of(card)
    default = pick_precision("auto", chosen)
    choice = picked(engine, precision, chosen.type, digest, default)
    graph, choice = _graph(
        Exportable(network, preprocessing, digest), choice, default, device, threads
    )
    embedder = NetworkEmbedder(
        network,
        preprocessing,
        card.name if system is None else f"{card.name}:{system}",
        digest,
        class_names,
        chosen,
        choice.precision if graph is None else default,
        choice.engine,
        graph,
    )
    if choice.engine == COMPILED and not _compiles(embedder):
        return load_embedder(model, weights, device, default, threads, system)
    return embedder


def _graph(
    model: Exportable, choice: Choice, default: str, device: str, threads: int
) -> tuple[Graph | None, Choice]:
    """The graph of a choice, None for PyTorch; and what the choice comes down to."""
    if choice.engine not in PACKAGES:
        check_precision(choice.engine, choice.precision)
        return None, choice
    try:
        folded(model.network)
        return graph_of(model, choice.engine, choice.precision, device, threads), choice
    except SaaneError as error:
        _log.warning("%s PyTorch goes on.", error)
        return None, Choice(TORCH, default)


def _compiles(embedder: NetworkEmbedder) -> bool:
    """Whether torch.compile works here, by an image; it tells why not."""
    size = embedder.preprocessing.height, embedder.preprocessing.width
    try:
        embedder.embed([np.zeros((*size, 3), np.uint8)])
    except Exception as error:  # without a compiler it raises many things
        reason = str(error).strip().split("\n")[0][:200].rstrip(".: ") or type(error).__name__
        _log.warning(
            "torch.compile does not work here (%s): install a C++ compiler. PyTorch goes on.",
            reason,
        )
        return False
    return True


def preprocessing_of(card: ModelCard) -> Preprocessing:
    part = card.preprocessing
    return Preprocessing(part.height, part.width, part.mean, part.std)


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
    card: ModelCard, system: System, files: dict[str, Tensors]
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
    network = build_network(smaller)
    assert isinstance(network, SaaneNetwork)
    wanted = network.head.state_dict()
    head = {key: value for key, value in files[card.head.weights].items() if key in wanted}
    return smaller, {**files, card.head.weights: head}
