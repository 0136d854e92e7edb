"""Who may use which town, and how one seed feeds many independent random streams."""

from __future__ import annotations

import zlib

import numpy as np

from saane_ros.errors import SaaneError

TRAINING_SEEDS = range(1_000, 2_000)
VALIDATION_SEEDS = range(2_000, 2_100)
DEMO_SEED = 7
"""The town of the demo and of its published figures: nothing is ever trained or tuned on it."""


def purpose_of(seed: int) -> str:
    """ "training", "validation", "demo" or "free": what a town's seed is reserved for."""
    if seed == DEMO_SEED:
        return "demo"
    if seed in TRAINING_SEEDS:
        return "training"
    return "validation" if seed in VALIDATION_SEEDS else "free"


def require_training_seed(seed: int) -> int:
    """The seed itself, or a SaaneError where training on that town would spoil an evaluation."""
    if purpose_of(seed) != "training":
        raise SaaneError(
            f"Town seed {seed} is not a training seed, a model trained on it could not be judged: "
            f"choose one from {TRAINING_SEEDS.start} to {TRAINING_SEEDS.stop - 1}."
        )
    return seed


def stream(seed: int, *keys: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the keys alone, the same in every process."""
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else int(k) & 0xFFFFFFFF for k in keys]
    return np.random.default_rng([int(seed), len(words), *words])
