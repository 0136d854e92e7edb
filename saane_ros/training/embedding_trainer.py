"""Training of a head on frozen trunk features with the paper's loss, sampler and batch layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.model.heads import Head
from saane_ros.training.blends import blended, copy_of
from saane_ros.training.devices import gathered
from saane_ros.training.features import Features
from saane_ros.training.initialisation import start_at_trunk, start_whitened
from saane_ros.training.place_views import PlaceViews
from saane_ros.training.sampling import ClassBatchSampler
from saane_ros.training.style_mixing import draw_styles, moments_of
from saane_ros.training.tensorboard import TrainingLog
from saane_ros.training.trainer import Trainer
from saane_ros.training.triplets import sample_triplets, triplet_loss
from saane_ros.training.weight_files import save_weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class EmbeddingTraining:
    """The paper's values by default (section 4); the paper names no number of steps.

    n_eff: dimension of the distance density that negatives are drawn by, see `triplets.py`.
    start: "default" is PyTorch's initialisation, "trunk" the untrained trunk's own descriptor,
        "whitened" that with its features whitened.
    schedule: "constant" as in the paper, or "cosine" down to zero.
    groups, same_occasions: which places a batch mixes, see `sampling.py`.
    share: of the way from the start to the end of training that the head is kept at, see
        `blends.py`; 1: the best by validation instead.
    style_mixing: probability of an image to show a style mixed with another's, `style_mixing.py`.
    modality_dropout: probability that a batch lacks its appearance, and the same that it lacks its
        semantics, so that each has to serve alone.
    patience: validations without a better score after which training ends, 0: never.
    precision: "fp32", "bf16" (mixed; the features of the trunks too), or "auto", which is bf16 for
        the head alone on CUDA and fp32 on the CPU.
    """

    steps: int = 40000
    classes: int = 16
    images: int = 4
    learning_rate: float = 5e-5
    weight_decay: float = 5e-4
    margin: float = 0.5
    n_eff: int = 128
    start: Literal["default", "trunk", "whitened"] = "default"
    schedule: Literal["constant", "cosine"] = "constant"
    groups: int = 0
    same_occasions: bool = False
    style_mixing: float = 0.0
    modality_dropout: float = 0.0
    share: float = 1.0
    validate_every: int = 1000
    patience: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0


class EmbeddingTrainer(Trainer):
    """Trains one head; the best by validation is `head.safetensors` in the output folder.

    measure: figures of a head on held-out places, "score" among them.

    With several processes each computes its share of one batch: all draw the same places and
    negatives, so the gradient is that of the whole batch whatever their number.
    """

    validates_start = True
    remembered = (*Trainer.remembered, "since_best")

    def __init__(
        self,
        head: Head,
        features: Features,
        views: PlaceViews,
        measure: Callable[[Head], dict[str, float]],
        options: EmbeddingTraining,
        out: Path,
        fabric: Fabric,
        source_weights: list[float] | None = None,
        log: TrainingLog | None = None,
    ) -> None:
        super().__init__(out, options.steps, options.validate_every, options.seed)
        self.head, self.features, self.measure = head.to(fabric.device), features, measure
        self.options, self.fabric, self.log = options, fabric, log
        if options.classes * options.images % fabric.world_size:
            raise SaaneError(
                f"A batch of {options.classes} x {options.images} images cannot be shared evenly "
                f"by {fabric.world_size} processes: start another number of them."
            )
        self.sampler = ClassBatchSampler(
            views.labels,
            options.classes,
            options.images,
            views.groups,
            views.occasions,
            views.sources,
            options.groups,
            options.same_occasions,
            source_weights,
            options.seed,
        )
        self.labels = torch.from_numpy(views.labels)
        if options.start == "trunk":
            start_at_trunk(head, options.seed)
        elif options.start == "whitened":
            start_whitened(head, features, options.seed)
        optimizer = torch.optim.Adam(
            head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.start = copy_of(head)
        self.model, self.optimizer = fabric.setup(head, optimizer)
        self.modules, self.generators = {"head": head}, {"sampler": self.sampler.generator}
        self.since_best = 0

    def run(self) -> float:
        super().run()
        if self.options.share < 1:
            self._keep_share()
        return self.best

    def step(self, step: int) -> float:
        """One batch; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimizer.zero_grad()
        indices = self.sampler.draw()
        for coming in (indices, self.sampler.peek()):
            self.features.expect(coming[self._own_rows(coming)])
        loss = self.loss(indices)
        self.fabric.backward(loss)
        self.optimizer.step()
        if self.log is not None:
            self.log.scalars(step, {"loss": float(loss.detach()), "lr": self._learning_rate(step)})
        return float(loss.detach())

    def loss(self, indices: NDArray[np.int64]) -> Tensor:
        """The triplet loss of a batch, of which this process computes its share."""
        self.model.train()
        own = self.model(*self._dropped(*self._share(indices))).descriptor
        descriptors = gathered(self.fabric, own.float())
        classes = self.labels[torch.from_numpy(indices)].to(self.fabric.device)
        triplets = sample_triplets(descriptors, classes, self.options.n_eff, self.generator)
        return triplet_loss(descriptors, triplets, self.options.margin)

    def _share(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """Features of this process' part of a batch; styles are mixed within the whole of it."""
        own = self._own_rows(indices)
        appearance, semantic = self.features.batch(indices[own], self.fabric.device)
        if not self.options.style_mixing:
            return appearance, semantic
        styles = draw_styles(len(indices), self.options.style_mixing, self.generator)

        def mixed(stream: Tensor) -> Tensor:
            return styles.apply(stream, gathered(self.fabric, moments_of(stream)), int(own[0]))

        return mixed(appearance), None if semantic is None else mixed(semantic)

    def _own_rows(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers within a batch of the images of this process' part."""
        rows = np.arange(len(indices))
        return np.array_split(rows, self.fabric.world_size)[self.fabric.global_rank]

    def _dropped(self, appearance: Tensor, semantic: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The batch without one of its modalities now and then, drawn alike by all processes."""
        chance = self.options.modality_dropout
        if not chance or semantic is None or not self.head.uses_semantics:
            return appearance, semantic
        drawn = float(torch.rand((), generator=self.generator))
        if drawn < chance:
            return torch.zeros_like(appearance), semantic
        return appearance, torch.zeros_like(semantic) if drawn > 1 - chance else semantic

    def _learning_rate(self, step: int) -> float:
        if self.options.schedule == "constant":
            return self.options.learning_rate
        return self.options.learning_rate * float(1 + np.cos(np.pi * step / self.options.steps)) / 2

    def finished(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.options.patience <= self.since_best

    def _keep_share(self) -> None:
        share = self.options.share
        self.head.load_state_dict(blended(self.start, copy_of(self.head), share))
        figures = self.measure(self.head)
        self.history.append({"share": share, **figures})
        self.best = figures["score"]
        if self.fabric.is_global_zero:
            save_weights(self.head, self.out / "head.safetensors")
        self.write_history()

    def _keep_if_best(self, score: float) -> bool:
        if score <= self.best:
            return False
        self.best = score
        if self.fabric.is_global_zero:
            save_weights(self.head, self.out / "head.safetensors")
        return True

    def validate(self, step: int) -> float:
        figures = self.measure(self.head)
        self.history.append({"step": step, "loss": self.running, **figures})
        self.since_best = 0 if self._keep_if_best(figures["score"]) else self.since_best + 1
        if self.log is not None:
            self.log.scalars(step, {f"validation/{k}": v for k, v in figures.items()})
            self.log.attention(step, self.head)
        return figures["score"]

    def save(self, step: int) -> None:
        """As ever, by the first of several processes; the others wait for it."""
        if self.fabric.is_global_zero:
            super().save(step)
        self.fabric.barrier()

    def write_history(self) -> None:
        if self.fabric.is_global_zero:
            super().write_history()
