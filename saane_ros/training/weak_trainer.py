"""Weakly supervised triplets with cached hard negatives (Arandjelovic et al. 2016, section 4).

The published protocol and values, after the authors' trainWeakly.m; SRALNet is trained alike.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saane_ros.training.features import Batches
from saane_ros.training.mining import Mined, mine, rows_of, violations
from saane_ros.training.tagged_images import Rows, Tuples
from saane_ros.training.tagged_sources import TaggedSource
from saane_ros.training.tensorboard import ScalarLog
from saane_ros.training.trainer import Trainer
from saane_ros.training.validation import describe_all
from saane_ros.training.weight_files import save_weights


@dataclass(frozen=True)
class WeakTraining:
    """The published values by default.

    sources, validation: images with positions to learn from, and to choose the epoch by.
    held_out: whether the configuration's `held_out` places count in that choice too.
    batch: tuples of a step.  margin: between squared distances of unit descriptors, as the VLAD
        heads give; for a norm of s it is s^2 times as much.
    halve_every: epochs after which the learning rate is halved and the cache period doubled.
    random_negatives, hard_negatives: candidates drawn anew for a query, and the hardest ones that
        it remembers; so many at most are learned from.
    cache_every: queries after which all descriptors are computed again.
    train_trunk: whether the trunk's last stage is trained too, through images.
    """

    sources: tuple[TaggedSource, ...] = ()
    validation: tuple[TaggedSource, ...] = ()
    held_out: bool = False
    epochs: int = 30
    batch: int = 4
    margin: float = 0.1
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 1e-3
    halve_every: int = 5
    random_negatives: int = 1000
    hard_negatives: int = 10
    cache_every: int = 1000
    train_trunk: bool = False
    seed: int = 0


class HardestNegatives(nn.Module):
    """The rows (Q, n) of the negatives that were hardest for every query, -1 where unknown."""

    rows: Tensor

    def __init__(self, queries: int, count: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.full((queries, count), -1))

    def of(self, query: int) -> Rows:
        known: Rows = self.rows[query].numpy()
        return known[known >= 0]

    def remember(self, query: int, rows: Rows) -> None:
        self.rows[query, : len(rows)] = torch.from_numpy(rows)


class WeakTrainer(Trainer):
    """Trains what turns batches into descriptors; the best epoch is `best.safetensors`.

    model: a head on cached features, or a trunk with its head on images.  measure: its figures on
    held-out images, "score" among them.  An epoch takes every query once, in a new order.
    """

    title, score, validates_start = "weak supervision", "R@5", True

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        tuples: Tuples,
        measure: Callable[[nn.Module], dict[str, float]],
        options: WeakTraining,
        out: Path,
        device: torch.device,
        log: ScalarLog,
    ) -> None:
        self.epoch_steps = -(-len(tuples) // options.batch)
        super().__init__(out, options.epochs * self.epoch_steps, self.epoch_steps, options.seed)
        self.model, self.batches, self.tuples, self.measure = model, batches, tuples, measure
        self.options, self.device, self.log = options, device, log
        self.memory = HardestNegatives(len(tuples), options.hard_negatives)
        # A resumed run computes the descriptors again that were cached when it was cut.
        self.cached_by = copy.deepcopy(model)
        self.cache: NDArray[np.float32] | None = None
        self.optimizer = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad],
            lr=options.learning_rate,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        self.modules = {"model": model, "cached_by": self.cached_by, "memory": self.memory}
        self.generators = {}

    def step(self, step: int) -> float:
        """One batch of tuples; the mean over its queries of the violations before the step."""
        epoch, number = divmod(step, self.epoch_steps)
        self._keep_cache(step, epoch, number)
        chosen = self._order(epoch)[number * self.options.batch :][: self.options.batch]
        mined = [self._mine(epoch, int(index)) for index in chosen]
        used = [found for found in mined if len(found.negatives)]
        rate = self.options.learning_rate * 0.5 ** (epoch // self.options.halve_every)
        loss = self._descend(used, rate) / len(chosen) if used else 0.0
        self.log.scalars(
            step, {"loss": loss, "violating queries": len(used) / len(chosen), "lr": rate}
        )
        return loss

    def _descend(self, used: list[Mined], rate: float) -> float:
        """A step along the gradient over the number of violating triplets; their sum."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = rows_of(used)
        descriptors = self.model(*self.batches.batch(rows, self.device)).descriptor
        lost = violations(descriptors, rows, used, self.options.margin)
        self.optimizer.zero_grad()
        (lost.sum() / max(int((lost > 0).sum()), 1)).backward()
        self.optimizer.step()
        return float(lost.detach().sum())

    def _mine(self, epoch: int, index: int) -> Mined:
        """The tuple of a query; what is drawn depends on seed, epoch and query alone."""
        assert self.cache is not None
        random = np.random.default_rng([self.options.seed, 1 + epoch, index])
        far = self.tuples.negatives(index)
        drawn = random.permutation(far)[: self.options.random_negatives]
        candidates = np.union1d(drawn, self.memory.of(index))
        mined, hardest = mine(
            self.cache,
            self.tuples.query(index),
            self.tuples.positives(index),
            candidates,
            self.options.margin,
            self.options.hard_negatives,
        )
        self.memory.remember(index, hardest)
        return mined

    def _keep_cache(self, step: int, epoch: int, number: int) -> None:
        queries = self.options.cache_every * 2 ** (epoch // self.options.halve_every)
        if number % max(1, queries // self.options.batch) == 0:
            self.cached_by.load_state_dict(self.model.state_dict())
            self.cache = None
            self.save(step)
        if self.cache is None:
            self.cache = describe_all(self.cached_by, self.batches, self.device)

    def _order(self, epoch: int) -> Rows:
        return np.random.default_rng([self.options.seed, 0, epoch]).permutation(len(self.tuples))

    def validate(self, step: int) -> float:
        figures = self.measure(self.model)
        epoch = step // self.epoch_steps
        self.history.append({"step": step, "epoch": epoch, "loss": self.running, **figures})
        if figures["score"] > self.best:
            self.best = figures["score"]
            save_weights(self.model, self.out / "best.safetensors")
        self.log.scalars(step, {f"validation/{name}": value for name, value in figures.items()})
        return figures["score"]
