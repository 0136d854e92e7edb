"""Training of a head on cached trunk features with the paper's loss, sampler and batch layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from saane_ros.files import replacing_file
from saane_ros.model.heads import Head
from saane_ros.progress import progress
from saane_ros.training.checkpoint import load_checkpoint, save_checkpoint
from saane_ros.training.features import FeatureCache
from saane_ros.training.initialisation import start_at_trunk
from saane_ros.training.places import PlaceImages
from saane_ros.training.sampling import ClassBatchSampler
from saane_ros.training.triplets import sample_triplets, triplet_loss


@dataclass(frozen=True)
class EmbeddingTraining:
    """The paper's values by default (section 4); the paper names no number of steps.

    n_eff: dimension of the distance density that negatives are drawn by, see `triplets.py`.
    start: "default" is PyTorch's initialisation, "trunk" the untrained trunk's own descriptor.
    schedule: "constant" as in the paper, or "cosine" down to zero.
    same_group: whether the places of a batch come from one group, such as one town.
    """

    steps: int = 40000
    classes: int = 16
    images: int = 4
    learning_rate: float = 5e-5
    weight_decay: float = 5e-4
    margin: float = 0.5
    n_eff: int = 128
    start: str = "default"
    schedule: str = "constant"
    same_group: bool = False
    validate_every: int = 1000
    seed: int = 0


class EmbeddingTrainer:
    """Trains one head; the best by validation is `head.safetensors` in the output folder."""

    def __init__(
        self,
        head: Head,
        cache: FeatureCache,
        places: PlaceImages,
        validate: Callable[[Head], dict[str, float]],
        options: EmbeddingTraining,
        out: Path,
        device: torch.device,
    ) -> None:
        self.head, self.cache, self.validate = head.to(device), cache, validate
        self.options, self.out, self.device = options, out, device
        self.sampler = ClassBatchSampler(
            places.labels,
            options.classes,
            options.images,
            places.groups if options.same_group else None,
            options.seed,
        )
        self.labels = torch.tensor(places.labels)
        self.generator = torch.Generator().manual_seed(options.seed)
        if options.start == "trunk":
            start_at_trunk(head)
        self.optimizer = torch.optim.Adam(
            head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.best = -1.0
        self.history: list[dict[str, float]] = []

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def run(self) -> float:
        """Train to the last step, going on from a checkpoint where there is one; the best recall.

        An interrupted run has lost at most the steps since its last validation.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        start = self._resume() if self.checkpoint.exists() else 0
        if start == 0:
            self._validate(0, 0.0)
        bar = progress(range(start, self.options.steps), "training", unit="step")
        running = 0.0
        for step in bar:
            running = 0.98 * running + 0.02 * self.step(step)
            if (step + 1) % self.options.validate_every == 0 or step + 1 == self.options.steps:
                recalls = self._validate(step + 1, running)
                bar.set_postfix({"loss": f"{running:.3f}", "R@1": f"{recalls['mean']:.3f}"})
        return self.best

    def step(self, step: int) -> float:
        """One batch; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        indices = self.sampler.draw()
        self.head.train()
        descriptors = self.head(*self.cache.batch(indices, self.device)).descriptor
        classes = self.labels[torch.from_numpy(indices)].to(self.device)
        triplets = sample_triplets(descriptors, classes, self.options.n_eff, self.generator)
        loss = triplet_loss(descriptors, triplets, self.options.margin)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _learning_rate(self, step: int) -> float:
        if self.options.schedule == "constant":
            return self.options.learning_rate
        phase = torch.tensor(torch.pi * step / self.options.steps)
        return self.options.learning_rate * float(1 + torch.cos(phase)) / 2

    def _validate(self, step: int, loss: float) -> dict[str, float]:
        recalls = self.validate(self.head)
        self.history.append({"step": step, "loss": loss, **recalls})
        if recalls["mean"] > self.best:
            self.best = recalls["mean"]
            tensors = {k: v.contiguous().cpu() for k, v in self.head.state_dict().items()}
            with replacing_file(self.out / "head.safetensors") as temporary:
                save_file(tensors, temporary)
        save_checkpoint(
            self.checkpoint,
            step,
            {"head": self.head},
            self.optimizer,
            {"sampler": self.sampler.generator},
            self.generator,
            {"best": self.best, "history": self.history},
        )
        with replacing_file(self.out / "history.json") as temporary:
            temporary.write_text(json.dumps(self.history, indent=1))
        return recalls

    def _resume(self) -> int:
        step, extra = load_checkpoint(
            self.checkpoint,
            {"head": self.head},
            self.optimizer,
            {"sampler": self.sampler.generator},
            self.generator,
        )
        self.best, self.history = extra["best"], extra["history"]
        return step
