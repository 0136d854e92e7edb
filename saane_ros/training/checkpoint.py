"""The state of a training run on disk, so that a resumed run goes on bit for bit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file


def save_checkpoint(
    path: Path,
    step: int,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    generators: dict[str, np.random.Generator],
    torch_generator: torch.Generator,
    extra: dict[str, Any],
) -> None:
    """Write modules, optimizer and every random generator; `extra` is plain JSON."""
    state = {
        "step": step,
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimizer": optimizer.state_dict(),
        "generators": json.dumps({k: g.bit_generator.state for k, g in generators.items()}),
        "torch_generator": torch_generator.get_state(),
        "global_generator": torch.get_rng_state(),
        "device_generators": {d: torch.cuda.get_rng_state(d) for d in _cuda_devices(modules)},
        "extra": json.dumps(extra),
    }
    with replacing_file(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(
    path: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    generators: dict[str, np.random.Generator],
    torch_generator: torch.Generator,
) -> tuple[int, dict[str, Any]]:
    """Restore everything `save_checkpoint` wrote; returns the step and the extra values."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise SaaneError(
            f"The checkpoint {path} is damaged ({str(error).splitlines()[0]}): remove it to start "
            "again."
        ) from error
    try:
        for name, module in modules.items():
            module.load_state_dict(state["modules"][name])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise SaaneError(
            f"The checkpoint {path} does not belong to this configuration ({error}): "
            "remove it or give another --out folder."
        ) from error
    for name, saved in json.loads(state["generators"]).items():
        generators[name].bit_generator.state = saved
    torch_generator.set_state(state["torch_generator"])
    torch.set_rng_state(state["global_generator"])
    for device in _cuda_devices(modules):
        if device in state.get("device_generators", {}):
            torch.cuda.set_rng_state(state["device_generators"][device], device)
    return int(state["step"]), json.loads(state["extra"])


def _cuda_devices(modules: dict[str, nn.Module]) -> list[str]:
    """Whose own generators layers such as dropout draw from."""
    parameters = (p for module in modules.values() for p in module.parameters())
    return sorted({str(p.device) for p in parameters if p.device.type == "cuda"})
