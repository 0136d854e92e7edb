"""Weak supervision on a small street: it learns, and a cut run ends as one that was not cut."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tagged_world import OPTIONS, street, weak_trainer, whole_loss

pytest.importorskip("lightning_fabric", reason="the extra train is not installed")
pytest.importorskip("tensorboard", reason="the extra train is not installed")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from saane_ros.embedding.preprocessing import Preprocessing
from saane_ros.errors import SaaneError
from saane_ros.model.appearance import ResNetTrunk
from saane_ros.model.netvlad import NetVlad
from saane_ros.model.vgg import VggTrunk
from saane_ros.model.vlad import VladSizes
from saane_ros.training.fine_tuning import ImageBatches, TrunkAndHead
from saane_ros.training.validation import describe_all
from saane_ros.training.weak_trainer import HardestNegatives, WeakTrainer


def loss_of(trainer: WeakTrainer) -> float:
    return whole_loss(trainer.tuples, trainer.model, trainer.batches)


def test_training_lowers_the_loss_of_all_tuples_and_keeps_the_best(tmp_path: Path) -> None:
    trainer = weak_trainer(tmp_path, replace(OPTIONS, epochs=20, learning_rate=0.3, halve_every=5))
    trainer.measure = lambda model: {"score": -loss_of(trainer)}
    before = loss_of(trainer)
    trainer.run()
    assert before > 0.1
    assert -trainer.best < 0.5 * before
    assert [row["epoch"] for row in trainer.history] == list(range(21))
    trainer.model.load_state_dict(load_file(tmp_path / "best.safetensors"))
    assert loss_of(trainer) == pytest.approx(-trainer.best)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = {"loss", "violating queries", "lr", "validation/score"}
    assert tags <= set(events.Tags()["scalars"])
    rates = [event.value for event in events.Scalars("lr")]
    assert rates[: 5 * 5] == pytest.approx([0.3] * 25)
    assert rates[5 * 5] == pytest.approx(0.15)
    assert rates[-1] == pytest.approx(0.3 / 2**3)


@pytest.mark.parametrize("kill_at", [1, 3, 6, 9])
@pytest.mark.parametrize("asked", [True, False])
def test_a_run_that_was_cut_goes_on_bit_for_bit(tmp_path: Path, kill_at: int, asked: bool) -> None:
    """Cut within and between epochs and periods of the cache, by Ctrl-C and without a chance."""
    whole = weak_trainer(tmp_path / "whole")
    whole.run()
    cut = weak_trainer(tmp_path / "cut")
    plain_step = cut.step

    def step_then_cut(step: int) -> float:
        if step == kill_at and not asked:
            raise RuntimeError("killed")
        loss = plain_step(step)
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    cut.step = step_then_cut  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt if asked else RuntimeError):
        cut.run()
    resumed = weak_trainer(tmp_path / "cut")
    resumed.run()
    assert whole.history == resumed.history
    assert torch.equal(whole.memory.rows, resumed.memory.rows)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert not torch.equal(whole.model.centroids, weak_trainer(tmp_path / "new").model.centroids)
    files = [(tmp_path / run / "best.safetensors").read_bytes() for run in ("whole", "cut")]
    assert files[0] == files[1]


def test_a_checkpoint_of_other_queries_is_refused(tmp_path: Path) -> None:
    weak_trainer(tmp_path).run()
    with pytest.raises(SaaneError, match="does not belong to this configuration"):
        weak_trainer(tmp_path, replace(OPTIONS, hard_negatives=4)).run()


def test_candidates_are_the_remembered_and_new_ones_and_the_hardest_stay(tmp_path: Path) -> None:
    trainer = weak_trainer(tmp_path, replace(OPTIONS, random_negatives=2, hard_negatives=2))
    trainer.cache = describe_all(trainer.model, trainer.batches, torch.device("cpu"))
    far, query = trainer.tuples.negatives(0), trainer.cache[trainer.tuples.query(0)]
    distance = {row: float(((trainer.cache[row] - query) ** 2).sum()) for row in far}
    hardest = sorted(far, key=distance.__getitem__)[:2]
    worst = []
    for epoch in range(40):
        trainer._mine(epoch, 0)
        worst.append(max(distance[row] for row in trainer.memory.of(0)))
    assert worst == sorted(worst, reverse=True)
    assert trainer.memory.of(0).tolist() == hardest
    assert HardestNegatives(2, 3).of(1).tolist() == []


def test_a_street_without_violations_changes_nothing(tmp_path: Path) -> None:
    trainer = weak_trainer(tmp_path, replace(OPTIONS, epochs=1, margin=-4.0))
    before = trainer.model.centroids.detach().clone()
    trainer.run()
    assert torch.equal(trainer.model.centroids, before)
    assert trainer.running == 0


class Pictures:
    key = "pictures"

    def __len__(self) -> int:
        return 28

    def read(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 255, (32, 48, 3)).astype(np.uint8)


@pytest.mark.parametrize("trunk", [ResNetTrunk("resnet18", width=8), VggTrunk()])
def test_the_last_stage_of_a_trunk_trains_with_the_head(
    tmp_path: Path, trunk: ResNetTrunk | VggTrunk
) -> None:
    trainer = weak_trainer(tmp_path, replace(OPTIONS, epochs=1))
    torch.manual_seed(0)
    head = NetVlad(VladSizes(inputs=trunk.channels16, words=3))
    model = TrunkAndHead(trunk, head)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = ImageBatches(Pictures(), Preprocessing(32, 48))
    learning = WeakTrainer(
        model, batches, trainer.tuples, trainer.measure, replace(OPTIONS, epochs=1, margin=2.0),
        tmp_path / "fine", torch.device("cpu"), trainer.log,
    )  # fmt: skip
    assert len(street().queries) + len(street().references) == len(batches)
    learning.step(0)
    last = (
        {"layer3"}
        if isinstance(trunk, ResNetTrunk)
        else {"features.24", "features.26", "features.28"}
    )
    for name, value in model.state_dict().items():
        trains = name.startswith(("head.", *(f"trunk.{part}." for part in last)))
        still = "running_" in name or "num_batches" in name or name.startswith("head.whitening")
        assert torch.equal(value, before[name]) != (trains and not still), name
