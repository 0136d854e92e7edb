"""Training of AMOSNet: every layer learns to tell places apart, as SAANE's section 4 has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.model.amosnet import CameraClassifier, Loss
from saane_ros.training.augmentation import augmented
from saane_ros.training.blends import copy_of, try_blends
from saane_ros.training.place_views import PlaceViews
from saane_ros.training.trainer import Trainer
from saane_ros.training.weight_files import save_weights
from saane_ros.types import Rgb

KEPT_BYTES = 2_000_000_000
"""Of decoded images: those of a larger set are decoded again each time."""

Measure = Callable[[CameraClassifier], dict[str, float]]


@dataclass(frozen=True)
class ClassificationTraining:
    """SGD over the places of the configuration, each a class, under a cosine schedule.

    trunk_of: model card whose trunk weights training starts from.
    loss: cross entropy of logits ("softmax", the papers') or of scaled cosines, see `amosnet.py`.
    learning_rate: of head and classifier.  trunk_rate: of the trunk, as a share of that: what is
        pretrained is lost where it moves as fast as what is new.
    augment: every image is drawn in another light, viewpoint and weather, see `augmentation.py`.
    blends: at the end also the models that lie such shares of the way from the start to the trained
        weights are validated, see `blends.py`.
    bf16: bfloat16 where it is safe (autocast), on devices that are faster with it.
    """

    trunk_of: str = ""
    loss: Loss = "softmax"
    steps: int = 1000
    batch: int = 32
    learning_rate: float = 0.001
    trunk_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0005
    augment: bool = True
    blends: tuple[float, ...] = ()
    validate_every: int = 100
    bf16: bool = False
    seed: int = 0


class ClassificationTrainer(Trainer):
    """Trains trunk, head and classifier together; BatchNorm keeps the trunk's own statistics.

    measure: figures of a model on held-out places, "score" among them.  files: where the best
    trunk and head are kept.  source_weights: how often places are taken from each source.
    """

    title, validates_start = "classification", True

    def __init__(
        self,
        model: CameraClassifier,
        preprocessing: Preprocessing,
        views: PlaceViews,
        measure: Measure,
        options: ClassificationTraining,
        out: Path,
        files: Mapping[str, Path],
        device: torch.device,
        source_weights: list[float] | None = None,
    ) -> None:
        super().__init__(out, options.steps, options.validate_every, options.seed)
        # The last axis first in memory: what bfloat16 convolutions on CPUs are fastest with.
        self.model = model.to(device).to(memory_format=torch.channels_last).eval()
        self.preprocessing, self.views, self.measure = preprocessing, views, measure
        self.options, self.files, self.device = options, files, device
        new = [*model.head.parameters(), *model.classifier.parameters()]
        self.rates = [options.learning_rate * options.trunk_rate, options.learning_rate]
        self.optimizer = torch.optim.SGD(
            [{"params": list(model.trunk.parameters())}, {"params": new}],
            lr=options.learning_rate,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        self.random = np.random.default_rng(options.seed)
        self.modules, self.generators = {"model": model}, {"batches": self.random}
        self.places = PlaceDraw(views, source_weights)
        self.blended = nn.ModuleDict({"trunk": model.trunk, "head": model.head})
        self.start = copy_of(self.blended)
        self.images: dict[int, Rgb] = {}

    def run(self) -> float:
        super().run()
        try_blends(self.blended, self.start, self.options.blends, self._judge_blend)
        self.write_history()
        return self.best

    def begin(self) -> None:
        """With cosines, class weights begin at the descriptor of a view (Qi et al. 2018).

        From random ones the first gradients would say nothing, and undo what is pretrained.
        """
        if self.model.loss == "cosine":
            self._begin_at_views()
        super().begin()

    def _begin_at_views(self) -> None:
        rows = [int(rows[0]) for rows in self.places.by_place]
        shares = np.array_split(rows, max(1, len(rows) // self.options.batch))
        batches = (self._pixels(share, augment=False) for share in shares)
        weights = described(self.model, batches, self.device, self.options.bf16)
        with torch.no_grad():
            self.model.classifier.weight.copy_(weights)

    def step(self, step: int) -> float:
        """One batch; returns its cross entropy."""
        shrink = (1 + np.cos(np.pi * step / self.options.steps)) / 2
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = float(rate * shrink)
        rows = self.places.rows(self.options.batch, self.random)
        pixels = self._pixels(rows, self.options.augment)
        labels = torch.from_numpy(self.views.labels[rows]).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            logits = self.model(pixels)
        loss = functional.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return float(loss.detach())

    def validate(self, step: int) -> float:
        figures = self.measure(self.model)
        self.history.append({"step": step, "loss": self.running, **figures})
        self._keep_if_best(figures["score"])
        return figures["score"]

    def _judge_blend(self, share: float) -> None:
        figures = self.measure(self.model)
        self.history.append({"blend": share, **figures})
        self._keep_if_best(figures["score"])

    def _keep_if_best(self, score: float) -> None:
        if score > self.best:
            self.best = score
            save_weights(self.model.trunk, self.files["trunk"])
            save_weights(self.model.head, self.files["head"])

    def _pixels(self, rows: NDArray[np.int64], augment: bool) -> Tensor:
        images = [self._read(int(row), augment) for row in rows]
        pixels = self.preprocessing(images, self.device)
        return pixels.to(memory_format=torch.channels_last)

    def _read(self, row: int, augment: bool) -> Rgb:
        """A view at the network's input size, in a look of its own each time."""
        image = self.images.get(row)
        if image is None:
            image = self.preprocessing.resize(self.views.read(row))
            if (len(self.images) + 1) * image.nbytes <= KEPT_BYTES:
                self.images[row] = image
        if not augment:
            return image
        return augmented(image, self.views.augmentation, self.random, self.random)


class PlaceDraw:
    """Draws views: a source by its weight, one of its places, one view of that."""

    def __init__(self, views: PlaceViews, source_weights: list[float] | None) -> None:
        self.by_place = [
            np.flatnonzero(views.labels == label) for label in range(views.labels.max() + 1)
        ]
        source = np.array([views.sources[rows[0]] for rows in self.by_place])
        weights = np.ones(source.max() + 1) if source_weights is None else np.array(source_weights)
        self._shares = (weights / np.bincount(source))[source] / weights.sum()

    def rows(self, count: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Views (count,), those of one place mostly in other light."""
        places = random.choice(len(self.by_place), count, p=self._shares)
        return np.array([random.choice(self.by_place[place]) for place in places], np.int64)


@torch.no_grad()
def described(
    model: CameraClassifier, batches: Iterable[Tensor], device: torch.device, bf16: bool
) -> Tensor:
    """Descriptors (n, D) of batches of normalised images."""
    found = []
    for pixels in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found.append(model.describe(pixels.to(memory_format=torch.channels_last)).cpu())
    return torch.cat(found)
