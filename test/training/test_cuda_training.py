"""Training on a GPU: mixed precision, a cut run, torchrun with NCCL; skipped without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_world import OPTIONS, small_cache, small_head, small_trainer

from saane_ros.training.checkpoint import load_checkpoint, save_checkpoint
from saane_ros.training.devices import launched_fabric
from saane_ros.training.style_mixing import draw_styles
from saane_ros.training.triplets import sample_triplets, triplet_loss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
HERE = Path(__file__).resolve().parent
LONG = replace(OPTIONS, steps=60, validate_every=30, classes=6, precision="auto")


def test_mixed_precision_finds_the_places_behind_the_noise(tmp_path: Path) -> None:
    fabric = launched_fabric("cuda", "auto")
    assert fabric.device.type == "cuda"
    trainer = small_trainer(tmp_path, fabric, LONG, "app")
    seen = []
    trainer.head.register_forward_hook(
        lambda *_: seen.append(torch.get_autocast_dtype("cuda") if _autocast() else None)
    )
    trainer.run()
    assert torch.bfloat16 in seen
    assert trainer.history[-1]["loss"] < trainer.history[1]["loss"]
    assert trainer.best > trainer.history[0]["score"]
    assert all(p.dtype == torch.float32 for p in trainer.head.parameters())


def _autocast() -> bool:
    return torch.is_autocast_enabled("cuda")


def test_a_cut_run_goes_on_near_a_whole_one(tmp_path: Path) -> None:
    """Sums of a GPU come in any order, so that digits differ where a CPU's are the same."""
    fabric = launched_fabric("cuda", "fp32")
    whole = small_trainer(tmp_path / "whole", fabric)
    whole.run()
    cut = small_trainer(tmp_path / "cut", fabric)
    plain_step = cut.step

    def stopping(step: int) -> float:
        if step == 3:
            raise KeyboardInterrupt
        return plain_step(step)

    cut.step = stopping  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    resumed = small_trainer(tmp_path / "cut", fabric)
    resumed.run()
    assert [row["step"] for row in resumed.history] == [0, 2, 4, 6]
    moved = 0.0
    for name, value in whole.head.state_dict().items():
        torch.testing.assert_close(resumed.head.state_dict()[name], value, rtol=1e-3, atol=1e-4)
        start = small_head().state_dict()[name].to(value)
        moved = max(moved, float((value - start).abs().max()))
    assert moved > 1e-2


def test_a_checkpoint_brings_the_gpus_own_generator_back(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5)).cuda()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    generator, seeds = torch.Generator(), {"a": np.random.default_rng(0)}
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, 1, {"m": module}, optimizer, seeds, generator, {})
    batch = torch.ones(8, 64, device="cuda")
    expected = module(batch)
    other = module(batch)
    load_checkpoint(path, {"m": module}, optimizer, seeds, generator)
    assert torch.equal(module(batch), expected)
    assert not torch.equal(other, expected)


def test_torchrun_with_nccl_computes_the_gradient_of_the_cpu(tmp_path: Path) -> None:
    """One process a GPU; NCCL refuses two on the same one."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += [str(torch.cuda.device_count()), str(HERE / "gradient_of_a_batch.py")]
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [*command, str(tmp_path), "cuda"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "backend.txt").read_text() == "nccl"
    found = torch.load(tmp_path / "0.pt", weights_only=True, map_location="cpu")
    head, (cache, views) = small_head(), small_cache()
    indices = np.array(json.loads((tmp_path / "batch.json").read_text()))
    generator = torch.Generator().manual_seed(OPTIONS.seed)
    styles = draw_styles(len(indices), 0.5, generator)
    streams = cache.batch(indices, torch.device("cpu"))
    descriptors = head(*(None if s is None else styles.apply(s) for s in streams)).descriptor
    classes = torch.from_numpy(views.labels[indices])
    triplet_loss(descriptors, sample_triplets(descriptors, classes, 128, generator)).backward()
    for name, parameter in head.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-2, atol=1e-4)
