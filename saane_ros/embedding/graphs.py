"""The graphs that other engines run: exported or quantised once, checked, kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from saane_ros import __version__
from saane_ros.embedding.engines import (
    ONNX,
    TORCH,
    Graph,
    check_precision,
    imported,
    load_graph,
)
from saane_ros.embedding.export import INPUT, OUTPUTS, export
from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_folder, sha256_of
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.model.saane import SaaneNetwork, SaaneOutput
from saane_ros.paths import cache_folder

INT8 = "int8"
GRAPH, DIGEST = "graph.onnx", "sha256"
TOLERANCE = 2e-3
"""Of what an exported graph gives, against PyTorch's largest value of the same output."""

_QUANTISED = ["Conv", "Add", "MaxPool", "Relu"]
"""What trunks are made of. The head stays in floats: it is small, and its sums are delicate."""


class Exportable(NamedTuple):
    """A float32 network on the CPU with its preprocessing and the fingerprint of its card."""

    network: SaaneNetwork | DenseVlad
    preprocessing: Preprocessing
    fingerprint: str

    def folder(self, precision: str) -> Path:
        """Where its graph lies in the cache; another release of the package exports it again."""
        size = f"{self.preprocessing.height}x{self.preprocessing.width}"
        kind = INT8 if precision == INT8 else "fp32"
        return cache_folder() / "engines" / f"{self.fingerprint}-{size}-{kind}-{__version__}"


def graph_of(model: Exportable, engine: str, precision: str, device: str, threads: int) -> Graph:
    """The graph of a model on an engine, exported where the cache has none.

    Raises SaaneError where the library is absent, the network cannot be exported, the cached graph
    is damaged, or int8 was never calibrated.
    """
    check_precision(engine, precision)
    imported(engine)
    path = cached_graph(model.folder(precision))
    if path is None and precision == INT8:
        raise SaaneError(
            "The model has no int8 graph: make one of your own images by "
            "`saane models tune MODEL --int8 --images FOLDER`."
        )
    if path is None:
        path = _exported(model, engine)
    return load_graph(engine, precision, path, device, threads)


def cached_graph(folder: Path) -> Path | None:
    """The graph in a folder of the cache, None where there is none.

    Raises SaaneError where it is not what was written.
    """
    if not folder.is_dir():
        return None
    try:
        told = (folder / DIGEST).read_text(encoding="ascii", errors="replace")
        whole = sha256_of(folder / GRAPH) == told
    except OSError:
        whole = False
    if not whole:
        raise SaaneError(
            f"The cached graph {folder / GRAPH} is damaged: remove its folder, or tune the model "
            "again with `saane models tune`."
        )
    return folder / GRAPH


def forget(model: Exportable, precision: str) -> None:
    """Remove a graph from the cache."""
    shutil.rmtree(model.folder(precision), ignore_errors=True)


def quantise(model: Exportable, images: Sequence[NDArray[np.uint8]]) -> Path:
    """Make the int8 graph of a model whose float32 graph is cached, and cache it.

    images: uint8 (h, w, 3) of the card's size, as the camera will see them; the range of every
    activation is learned from them.  Raises SaaneError without the packages onnxruntime and onnx.
    """
    source = cached_graph(model.folder("fp32"))
    if source is None:
        source = _exported(model, ONNX)
    imported(ONNX)
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise SaaneError(
            'Quantising needs the package onnx, which is not installed: pip install "saane_ros'
            '[onnx]".'
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        quantised = Path(folder) / GRAPH
        quantization.quantize_static(
            str(source),
            str(quantised),
            _Reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_QUANTISED,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        return _keep(model.folder(INT8), quantised.read_bytes())


class _Reader:
    """Calibration images, one by one, as onnxruntime asks for them."""

    def __init__(self, images: Sequence[NDArray[np.uint8]]) -> None:
        self._images: Iterator[NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: np.ascontiguousarray(image[None])}


def _exported(model: Exportable, engine: str) -> Path:
    """A graph for any batch, or for one image where the exporter takes the batch for a constant."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GRAPH
        export(model.network, model.preprocessing, path, batches=True)
        try:
            _check(model, load_graph(engine, "fp32", path, "cpu", 0), engine)
        except SaaneError:
            export(model.network, model.preprocessing, path, batches=False)
            _check(model, load_graph(engine, "fp32", path, "cpu", 0), engine)
        return _keep(model.folder("fp32"), path.read_bytes())


def _keep(folder: Path, data: bytes) -> Path:
    """Write a graph into the cache, in place of an older one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as new:
        (new / GRAPH).write_bytes(data)
        (new / DIGEST).write_text(hashlib.sha256(data).hexdigest(), encoding="ascii")
    return folder / GRAPH


@torch.inference_mode()
def _check(model: Exportable, graph: Graph, engine: str) -> None:
    """Raise SaaneError where a graph says other than PyTorch, for one image or for three."""
    preprocessing = model.preprocessing
    coarse = np.random.default_rng(0).integers(0, 256, (3, 12, 16, 3)).astype(np.uint8)
    images = preprocessing.resized(list(coarse))
    for some in (images[:1], images):
        pixels = torch.from_numpy(some).permute(0, 3, 1, 2)
        expected = model.network(preprocessing.normalise(pixels))
        try:
            found = graph(some)
        except Exception as error:  # each library has errors of its own
            raise SaaneError(
                f"The network's graph does not run on {engine} with {len(some)} images."
            ) from error
        off = max(_difference(found, expected, name) for name in OUTPUTS)
        if not off <= TOLERANCE:
            raise SaaneError(
                f"The network's graph gives other values on {engine} than on {TORCH} (by {off:.2g} "
                "of the largest)."
            )


def _difference(found: SaaneOutput, expected: SaaneOutput, name: str) -> float:
    """The largest difference of one output, in parts of its largest value."""
    mine, theirs = getattr(found, name), getattr(expected, name)
    if mine is None or theirs is None:
        return 0.0 if mine is theirs else float("inf")
    return float((mine - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12))
