"""What every trainer does alike: steps, validations, checkpoints, Ctrl-C, and going on later."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from saane_ros.files import replacing_file
from saane_ros.progress import progress
from saane_ros.training.checkpoint import load_checkpoint, save_checkpoint
from saane_ros.training.interruption import deferred_interrupt

SMOOTHING = 0.98
"""Of the running mean of the losses."""


class Trainer(ABC):
    """A loop of steps with a validation now and then, which goes on where it was cut.

    A subclass sets what a checkpoint holds (modules, optimizer, the generators that batches are
    drawn by) and gives `step` and `validate`.

    title: of the progress bar.  score: name of the validation's figure.  validates_start: whether
    what was not trained yet is measured too.  remembered: attributes, plain JSON, that a
    checkpoint holds too.  best: the highest score so far.  running: mean of the
    last losses.  history: one row a validation.
    """

    title = "training"
    validates_start = False
    score = "score"
    remembered: tuple[str, ...] = ("best", "running", "history")

    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    generators: dict[str, np.random.Generator]

    def __init__(self, out: Path, steps: int, validate_every: int, seed: int) -> None:
        self.out, self.steps, self.validate_every, self.seed = out, steps, validate_every, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.best, self.running = -1.0, 0.0
        self.history: list[dict[str, Any]] = []

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    @abstractmethod
    def step(self, step: int) -> float:
        """One batch; returns its loss."""

    @abstractmethod
    def validate(self, step: int) -> float:
        """Measure after so many steps, add to the history and keep the best; the score."""

    def begin(self) -> None:
        """Before the first step of a run that is not taken up again."""
        if self.validates_start:
            self.validate(0)
            self.save(0)

    def finished(self) -> bool:
        """Whether to end before the last step."""
        return False

    def run(self) -> float:
        """Train to the last step, going on from a checkpoint where there is one; the best score.

        Ctrl-C writes a checkpoint first; a killed run has lost the steps since its last validation.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.seed)  # Layers such as dropout draw from the global generator.
        start = 0
        if self.checkpoint.exists():
            start = self.resume()
        else:
            self.begin()
        bar = progress(range(start, self.steps), self.title, unit="step")
        with deferred_interrupt() as stop:
            for step in bar:
                if self.finished():
                    break
                loss = self.step(step)
                before = loss if step == 0 else self.running
                self.running = SMOOTHING * before + (1 - SMOOTHING) * loss
                if (step + 1) % self.validate_every == 0 or step + 1 == self.steps:
                    score = self.validate(step + 1)
                    self.save(step + 1)
                    bar.set_postfix({"loss": f"{self.running:.3f}", self.score: f"{score:.3f}"})
                elif stop.requested:
                    self.save(step + 1)
                if stop.requested:
                    raise KeyboardInterrupt
        return self.best

    def save(self, step: int) -> None:
        """Write the checkpoint after so many steps, and the history for people to read."""
        save_checkpoint(
            self.checkpoint,
            step,
            self.modules,
            self.optimizer,
            self.generators,
            self.generator,
            {name: getattr(self, name) for name in self.remembered},
        )
        self.write_history()

    def resume(self) -> int:
        """Take up the checkpoint; the number of steps that were made."""
        step, extra = load_checkpoint(
            self.checkpoint,
            self.modules,
            self.optimizer,
            self.generators,
            self.generator,
        )
        for name in self.remembered:
            setattr(self, name, extra[name])
        return step

    def write_history(self) -> None:
        with replacing_file(self.out / "history.json") as temporary:
            temporary.write_text(json.dumps(self.history, indent=1))
