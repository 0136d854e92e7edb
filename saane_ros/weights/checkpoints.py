"""Strict loading of tensors into networks: every deviation is named, nothing is skipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from saane_ros.errors import SaaneError

SHOWN = 12


def load_strict(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Fill a module completely; values take the module's dtype, fp16 files included.

    what: names the weights in the error, which lists unmatched, missing and misshapen keys.
    BatchNorm's `num_batches_tracked` may be absent: older files lack it and inference ignores it.
    """
    wanted = module.state_dict()
    unmatched = [key for key in tensors if key not in wanted]
    missing = [
        key for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")
    ]
    misshapen = [
        f"{key} {_shape(tensors[key])} instead of {_shape(wanted[key])}"
        for key in wanted
        if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    problems = [
        f"{len(keys)} {kind} ({_listed(keys)})"
        for kind, keys in (
            ("keys the network does not have", unmatched),
            ("keys missing", missing),
            ("tensors of the wrong shape", misshapen),
        )
        if keys
    ]
    if problems:
        raise SaaneError(
            f"{what} does not fit the network: {', '.join(problems)}; "
            "use the weights that the model card names or correct the card's architecture."
        )
    module.load_state_dict({**wanted, **tensors})


def trunk_tensors(tensors: Mapping[str, Tensor], tap: str = "") -> dict[str, Tensor]:
    """A trunk's state dict: without what lies behind its tap, and without `module.` prefix."""
    behind = ("fc.", "classifier.") if tap == "layer4" else ("layer4.", "fc.", "classifier.")
    return {
        key: value
        for key, value in without_module_prefix(tensors).items()
        if not key.startswith(behind)
    }


def without_module_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the `module.` that DataParallel puts before every key."""
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def merged(parts: Iterable[Mapping[str, Tensor]], what: str) -> dict[str, Tensor]:
    """One state dict from several files; a key in two of them is an error."""
    whole: dict[str, Tensor] = {}
    for part in parts:
        twice = sorted(whole.keys() & part.keys())
        if twice:
            raise SaaneError(
                f"{what} comes in files that share keys ({_listed(twice)}): "
                "give files of one checkpoint."
            )
        whole.update(part)
    return whole


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _listed(keys: list[str]) -> str:
    rest = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
