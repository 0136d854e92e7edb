"""A route map drawn from above."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.route_map.statistics import drive_names
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Rgb

WIDTH, HEIGHT, MARGIN = 1200, 900, 80
PAPER, INK, FAINT = (250, 250, 247), (40, 42, 46), (222, 222, 216)
COLOURS = ((31, 96, 172), (214, 107, 20), (34, 139, 84), (160, 60, 150), (120, 120, 30))
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT = 4  # bits of subpixel positions


def route_plot(route_map: RouteMap) -> Rgb:
    """The places of a map on a metric grid, uint8 (900, 1200, 3), north up.

    Each drive has a colour; the ring is where the route begins, the square where it ends. Raises
    SaaneError where the map has no poses.
    """
    if not route_map.metric:
        raise SaaneError(f"Route map {route_map.path} has no poses to draw: build it with poses.")
    points = np.array([p.pose.position[:2] for p in route_map.places if p.pose is not None])
    picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    view = _View(points)
    view.draw_grid(picture)
    names = drive_names(route_map)
    drives = list(dict.fromkeys(names))
    for number, drive in enumerate(drives):
        rows = [row for row, name in enumerate(names) if name == drive]
        _draw_drive(picture, view.pixels(points[rows]), COLOURS[number % len(COLOURS)])
    start, end = view.pixels(points[[0, -1]])
    cv2.circle(picture, _point(start), 12 << _SHIFT, INK, 2, cv2.LINE_AA, _SHIFT)
    corner = np.array([10, 10])
    cv2.rectangle(picture, _whole(end - corner), _whole(end + corner), INK, 2, cv2.LINE_AA)
    _caption(picture, route_map, drives)
    return picture


class _View:
    """Metres to pixels."""

    def __init__(self, points: NDArray[np.float64]) -> None:
        self.middle = (points.min(axis=0) + points.max(axis=0)) / 2
        extent = np.maximum(np.ptp(points, axis=0), 1.0)
        room = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
        self.scale = float((room / extent).min())
        self.step = _round_step(120 / self.scale)

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        offset = (points - self.middle) * (self.scale, -self.scale)
        return np.asarray(offset + np.array([WIDTH / 2, HEIGHT / 2]), np.float64)

    def draw_grid(self, picture: Rgb) -> None:
        """Lines every `step` metres, each with its coordinate."""
        reach = np.array([WIDTH, HEIGHT]) / (2 * self.scale)
        low, high = self.middle - reach, self.middle + reach
        for axis in (0, 1):
            first = math.ceil(low[axis] / self.step)
            for k in range(first, math.floor(high[axis] / self.step) + 1):
                at = self.middle.copy()
                at[axis] = k * self.step
                pixel = _whole(self.pixels(at))
                ends = (
                    ((pixel[0], 0), (pixel[0], HEIGHT))
                    if axis == 0
                    else ((0, pixel[1]), (WIDTH, pixel[1]))
                )
                cv2.line(picture, *ends, FAINT, 1)
                place = (pixel[0] + 4, HEIGHT - 8) if axis == 0 else (6, pixel[1] - 5)
                cv2.putText(picture, f"{k * self.step:g}", place, _FONT, 0.42, INK, 1, cv2.LINE_AA)


def _draw_drive(picture: Rgb, pixels: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    line = np.round(pixels * 2**_SHIFT).astype(np.int32)
    cv2.polylines(picture, [line.reshape(-1, 1, 2)], False, colour, 1, cv2.LINE_AA, _SHIFT)
    for pixel in pixels:
        cv2.circle(picture, _point(pixel), 3 << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)


def _caption(picture: Rgb, route_map: RouteMap, drives: list[str]) -> None:
    length = route_map.arc_length[-1] - route_map.arc_length[0]
    title = (
        f"{route_map.info.name}: {route_map.info.count} places, {length:.0f} m, metres east/north"
    )
    lines = [(title, INK)]
    if len(drives) > 1:
        lines += [(name, COLOURS[k % len(COLOURS)]) for k, name in enumerate(drives)]
    for row, (text, colour) in enumerate(lines):
        plain = text.encode("ascii", "replace").decode()
        (width, height), _ = cv2.getTextSize(plain, _FONT, 0.6, 1)
        y = 30 + 26 * row
        cv2.rectangle(picture, (36, y - height - 6), (48 + width, y + 8), PAPER, -1)
        cv2.putText(picture, plain, (42, y), _FONT, 0.6, colour, 1, cv2.LINE_AA)


def _round_step(metres: float) -> float:
    """1, 2 or 5 times a power of ten, at least this many metres."""
    power = 10.0 ** math.floor(math.log10(metres))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= metres - 1e-9)


def _point(pixel: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(pixel[0]) * 2**_SHIFT), round(float(pixel[1]) * 2**_SHIFT)


def _whole(pixel: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(pixel[0])), round(float(pixel[1]))
