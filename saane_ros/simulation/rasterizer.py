"""From faces to a picture of face numbers: selection, projection, clipping, painting."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.camera import Camera, Viewpoint
from saane_ros.simulation.mesh import BARE, DISC, IN_LEAF, QUAD, STANDING_LAYER, STRIP, Faces
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.trees import OUTLINES

Array = NDArray[np.float64]

NEAR_M = 0.3
FAR_M = 190.0
CORNERS = 12
_SHIFT = 3
_MARGIN_M = 12.0
_THINNEST_PX = 0.3


def _disc_outlines() -> Array:
    """Irregular outlines around the unit circle, (OUTLINES, CORNERS, 2)."""
    rng = stream(0, "outlines")
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    radius = 1 + 0.22 * rng.uniform(-1, 1, (OUTLINES, CORNERS))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)


_OUTLINES = _disc_outlines()


@dataclass(frozen=True)
class Projection:
    """Faces in the camera's frame, n rows.

    frame (n, 3, 3): rows u, v and origin of each texture in optical metres.
    """

    faces: Faces
    frame: Array
    polygons: list[NDArray[np.int32]]
    order: NDArray[np.intp]


def select(faces: Faces, view: Viewpoint, camera: Camera, leaves: bool) -> NDArray[np.intp]:
    """Rows that may be seen: in range, in the frustum, in season and not from behind. Never row 0.

    Row 0 is the ground below everything, which needs no polygon.
    """
    ahead = view.rotation[2, :2] / np.linalg.norm(view.rotation[2, :2])
    aside = np.array([ahead[1], -ahead[0]])
    offset = faces.key - view.centre[:2]
    forward, sideways = offset @ ahead, offset @ aside
    tangent = camera.width / 2 / camera.focal
    seen = (forward > -_MARGIN_M) & (forward < FAR_M)
    seen &= np.abs(sideways) < np.maximum(forward, 0) * tangent + _MARGIN_M
    seen &= faces.season != (BARE if leaves else IN_LEAF)
    seen[0] = False
    rows = np.flatnonzero(seen)
    toward = view.centre - faces.frame[rows, 0]
    front = np.einsum("ij,ij->i", faces.normal[rows], toward) > 1e-6
    return rows[front | faces.two_sided[rows]]


def project(faces: Faces, view: Viewpoint, camera: Camera) -> Projection:
    """Polygons in fixed-point pixels, texture frames, and the order of painting.

    Row 0 must be the ground below everything; it is left out of polygons and order.
    """
    frame, corners, keep = _in_camera(faces, view)
    pixels, clipped = _to_pixels(faces, corners, camera, keep)
    distance = np.linalg.norm(faces.key - view.centre[:2], axis=1) - faces.bias
    distance = np.where(faces.layer < STANDING_LAYER, 1e6 - faces.layer, distance)
    keep[0] = False
    chosen = np.flatnonzero(keep)
    order = chosen[np.argsort(-distance[chosen], kind="stable")]
    return Projection(faces, frame, _polygons(faces, pixels, clipped), order)


def paint(projection: Projection, camera: Camera, down: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Face number + 1 of every pixel, (H, W); 0 is the sky. `down`: rays below the horizon."""
    ids = down.reshape(camera.height, camera.width).astype(np.int32)
    fill, polygons = cv2.fillConvexPoly, projection.polygons
    for row in projection.order.tolist():
        polygon = polygons[row]
        if len(polygon):
            fill(ids, polygon, row + 1, 8, _SHIFT)
    return ids


def clip_near(corners: Array) -> Array:
    """The part of a polygon (k, 3) that lies beyond the near plane, (m, 3)."""
    kept = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a[2] >= NEAR_M:
            kept.append(a)
        if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
            kept.append(a + (b - a) * ((NEAR_M - a[2]) / (b[2] - a[2])))
    return np.array(kept).reshape(-1, 3)


def fixed_point(points: Array, camera: Camera) -> NDArray[np.int32]:
    """Optical points (..., 3) in front of the camera to pixels (..., 2) for cv2's shift."""
    k = camera.matrix
    uv = points[..., :2] / points[..., 2:] * k[0, 0] + k[:2, 2]
    return np.clip(np.rint(uv * (1 << _SHIFT)), -(1 << 22), 1 << 22).astype(np.int32)


def _in_camera(faces: Faces, view: Viewpoint) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Texture frames (n, 3, 3), corners (n, 4, 3) and whether anything lies in front."""
    turn = view.rotation.T
    corners = (faces.shape - view.centre) @ turn
    frame = np.stack(
        [
            faces.frame[:, 1] @ turn,
            faces.frame[:, 2] @ turn,
            (faces.frame[:, 0] - view.centre) @ turn,
        ],
        axis=1,
    )
    keep: NDArray[np.bool_] = np.any(corners[:, :, 2] > NEAR_M, axis=1)
    strips = np.flatnonzero(faces.kind == STRIP)
    if len(strips):
        a, b = corners[strips, 0], corners[strips, 1]
        side = np.cross(b - a, a)
        side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
        ra, rb = faces.shape[strips, 2, 0, None], faces.shape[strips, 2, 1, None]
        corners[strips] = np.stack([a - side * ra, a + side * ra, b + side * rb, b - side * rb], 1)
        thick = np.maximum(ra, rb)
        frame[strips] = np.stack([2 * side * thick, b - a, a - side * thick], axis=1)
        keep[strips] = (corners[strips, :, 2] > NEAR_M).all(axis=1)
    discs = np.flatnonzero(faces.kind == DISC)
    if len(discs):
        centre, half = corners[discs, 0].copy(), faces.shape[discs, 1, :2]
        zero = np.zeros(len(discs))
        u = np.stack([2 * half[:, 0], zero, zero], axis=1)
        v = np.stack([zero, -2 * half[:, 1], zero], axis=1)
        frame[discs] = np.stack([u, v, centre - (u + v) / 2], axis=1)
        corners[discs] = centre[:, None]
        keep[discs] = centre[:, 2] > NEAR_M
    return frame, corners, keep


def _to_pixels(
    faces: Faces, corners: Array, camera: Camera, keep: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], dict[int, NDArray[np.int32]]]:
    """Pixels (n, 4, 2) of unclipped faces; those that cross the near plane come apart."""
    depth = corners[:, :, 2]
    safe = np.where(depth[:, :, None] > NEAR_M, corners, (0.0, 0.0, NEAR_M))
    pixels = fixed_point(safe, camera)
    crossing = keep & (faces.kind == QUAD) & (depth <= NEAR_M).any(axis=1)
    crossing[0] = False
    clipped = {
        int(row): fixed_point(clip_near(corners[row]), camera) for row in np.flatnonzero(crossing)
    }
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    limit = np.array([camera.width, camera.height]) << _SHIFT
    outside = ((high < -16) | (low > limit)).any(axis=1) & ~crossing & (faces.kind != DISC)
    thin = (faces.kind == STRIP) & (
        2 * np.maximum(faces.shape[:, 2, 0], faces.shape[:, 2, 1]) * camera.focal
        < _THINNEST_PX * np.maximum(depth[:, 0], NEAR_M)
    )
    keep &= ~(outside | thin)
    _disc_pixels(faces, corners, camera, keep, clipped)
    return pixels, clipped


def _disc_pixels(
    faces: Faces,
    corners: Array,
    camera: Camera,
    keep: NDArray[np.bool_],
    polygons: dict[int, NDArray[np.int32]],
) -> None:
    rows = np.flatnonzero((faces.kind == DISC) & keep)
    if not len(rows):
        return
    outline = _OUTLINES[faces.shape[rows, 1, 2].astype(int)]
    points = np.repeat(corners[rows, 0][:, None], CORNERS, axis=1)
    points[:, :, :2] += outline * faces.shape[rows, 1, None, :2]
    polygons.update(zip(rows.tolist(), fixed_point(points, camera), strict=True))


def _polygons(
    faces: Faces, pixels: NDArray[np.int32], special: dict[int, NDArray[np.int32]]
) -> list[NDArray[np.int32]]:
    polygons = list(pixels)
    for row, polygon in special.items():
        polygons[row] = polygon
    return polygons
