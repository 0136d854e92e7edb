"""Training of a head on cached trunk features with the paper's loss, sampler and batch layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.model.heads import Head
from saane_ros.progress import progress
from saane_ros.training.checkpoint import load_checkpoint, save_checkpoint
from saane_ros.training.devices import gathered
from saane_ros.training.features import FeatureCache
from saane_ros.training.initialisation import start_at_trunk, start_whitened
from saane_ros.training.interruption import deferred_interrupt
from saane_ros.training.place_views import PlaceViews
from saane_ros.training.sampling import ClassBatchSampler
from saane_ros.training.tensorboard import TrainingLog
from saane_ros.training.triplets import sample_triplets, triplet_loss

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
    blends: at the end also the heads that lie such shares of the way from the start to the trained
        weights are validated (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
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
    blends: tuple[float, ...] = ()
    validate_every: int = 1000
    patience: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0


class EmbeddingTrainer:
    """Trains one head; the best by validation is `head.safetensors` in the output folder.

    With several processes each computes its share of one batch: all draw the same places and
    negatives, so the gradient is that of the whole batch whatever their number.
    """

    def __init__(
        self,
        head: Head,
        cache: FeatureCache,
        views: PlaceViews,
        validate: Callable[[Head], dict[str, float]],
        options: EmbeddingTraining,
        out: Path,
        fabric: Fabric,
        source_weights: list[float] | None = None,
        log: TrainingLog | None = None,
    ) -> None:
        self.head, self.cache, self.validate = head.to(fabric.device), cache, validate
        self.options, self.out, self.fabric, self.log = options, out, fabric, log
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
        self.generator = torch.Generator().manual_seed(options.seed)
        if options.start == "trunk":
            start_at_trunk(head)
        elif options.start == "whitened":
            start_whitened(head, cache)
        optimizer = torch.optim.Adam(
            head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.start = {name: value.clone() for name, value in head.state_dict().items()}
        self.model, self.optimizer = fabric.setup(head, optimizer)
        self.best, self.running, self.since_best = -1.0, 0.0, 0
        self.history: list[dict[str, float]] = []

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def run(self) -> float:
        """Train to the last step, going on from a checkpoint where there is one; the best score.

        Ctrl-C writes a checkpoint first; a killed run has lost the steps since its last validation.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        start = self._resume() if self.checkpoint.exists() else 0
        if start == 0:
            self._validate(0)
        bar = progress(range(start, self.options.steps), "training", unit="step")
        with deferred_interrupt() as stop:
            for step in bar:
                if self._out_of_patience():
                    break
                loss = self.step(step)
                self.running = loss if step == 0 else 0.98 * self.running + 0.02 * loss
                if (step + 1) % self.options.validate_every == 0 or step + 1 == self.options.steps:
                    score = self._validate(step + 1)
                    bar.set_postfix({"loss": f"{self.running:.3f}", "score": f"{score:.3f}"})
                elif stop.requested:
                    self._save(step + 1)
                if stop.requested:
                    raise KeyboardInterrupt
        self._try_blends()
        return self.best

    def step(self, step: int) -> float:
        """One batch; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimizer.zero_grad()
        loss = self.loss(self.sampler.draw())
        self.fabric.backward(loss)
        self.optimizer.step()
        if self.log is not None:
            self.log.scalars(step, {"loss": float(loss.detach()), "lr": self._learning_rate(step)})
        return float(loss.detach())

    def loss(self, indices: NDArray[np.int64]) -> Tensor:
        """The triplet loss of a batch, of which this process computes its share."""
        self.model.train()
        share = np.array_split(indices, self.fabric.world_size)[self.fabric.global_rank]
        own = self.model(*self.cache.batch(share, self.fabric.device)).descriptor
        descriptors = gathered(self.fabric, own.float())
        classes = self.labels[torch.from_numpy(indices)].to(self.fabric.device)
        triplets = sample_triplets(descriptors, classes, self.options.n_eff, self.generator)
        return triplet_loss(descriptors, triplets, self.options.margin)

    def _learning_rate(self, step: int) -> float:
        if self.options.schedule == "constant":
            return self.options.learning_rate
        return self.options.learning_rate * float(1 + np.cos(np.pi * step / self.options.steps)) / 2

    def _out_of_patience(self) -> bool:
        return 0 < self.options.patience <= self.since_best

    def _try_blends(self) -> None:
        """Less training generalises better where training places are few; held-out ones tell."""
        trained = {name: value.clone() for name, value in self.head.state_dict().items()}
        for share in self.options.blends:
            self.head.load_state_dict(
                {name: self.start[name].lerp(value, share) for name, value in trained.items()}
            )
            figures = self.validate(self.head)
            self.history.append({"blend": share, **figures})
            self._keep_if_best(figures["score"])
        self.head.load_state_dict(trained)
        if self.options.blends:
            self._write_history()

    def _keep_if_best(self, score: float) -> bool:
        if score <= self.best:
            return False
        self.best = score
        if self.fabric.is_global_zero:
            tensors = {k: v.contiguous().cpu() for k, v in self.head.state_dict().items()}
            with replacing_file(self.out / "head.safetensors") as temporary:
                save_file(tensors, temporary)
        return True

    def _validate(self, step: int) -> float:
        figures = self.validate(self.head)
        self.history.append({"step": step, "loss": self.running, **figures})
        self.since_best = 0 if self._keep_if_best(figures["score"]) else self.since_best + 1
        self._save(step)
        if self.log is not None:
            self.log.scalars(step, {f"validation/{k}": v for k, v in figures.items()})
            self.log.attention(step, self.head)
        return figures["score"]

    def _save(self, step: int) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(
                self.checkpoint,
                step,
                {"head": self.head},
                self.optimizer,
                {"sampler": self.sampler.generator},
                self.generator,
                {
                    "best": self.best,
                    "running": self.running,
                    "since_best": self.since_best,
                    "history": self.history,
                },
            )
            self._write_history()
        self.fabric.barrier()

    def _write_history(self) -> None:
        if self.fabric.is_global_zero:
            with replacing_file(self.out / "history.json") as temporary:
                temporary.write_text(json.dumps(self.history, indent=1))

    def _resume(self) -> int:
        step, extra = load_checkpoint(
            self.checkpoint,
            {"head": self.head},
            self.optimizer,
            {"sampler": self.sampler.generator},
            self.generator,
        )
        self.best, self.history = extra["best"], extra["history"]
        self.running, self.since_best = extra["running"], extra["since_best"]
        return step
