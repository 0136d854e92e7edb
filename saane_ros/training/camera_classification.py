"""Training of AMOSNet: every layer learns to tell places apart, as SAANE's section 4 has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.model.amosnet import CameraClassifier
from saane_ros.progress import progress
from saane_ros.training.checkpoint import load_checkpoint, save_checkpoint
from saane_ros.training.interruption import deferred_interrupt
from saane_ros.training.place_views import PlaceViews


@dataclass(frozen=True)
class ClassificationTraining:
    """Plain SGD over the places of the configuration, each a class.

    trunk_of: model card whose trunk weights training starts from.  save_every: steps between
    checkpoints.
    """

    trunk_of: str = ""
    steps: int = 1000
    batch: int = 32
    learning_rate: float = 0.001
    momentum: float = 0.9
    save_every: int = 100
    seed: int = 0


class ClassificationTrainer:
    """Trains trunk, head and classifier together; BatchNorm keeps the trunk's own statistics."""

    def __init__(
        self,
        model: CameraClassifier,
        preprocessing: Preprocessing,
        views: PlaceViews,
        options: ClassificationTraining,
        out: Path,
        device: torch.device,
    ) -> None:
        self.model = model.to(device).eval()
        self.preprocessing, self.views, self.options = preprocessing, views, options
        self.checkpoint, self.device = out / "checkpoint.pt", device
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=options.learning_rate, momentum=options.momentum
        )
        self.generator = np.random.default_rng(options.seed)
        self.by_class = [np.flatnonzero(views.labels == c) for c in np.unique(views.labels)]
        self.accuracy = 0.0

    def run(self) -> float:
        """Train to the last step, from a checkpoint where there is one; running accuracy."""
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        start = self._resume() if self.checkpoint.exists() else 0
        bar = progress(range(start, self.options.steps), "classification", unit="step")
        with deferred_interrupt() as stop:
            for step in bar:
                right = self.step()
                self.accuracy = right if step == 0 else 0.95 * self.accuracy + 0.05 * right
                bar.set_postfix({"accuracy": f"{self.accuracy:.3f}"})
                last = step + 1 == self.options.steps
                if last or stop.requested or (step + 1) % self.options.save_every == 0:
                    self._save(step + 1)
                if stop.requested:
                    raise KeyboardInterrupt
        return self.accuracy

    def step(self) -> float:
        """One batch, its classes drawn uniformly; the share of it that was told right."""
        classes = self.generator.integers(0, len(self.by_class), self.options.batch)
        rows = [int(self.generator.choice(self.by_class[c])) for c in classes]
        pixels = self.preprocessing([self.views.read(row) for row in rows], self.device)
        labels = torch.from_numpy(classes).to(self.device)
        logits = self.model(pixels)
        self.optimizer.zero_grad()
        functional.cross_entropy(logits, labels).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return float((logits.argmax(dim=1) == labels).float().mean())

    def _save(self, step: int) -> None:
        save_checkpoint(
            self.checkpoint,
            step,
            {"model": self.model},
            self.optimizer,
            {"batches": self.generator},
            torch.Generator(),
            {"accuracy": self.accuracy},
        )

    def _resume(self) -> int:
        step, extra = load_checkpoint(
            self.checkpoint,
            {"model": self.model},
            self.optimizer,
            {"batches": self.generator},
            torch.Generator(),
        )
        self.accuracy = float(extra["accuracy"])
        return step
