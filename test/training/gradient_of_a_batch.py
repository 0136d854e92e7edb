"""Run by torchrun in a test: each process writes its gradients after one shared batch."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from training_world import OPTIONS, small_trainer

from saane_ros.training.devices import launched_fabric

if __name__ == "__main__":
    out = Path(sys.argv[1])
    fabric = launched_fabric(*(sys.argv[2:] or ["cpu"]), precision="fp32")
    trainer = small_trainer(out / "run", fabric, replace(OPTIONS, style_mixing=0.5))
    indices = trainer.sampler.draw()
    fabric.backward(trainer.loss(indices))
    gradients = {name: p.grad for name, p in trainer.head.named_parameters()}
    torch.save(gradients, out / f"{fabric.global_rank}.pt")
    (out / "backend.txt").write_text(torch.distributed.get_backend())
    (out / "batch.json").write_text(json.dumps(indices.tolist()))
