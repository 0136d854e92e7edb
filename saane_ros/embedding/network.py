"""The embedder of every system: one network on one device."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.embedding.engines import COMPILED, TORCH, CompiledNetwork, Graph
from saane_ros.embedding.export import FromPixels
from saane_ros.embedding.preprocessing import Preprocessing, fetched, sent
from saane_ros.model.averaging import averaged
from saane_ros.model.dense_vlad import DenseVlad
from saane_ros.model.mosaic import Mosaic, resized_from_origin
from saane_ros.model.saane import SaaneNetwork, SaaneOutput
from saane_ros.model.timm_trunk import TimmTrunk
from saane_ros.types import GRID_SIDE, Embedding, Rgb

MODALITIES = ("appearance", "semantic")
DESCRIPTOR, LABELS, GRID, OWN_GRID = "descriptor", "labels", "grid", "own grid"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class NetworkEmbedder:
    """Embeds images with a network; see the Embedder protocol for its attributes.

    precision: of PyTorch; as an attribute that of the engine, where `load_embedder` made it.
    engine: what it runs on.  graph: the network on an engine other than
    PyTorch; it gives class scores without being asked.
    model_bytes: of the weights, in memory or in the graph.
    """

    def __init__(
        self,
        network: SaaneNetwork | DenseVlad,
        preprocessing: Preprocessing,
        name: str,
        fingerprint: str,
        class_names: tuple[str, ...],
        device: torch.device,
        precision: str = "fp32",
        engine: str = TORCH,
        graph: Graph | None = None,
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self.class_names = class_names
        self.descriptor_size = network.descriptor_size
        self.device, self.dtype = device, DTYPES[precision]
        self.preprocessing = copy.deepcopy(preprocessing).to(device)
        self.engine, self.precision = engine, precision
        self.network = folded(network)
        self.network.to(device=device, dtype=self.dtype).to(memory_format=torch.channels_last)
        self._graph = graph
        tensors = [*self.network.parameters(), *self.network.buffers()]
        self.model_bytes = sum(t.nbytes for t in tensors) if graph is None else graph.size
        self._whole = FromPixels(self.network, self.preprocessing, self.dtype)
        self._grid = GRID
        self._compiled = None
        if engine == COMPILED:
            self._compiled = CompiledNetwork(self._whole, self._finished, LABELS, device)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width that images are resized to."""
        return self.preprocessing.height, self.preprocessing.width

    @torch.inference_mode()
    def embed(
        self,
        images: Sequence[Rgb],
        attention: bool = False,
        labels: bool = False,
        grid: bool = False,
    ) -> list[Embedding]:
        """One Embedding per image; attention on the trunk's grid, labels at the input's size."""
        if not images:
            return []
        wanted = [DESCRIPTOR, *(MODALITIES if attention else ())]
        wanted += [name for name, asked in ((LABELS, labels), (self._grid, grid)) if asked]
        found = fetched(self._found(images, tuple(wanted)), self.device)
        return [
            Embedding(
                descriptor=found[DESCRIPTOR][i],
                attention={name: found[name][i] for name in MODALITIES if name in found},
                labels=found[LABELS][i] if LABELS in found else None,
                grid=found[self._grid][i] if self._grid in found else None,
            )
            for i in range(len(images))
        ]

    @property
    def own_score(self) -> tuple[str, tuple[float, ...]]:
        """`Head.own_score` and `own_shares`; empty for a model without local features of its own,
        as one that filters cells is: its authors' second stage knows no filter."""
        network = self.network
        if isinstance(network, DenseVlad) or network.static_filter is not None:
            return "", ()
        return network.head.own_score, network.head.own_shares

    def with_own_grids(self) -> NetworkEmbedder:
        """The same embedder on the same network, with `Head.own_grid` as the grids, float16.

        The head makes them by PyTorch of what the engine gives anyway, so that an image passes the
        trunk once.
        """
        other = copy.copy(self)
        other._grid = OWN_GRID
        return other

    @torch.inference_mode()
    def own_features(self, images: Sequence[Rgb]) -> list[NDArray[np.float16]]:
        """Local features that `own_score` is of, a scale (B, h, w, P) of unit cells; by PyTorch."""
        assert isinstance(self.network, SaaneNetwork), "asked for only with a score"
        pixels = self.preprocessing(images, self.device).to(self.dtype)
        trunk = self.network.trunk_features(pixels, semantics=False)
        found = self.network.head.own_features(trunk.appearance)
        return [scale.permute(0, 2, 3, 1).half().cpu().numpy() for scale in found]

    def _found(self, images: Sequence[Rgb], wanted: tuple[str, ...]) -> dict[str, Tensor]:
        sized = self.preprocessing.resized(images)
        if self._graph is not None:
            return self._finished(self._graph(sized), wanted)
        if self._compiled is not None and len(images) == 1:
            return self._compiled(torch.from_numpy(sized), wanted)
        return self._finished(self._whole(sent(sized, self.device), LABELS in wanted), wanted)

    def _finished(self, output: SaaneOutput, wanted: Sequence[str]) -> dict[str, Tensor]:
        """What was wanted of an output, by name, as an `Embedding` holds it."""
        names = (DESCRIPTOR, *MODALITIES, LABELS, GRID)
        found = {
            name: self._one_finished(name, value)
            for name, value in zip(names, output, strict=True)
            if name in wanted and value is not None
        }
        if OWN_GRID in wanted:
            found[OWN_GRID] = self._own_grid(output.grid)
        return found

    def _own_grid(self, features: Tensor | None) -> Tensor:
        """The head's grids (B, h, w, P) of the trunk's features, which may come from a graph."""
        assert isinstance(self.network, SaaneNetwork), "asked for only with a score"
        assert features is not None, "every network has them"
        own = self.network.head.own_grid(features.to(self.device, self.dtype))
        return own.permute(0, 2, 3, 1).half()

    def _one_finished(self, name: str, value: Tensor) -> Tensor:
        if name in MODALITIES:
            value = value[:, 0]
        if name == GRID:
            value = averaged_grid(value)
        if name == LABELS:
            enlarged = enlarged_logits(self.network.semantics, value, self.input_size)
            return enlarged.argmax(dim=1).to(torch.uint8)
        return value.float()


def folded(network: SaaneNetwork | DenseVlad) -> SaaneNetwork | DenseVlad:
    """The network in evaluation mode, what can be computed beforehand computed."""
    for module in list(network.modules()):
        if isinstance(module, TimmTrunk):
            module.fold()
    return network.eval()


def enlarged_logits(semantics: nn.Module | None, logits: Tensor, size: Sequence[int]) -> Tensor:
    """Class scores (B, K, h, w) at `size`, float32, the way back that they came from the image.

    A network that aligns corners or origins on the way in must on the way out, or labels shift by
    some pixels.
    """
    if isinstance(semantics, Mosaic):
        return resized_from_origin(logits.float(), size)
    aligned = bool(getattr(semantics, "align_corners", False))
    return functional.interpolate(
        logits.float(), size=tuple(size), mode="bilinear", align_corners=aligned
    )


def averaged_grid(features: Tensor) -> Tensor:
    """Features B x C x H x W as grids (B, h, w, C), averaged down to `GRID_SIDE` cells a side."""
    height, width = features.shape[-2:]
    scale = min(1.0, GRID_SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        features = averaged(features, size)
    return features.permute(0, 2, 3, 1)
