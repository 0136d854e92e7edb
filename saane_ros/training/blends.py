"""Weights part of the way from the start to the end of training (WiSE-FT).

Wortsman et al. 2022, Robust fine-tuning of zero-shot models. Less training generalises better
where training places are few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    """The module's state as it is now."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def try_blends(
    module: nn.Module,
    start: Mapping[str, Tensor],
    shares: Sequence[float],
    judge: Callable[[float], None],
) -> None:
    """Call `judge` with each share while the module lies so far from `start`."""
    trained = copy_of(module)
    for share in shares:
        module.load_state_dict(blended(start, trained, share))
        judge(share)
    module.load_state_dict(trained)


def blended(
    start: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """The state that lies `share` of the way from `start` to `trained`.

    Whole numbers, such as BatchNorm's counter, stay as they were trained.
    """
    return {
        name: start[name].lerp(value, share) if value.is_floating_point() else value
        for name, value in trained.items()
    }
