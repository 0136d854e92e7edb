"""Vocabularies: cluster centres of local features, and the whitening of what is summed over them.

For NetVLAD, SRALNet and DenseVLAD. Nothing is learned by gradient here; `saane train weak` goes on
from a NetVLAD or SRALNet head that this stage left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.embedding.segmenting import Segmentation
from saane_ros.errors import SaaneError
from saane_ros.model.dense_vlad import DenseVlad, unit_words
from saane_ros.model.netvlad import initialise_netvlad
from saane_ros.model.saane import SaaneNetwork
from saane_ros.model.sralnet import initialise_sralnet, start_at_centroids
from saane_ros.model.vlad import VladHead, Whitening
from saane_ros.progress import progress
from saane_ros.training.reading_ahead import Images
from saane_ros.training.whitening import pca_projection, pca_whitening
from saane_ros.types import Rgb

Describe = Callable[[Rgb], tuple[Tensor, Tensor]]
"""Local features (n, D) of an image, and which of them lie on moving things (n,)."""

FEATURES_PER_CANDIDATE = 10


@dataclass(frozen=True)
class VocabularyTraining:
    """images: of the configuration's places, spread over all, that clusters are learned from.

    per_image: local features drawn from each.  iterations: of k-means.
    assignment: how NetVLAD's weights begin, see `model/netvlad.py`.
    whitening_images: that the whitening is learned from, as far as there are so many.
    segmentation: the model card that tells SRALNet's representative features from those of
    shadows.  candidates: clusters that shadows are chosen from.
    centroids: a file of SRALNet's centroids below the data folder, taken instead of clusters.
    A NetVLAD with either has the words of the SRALNet with the same options.
    """

    images: int = 500
    per_image: int = 100
    iterations: int = 100
    assignment: Literal["dot", "distance"] = "dot"
    whitening_images: int = 10_000
    segmentation: str = ""
    candidates: int = 256
    centroids: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Vocabulary:
    """What was learned. alpha: sharpness of the assignment, 0 for hard ones."""

    images: int
    features: int
    alpha: float
    whitened_from: int


class Learner:
    """Learns the vocabulary of one network from images that `read(index)` gives."""

    def __init__(
        self,
        network: SaaneNetwork | DenseVlad,
        preprocessing: Preprocessing,
        images: Images,
        options: VocabularyTraining,
        device: torch.device,
        segmentation: Segmentation | None = None,
        centroids: Tensor | None = None,
    ) -> None:
        self.network = network.eval().to(device)
        self.preprocessing, self.images, self.options = preprocessing, images, options
        self.device, self.segmentation, self.centroids = device, segmentation, centroids
        self.random = np.random.default_rng(options.seed)

    @torch.no_grad()
    def run(self) -> Vocabulary:
        """Fill words, assignment and whitening in place."""
        rows = spread(len(self.images), self.options.images)
        if isinstance(self.network, DenseVlad):
            features = self._features(rows, self._sift)[0]
            words = self._centres(features, len(self.network.centroids))
            self.network.centroids.copy_(unit_words(words))
            alpha, module = 0.0, self.network.whitening
        else:
            head = self.network.head
            if not isinstance(head, VladHead):
                raise SaaneError("This model has no vocabulary: give one of a VLAD system.")
            features, alpha = self._initialise(head, rows)
            module = head.whitening
        used = self.whiten(module) if isinstance(module, Whitening) else 0
        return Vocabulary(len(rows), len(features), alpha, used)

    def _initialise(self, head: VladHead, rows: list[int]) -> tuple[Tensor, float]:
        raw, moving = self._features(rows, self._cells)
        if isinstance(head.projection, torch.nn.Conv2d):
            assert head.projection.bias is not None
            weight, bias = pca_projection(raw, head.projection.out_channels)
            head.projection.weight.copy_(weight[:, :, None, None])
            head.projection.bias.copy_(bias)
        features = head.local_features(raw.T[None, :, :, None].to(self.device))[0, :, :, 0].T.cpu()
        shadow, representative = features[moving], features[~moving]
        if self.centroids is not None and head.shadows:
            return features, start_at_centroids(head, self.centroids, representative)
        if self.centroids is not None:
            centres = self.centroids[:, 0]
        else:
            centres = self._centres(representative, head.words)
            if self.segmentation is not None:
                centres = functional.normalize(centres, dim=1)
        if not head.shadows:
            assignment = self.options.assignment
            return features, initialise_netvlad(head, centres, representative, assignment)
        count = min(self.options.candidates, len(shadow) // FEATURES_PER_CANDIDATE)
        if count < head.shadows:
            raise SaaneError(
                f"{len(shadow)} of {len(features)} local features lie on moving things, too few "
                f"for {head.shadows} shadows: give more images, or a segmentation that finds them."
            )
        candidates = functional.normalize(self._centres(shadow, count), dim=1)
        return features, initialise_sralnet(head, centres, candidates, representative)

    def _features(self, rows: list[int], describe: Describe) -> tuple[Tensor, Tensor]:
        """Local features (n, D) of some images, and which of them lie on moving things (n,)."""
        parts, moving = [], []
        for row in progress(rows, "local features", len(rows), "image"):
            image = self.images.read(row)
            found, dynamic = describe(image)
            if not len(found):
                continue
            chosen = self.random.permutation(len(found))[: self.options.per_image]
            parts.append(found[chosen])
            moving.append(dynamic[chosen])
        if not parts:
            raise SaaneError("No image has local features: give images with contrast.")
        return torch.cat(parts), torch.cat(moving)

    def _sift(self, image: Rgb) -> tuple[Tensor, Tensor]:
        assert isinstance(self.network, DenseVlad)
        (grey,) = self.network.grey(self.preprocessing([image], self.device))
        features = self.network.local_features(grey)
        return features, torch.zeros(len(features), dtype=torch.bool)

    def _cells(self, image: Rgb) -> tuple[Tensor, Tensor]:
        assert isinstance(self.network, SaaneNetwork)
        pixels = self.preprocessing([image], self.device)
        features = self.network.trunk_features(pixels, semantics=False).appearance
        height, width = features.shape[-2:]
        cells = features[0].flatten(1).T.float().cpu()
        if self.segmentation is None:
            return cells, torch.zeros(len(cells), dtype=torch.bool)
        return cells, moving_cells(self.segmentation, image, (height, width))

    def _centres(self, features: Tensor, count: int) -> Tensor:
        """k-means centres (count, D)."""
        values = np.ascontiguousarray(features.numpy(), np.float32)
        if not 0 < count <= len(values):
            raise SaaneError(
                f"{count} clusters need at least as many local features and {len(values)} were "
                "found: give more images, or features per image."
            )
        means = faiss.Kmeans(
            values.shape[1],
            count,
            niter=self.options.iterations,
            seed=self.options.seed,
            min_points_per_centroid=1,
            max_points_per_centroid=len(values),
        )
        means.train(values)
        return torch.from_numpy(np.array(means.centroids, np.float32))

    @torch.no_grad()
    def whiten(self, module: Whitening) -> int:
        """Learn the whitening from unwhitened descriptors; the number of images."""
        rows = spread(len(self.images), self.options.whitening_images)
        holder = self.network if isinstance(self.network, DenseVlad) else self.network.head
        holder.whitening = torch.nn.Identity()
        try:
            found = [
                self.network(self.preprocessing([self.images.read(row)], self.device)).descriptor
                for row in progress(rows, "descriptors to whiten", len(rows), "image")
            ]
        finally:
            holder.whitening = module
        weight, bias = pca_whitening(torch.cat(found).cpu().numpy(), module.out_features)
        module.weight.copy_(weight)
        module.bias.copy_(bias)
        return len(rows)


def spread(total: int, count: int) -> list[int]:
    """At most `count` of `total` rows, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)).tolist()


def moving_cells(segmentation: Segmentation, image: Rgb, grid: tuple[int, int]) -> Tensor:
    """Which cells of a grid, row by row, are moving by the largest logit within them (n,)."""
    logits = functional.adaptive_max_pool2d(segmentation.logits([image]), grid)
    moving = [segmentation.class_names.index(name) for name in segmentation.dynamic]
    return torch.isin(logits.argmax(dim=1).flatten().cpu(), torch.tensor(moving))
