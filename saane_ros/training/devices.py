"""One process, or several that torchrun started, behind Lightning Fabric."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from saane_ros.embedding.loading import pick_device
from saane_ros.errors import SaaneError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launched_fabric(device: str = "auto", precision: str = "auto") -> Fabric:
    """A running Fabric on one device, or on every process of `torchrun`.

    precision: "fp32", "bf16" (mixed), or "auto", which is bf16 on CUDA and fp32 on the CPU.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise SaaneError(
            "Training needs Lightning Fabric: install it with pip install 'saane_ros[train]'."
        ) from error
    chosen = pick_device(device)
    mixed = precision == "bf16" or (precision == "auto" and chosen.type == "cuda")
    options: dict[str, Any] = {
        "accelerator": chosen.type,
        "precision": "bf16-mixed" if mixed else "32-true",
        "devices": [chosen.index or 0] if chosen.type == "cuda" else 1,
    }
    if torch.distributed.is_torchelastic_launched():
        world = int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
        options |= {"devices": local, "num_nodes": world // local, "strategy": "ddp"}
    fabric = Fabric(**options)
    fabric.launch()
    return fabric


def gathered(fabric: Fabric, values: torch.Tensor) -> torch.Tensor:
    """Rows (n, D) of every process, (processes * n, D), the same everywhere; gradients go back.

    Every process computes the same loss of all rows, so each row's gradient arrives once from
    every process; the averaging of data-parallel training then restores its size.
    """
    if fabric.world_size == 1:
        return values
    rows = fabric.all_gather(values, sync_grads=True)
    assert isinstance(rows, torch.Tensor)
    return rows.flatten(0, 1)
