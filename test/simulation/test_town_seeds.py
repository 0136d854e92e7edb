from __future__ import annotations

import pytest

from saane_ros.errors import SaaneError
from saane_ros.simulation.seeds import (
    DEMO_SEED,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    purpose_of,
    require_training_seed,
    stream,
)


def test_every_seed_serves_one_purpose() -> None:
    groups = [set(TRAINING_SEEDS), set(VALIDATION_SEEDS), {DEMO_SEED}]
    assert sum(len(g) for g in groups) == len(set().union(*groups))
    assert len(TRAINING_SEEDS) == 1000
    assert [purpose_of(s) for s in (DEMO_SEED, 1000, 1999, 2000, 2099, 2100, 0)] == [
        "demo",
        "training",
        "training",
        "validation",
        "validation",
        "free",
        "free",
    ]


@pytest.mark.parametrize("seed", [DEMO_SEED, VALIDATION_SEEDS[0], 5000])
def test_training_on_a_reserved_town_is_refused(seed: int) -> None:
    with pytest.raises(SaaneError, match=f"{seed} is not a training seed"):
        require_training_seed(seed)
    assert require_training_seed(TRAINING_SEEDS[3]) == TRAINING_SEEDS[3]


def test_streams_differ_by_seed_and_by_every_key() -> None:
    keys = [(1, "a"), (2, "a"), (1, "b"), (1, "a", 0), (1, "a", 1), (1, "a", -1)]
    drawn = [tuple(stream(*k).integers(0, 1 << 30, 4).tolist()) for k in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn[0] == tuple(stream(1, "a").integers(0, 1 << 30, 4).tolist())
