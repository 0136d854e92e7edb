"""Runs that are cut and go on, and runs on several processes, against plain ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_world import OPTIONS, small_cache, small_head, small_trainer

from saane_ros.errors import SaaneError
from saane_ros.training.devices import launched_fabric
from saane_ros.training.style_mixing import draw_styles
from saane_ros.training.triplets import sample_triplets, triplet_loss

HERE = Path(__file__).resolve().parent


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) for key, value in first.items()
    )


def test_a_run_that_was_cut_goes_on_bit_for_bit(tmp_path: Path) -> None:
    fabric = launched_fabric("cpu")
    whole = small_trainer(tmp_path / "whole", fabric)
    whole.run()
    cut = small_trainer(tmp_path / "cut", fabric)
    steps = iter(range(3))
    plain_step = cut.step

    def step_then_interrupt(step: int) -> float:
        loss = plain_step(step)
        if next(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    cut.step = step_then_interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    torch.manual_seed(99)
    resumed = small_trainer(tmp_path / "cut", fabric)
    resumed.run()
    assert same(whole.head.state_dict(), resumed.head.state_dict())
    assert not same(whole.head.state_dict(), small_head().state_dict())
    assert whole.history == resumed.history
    assert [row["step"] for row in whole.history] == [0, 2, 4, 6]
    files = [(tmp_path / run / "head.safetensors").read_bytes() for run in ("whole", "cut")]
    assert files[0] == files[1]


@pytest.mark.parametrize("start", ["default", "trunk", "whitened"])
def test_the_same_seed_gives_the_same_bytes_and_a_finished_run_keeps_its_head(
    tmp_path: Path, start: str
) -> None:
    """The head has fewer channels than the trunk, so its start needs a random matrix."""
    options = replace(OPTIONS, start=start, share=0.5, modality_dropout=0.3)  # type: ignore[arg-type]
    fabric = launched_fabric("cpu")
    files = []
    for ambient, folder in ((1, "first"), (2, "second"), (3, "first")):
        torch.manual_seed(ambient)
        small_trainer(tmp_path / folder, fabric, options).run()
        files.append((tmp_path / folder / "head.safetensors").read_bytes())
    assert files[0] == files[1] == files[2]


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    fabric = launched_fabric("cpu")
    small_trainer(tmp_path, fabric).run()
    with pytest.raises(SaaneError, match="does not belong to this configuration"):
        small_trainer(tmp_path, fabric, system="app").run()


def test_training_finds_the_places_behind_the_noise(tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=60, validate_every=30, classes=6)
    trainer = small_trainer(tmp_path, launched_fabric("cpu"), options, "app")
    trainer.run()
    assert trainer.history[-1]["loss"] < trainer.history[1]["loss"]
    assert trainer.best > trainer.history[0]["score"]


def test_patience_ends_a_run(tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=50, learning_rate=0.0, validate_every=1, patience=3)
    trainer = small_trainer(tmp_path, launched_fabric("cpu"), options)
    trainer.run()
    assert [row["step"] for row in trainer.history] == [0, 1, 2, 3]


def test_two_processes_compute_the_gradient_of_one(tmp_path: Path) -> None:
    """The same batch and negatives, shared by torchrun's processes or taken whole."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(HERE / "gradient_of_a_batch.py"), str(tmp_path)]
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    shared = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    head, (cache, views) = small_head(), small_cache()
    indices = np.array(json.loads((tmp_path / "batch.json").read_text()))
    generator = torch.Generator().manual_seed(OPTIONS.seed)
    styles = draw_styles(len(indices), 0.5, generator)
    streams = cache.batch(indices, torch.device("cpu"))
    descriptors = head(*(None if s is None else styles.apply(s) for s in streams)).descriptor
    classes = torch.from_numpy(views.labels[indices])
    loss = triplet_loss(descriptors, sample_triplets(descriptors, classes, 128, generator))
    loss.backward()
    assert sum(float(p.grad.abs().max()) > 0 for p in head.parameters()) >= 6
    for name, parameter in head.named_parameters():
        for gradients in shared:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_a_share_of_the_way_from_start_to_end_is_kept(tmp_path: Path) -> None:
    whole = small_trainer(tmp_path / "whole", launched_fabric("cpu"), OPTIONS)
    start = {name: value.clone() for name, value in whole.head.state_dict().items()}
    whole.run()
    options = replace(OPTIONS, share=0.25)
    trainer = small_trainer(tmp_path / "part", launched_fabric("cpu"), options)
    score = trainer.run()
    for _ in range(2):
        kept = load_file(tmp_path / "part" / "head.safetensors")
        for name, end in whole.head.state_dict().items():
            torch.testing.assert_close(kept[name], start[name] + 0.25 * (end - start[name]))
        again = small_trainer(tmp_path / "part", launched_fabric("cpu"), options)
        assert again.run() == score
    assert trainer.history[-1]["share"] == 0.25
    assert json.loads((tmp_path / "part" / "history.json").read_text()) == trainer.history
