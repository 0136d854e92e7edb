"""Lines of text sized to the picture that they stand in."""

from __future__ import annotations

import cv2
import numpy as np

from saane_ros.types import Rgb

_FONT = cv2.FONT_HERSHEY_SIMPLEX
INK = (235, 235, 235)
PAPER = (24, 26, 30)


_SMALLEST = 0.6  # of the height that the strip offers; below, text is cut instead


def text_line(
    text: str,
    width: int,
    height: int,
    colour: tuple[int, int, int] = INK,
    paper: tuple[int, int, int] = PAPER,
) -> Rgb:
    """One line of text on a strip (height, width, 3), dark by default, as large as it allows.

    Text too long for the width shrinks a little, then loses its end to "...".
    """
    strip = np.full((height, width, 3), paper, np.uint8)
    line = text.encode("ascii", "replace").decode().strip()  # the font has no other characters
    if not line:
        return strip
    margin = max(2, height // 5)
    thickness = 1 + height // 40
    (_, unit_height), _ = cv2.getTextSize("Ag", _FONT, 1.0, thickness)
    tallest = (height - 2 * margin) / unit_height
    room = (width - 2 * margin) / (_SMALLEST * tallest)
    if _width(line, thickness) > room:
        while line and _width(line + "...", thickness) > room:
            line = line[:-1]
        line += "..."
    scale = min(tallest, (width - 2 * margin) / _width(line, thickness))
    baseline = (height + round(unit_height * scale)) // 2
    cv2.putText(strip, line, (margin, baseline), _FONT, scale, colour, thickness, cv2.LINE_AA)
    return strip


def label(text: str, height: int, widest: int) -> Rgb:
    """Text in a strip of this height that is just as wide as it needs, but at most `widest`."""
    margin, thickness = max(2, height // 5), 1 + height // 40
    (_, unit_height), _ = cv2.getTextSize("Ag", _FONT, 1.0, thickness)
    wanted = _width(text, thickness) * (height - 2 * margin) / unit_height + 2 * margin
    return text_line(text, min(int(np.ceil(wanted)), widest), height)


def _width(line: str, thickness: int) -> int:
    """Width of a line at scale 1."""
    (width, _), _ = cv2.getTextSize(line, _FONT, 1.0, thickness)
    return int(width)
