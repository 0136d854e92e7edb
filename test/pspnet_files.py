"""Both public ADE20K PSPNet layouts, written down here a second time, and random files of them."""

from __future__ import annotations

from functools import cache

import torch

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int, extras: bool) -> Shapes:
    keys = ["weight", "bias", "running_mean", "running_var"]
    shapes: Shapes = {f"{name}.{key}": (channels,) for key in keys}
    shapes[f"{name}.num_batches_tracked"] = ()
    if extras:
        shapes[f"{name}._tmp_running_mean"] = shapes[f"{name}._tmp_running_var"] = (channels,)
        shapes[f"{name}._running_iter"] = (1,)
    return shapes


def stages(extras: bool) -> Shapes:
    shapes: Shapes = {}
    inputs = 128
    for stage, (width, count) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, inputs, 1, 1)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            shapes[f"{name}.conv3.weight"] = (4 * width, width, 1, 1)
            for index, channels in ((1, width), (2, width), (3, 4 * width)):
                shapes |= norm(f"{name}.bn{index}", channels, extras)
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                shapes |= norm(f"{name}.downsample.1", 4 * width, extras)
            inputs = 4 * width
    return shapes


def csail() -> Shapes:
    shapes = stages(extras=True)
    for index, (inputs, outputs) in enumerate([(3, 64), (64, 64), (64, 128)], start=1):
        shapes[f"conv{index}.weight"] = (outputs, inputs, 3, 3)
        shapes |= norm(f"bn{index}", outputs, True)
    for level in range(4):
        shapes[f"ppm.{level}.1.weight"] = (512, 2048, 1, 1)
        shapes |= norm(f"ppm.{level}.2", 512, True)
    shapes["conv_last.0.weight"] = (512, 4096, 3, 3)
    shapes["cbr_deepsup.0.weight"] = (512, 1024, 3, 3)
    shapes |= norm("conv_last.1", 512, True) | norm("cbr_deepsup.1", 512, True)
    for last in ("conv_last.4", "conv_last_deepsup"):
        shapes |= {f"{last}.weight": (150, 512, 1, 1), f"{last}.bias": (150,)}
    return shapes


def semseg() -> Shapes:
    shapes = stages(extras=False)
    for index, inputs, outputs in ((0, 3, 64), (3, 64, 64), (6, 64, 128)):
        shapes[f"layer0.{index}.weight"] = (outputs, inputs, 3, 3)
        shapes |= norm(f"layer0.{index + 1}", outputs, False)
    for level in range(4):
        shapes[f"ppm.features.{level}.1.weight"] = (512, 2048, 1, 1)
        shapes |= norm(f"ppm.features.{level}.2", 512, False)
    for head, inputs, width in (("cls", 4096, 512), ("aux", 1024, 256)):
        shapes[f"{head}.0.weight"] = (width, inputs, 3, 3)
        shapes |= norm(f"{head}.1", width, False)
        shapes |= {f"{head}.4.weight": (150, width, 1, 1), f"{head}.4.bias": (150,)}
    return shapes


SHAPES = {"csail": csail(), "semseg": semseg()}


@cache
def checkpoint(variant: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        key: torch.rand(shape, generator=generator).to(
            torch.int64 if key.endswith("num_batches_tracked") else torch.float32
        )
        for key, shape in SHAPES[variant].items()
    }
