"""From camera images of any size to one normalised batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.messages.encoded import halvings
from saane_ros.types import Rgb

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


AREA = "area"


def resized(image: Rgb, height: int, width: int, interpolation: str = AREA) -> Rgb:
    """Plain resize without a crop: the pyramid encodes the layout of the whole image.

    A large image is halved first, see `halvings`.  interpolation: `area`, the means of the pixels
    that become one; `bilinear` or `bicubic`, wider where an image shrinks ("antialias"), as
    torchvision and Pillow resize pictures.
    """
    for _ in range(halvings(image.shape[0], image.shape[1], (height, width))):
        half = image.shape[1] // 2, image.shape[0] // 2
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if image.shape[:2] == (height, width):
        return image
    if interpolation != AREA:
        pixels = _shared(image).permute(2, 0, 1)[None]
        sized = functional.interpolate(pixels, (height, width), mode=interpolation, antialias=True)
        return np.ascontiguousarray(sized[0].permute(1, 2, 0).numpy())
    shrinking = image.shape[0] > height or image.shape[1] > width
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method).astype(np.uint8, copy=False)


class Preprocessing(nn.Module):
    """Resize, scale to [0, 1], subtract the mean and divide by the deviation, on the device."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        height: int,
        width: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        interpolation: str = AREA,
    ) -> None:
        super().__init__()
        self.height, self.width, self.interpolation = height, width, interpolation
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Sequence[Rgb], device: torch.device) -> Tensor:
        """Images uint8 H x W x 3 of any sizes to float32 B x 3 x height x width."""
        return self.normalise(sent(self.resized(images), device).permute(0, 3, 1, 2))

    def resized(self, images: Sequence[Rgb]) -> NDArray[np.uint8]:
        """Images uint8 H x W x 3 of any sizes to uint8 B x height x width x 3."""
        sized = [self.resize(image) for image in images]
        return np.ascontiguousarray(sized[0][None]) if len(sized) == 1 else np.stack(sized)

    def resize(self, image: Rgb) -> Rgb:
        """One image as `resized` makes it."""
        return resized(image, self.height, self.width, self.interpolation)

    def resize_labelled(
        self, image: Rgb, labels: NDArray[np.uint8]
    ) -> tuple[Rgb, NDArray[np.uint8]]:
        """An image and the label map that belongs to it, which may be of another size before."""
        size = self.width, self.height
        sized = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        return self.resize(image), sized.astype(np.uint8)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 B x 3 x h x w to float32, the dataset's mean and deviation taken out."""
        scaled = pixels.float() / 255
        return (scaled - self.mean.to(pixels.device)) / self.std.to(pixels.device)


def sent(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images on a device. To a GPU they go by pinned memory, so that nothing waits for them."""
    pixels = _shared(images)
    if device.type != "cuda":
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)


def _shared(values: NDArray[np.uint8]) -> Tensor:
    """A tensor of the same memory, but of a copy where that may not be written: PyTorch knows no
    such tensors and warns."""
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def fetched(values: Mapping[str, Tensor], device: torch.device) -> dict[str, NDArray[Any]]:
    """Tensors as arrays; those that a GPU writes all at once, so that it is waited for once."""
    there = {name: value.to("cpu", non_blocking=True) for name, value in values.items()}
    if device.type != "cuda":
        return {name: value.numpy() for name, value in there.items()}
    torch.cuda.current_stream(device).synchronize()
    # Pinned memory is taken from the whole system, and may be written again: a copy is kept.
    return {name: value.numpy().copy() for name, value in there.items()}
