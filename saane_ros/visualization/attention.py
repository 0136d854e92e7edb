"""Attention maps over the image that they were computed from, with the scale that they are on."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Rgb
from saane_ros.visualization.blending import blend
from saane_ros.visualization.panel import Tile
from saane_ros.visualization.text import PAPER, label

_SHARE = 12
"""Height of a picture in heights of its scale."""
_SMALLEST = 14
"""Pixels of height: below, the figures of a scale cannot be read any more."""


def overlay_attention(
    image: Rgb,
    attention: NDArray[np.float32],
    opacity: float,
    limits: tuple[float, float] | None = None,
) -> Rgb:
    """Lay an attention map (h, w) over an image (H, W, 3); same size out.

    The map is enlarged bilinearly and coloured by inferno, a perceptually uniform map, from its
    own smallest value, black, to its largest, pale yellow: maps are often nearly flat. The scale
    along the lower edge tells both, as two pictures cannot be compared without; a picture of less
    than 56 x 28 pixels has no room for it.  limits: ends of a scale that several pictures share;
    whoever gives them shows it once, and none is drawn.
    """
    height, width = image.shape[:2]
    low, high = attention_range(attention) if limits is None else limits
    values = (np.nan_to_num(np.asarray(attention, np.float32)) - low) / max(high - low, 1e-12)
    enlarged = np.asarray(cv2.resize(values, (width, height)), np.float32)
    picture = blend(image, _coloured(np.asarray(enlarged, np.float32)), opacity)
    if limits is None and min(height // 2, width // 4) >= _SMALLEST:
        strip = _scale(low, high, width, max(_SMALLEST, height // _SHARE))
        picture[-len(strip) :] = strip
    return picture


def attention_tile(
    title: str, image: Rgb, attention: NDArray[np.float32], opacity: float, height: int
) -> Tile:
    """The overlay drawn at the height that a panel shows it in; its title tells the range too.

    So numbers stay as sharp on a large image as on a small one.
    """
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    method = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
    shown = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    low, high = ends(*attention_range(attention))
    return Tile(f"{title} {low} to {high}", overlay_attention(shown, attention, opacity))


def attention_range(attention: NDArray[np.float32]) -> tuple[float, float]:
    """Smallest and largest value; what is not a number counts as 0."""
    values = np.nan_to_num(np.asarray(attention, np.float32))
    return float(values.min()), float(values.max())


def ends(low: float, high: float) -> tuple[str, str]:
    """The ends of a range in two decimals, or in as many more, up to five, as tell them apart."""
    decimals = 2
    while decimals < 5 and high - low < 10.0 ** (1 - decimals):
        decimals += 1
    if f"{low:.5f}" == f"{high:.5f}":
        decimals = 2
    return f"{low:.{decimals}f}", f"{high:.{decimals}f}"


def _scale(low: float, high: float, width: int, height: int) -> Rgb:
    """A strip (height, width, 3): the low end in figures, the colours, the high end."""
    first, last = (label(end, height, width // 3) for end in ends(low, high))
    strip = np.full((height, width, 3), PAPER, np.uint8)
    left, right = first.shape[1], width - last.shape[1]
    strip[:, :left], strip[:, right:] = first, last
    margin = max(2, height // 5)
    strip[margin:-margin, left:right] = _coloured(np.linspace(0, 1, right - left)[None])
    return strip


def _coloured(values: NDArray[np.floating]) -> Rgb:
    """Values (h, w) in [0, 1] in inferno's colours."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.asarray(colours, np.uint8)
