"""What every pixel shows, from its face number: depth, texture, materials, label."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation.camera import Camera
from saane_ros.simulation.rasterizer import Projection
from saane_ros.simulation.textures import LEVELS, TILE, UNIT, level_top

Pixels = NDArray[np.float32]

_TOPS = np.array([level_top(level) for level in range(LEVELS)], dtype=np.float32)
_LOD_BIAS = -0.35


@dataclass(frozen=True)
class View:
    """Per pixel, row-major, p = H * W.

    rows (p,): face number, 0 for the sky, face k + 1 else.  inverse_depth (p,): 1 / z.
    albedo (p, 3): linear.  glass (p,): weight of glass.  cell (p,): a number per window.
    """

    rows: NDArray[np.int32]
    inverse_depth: Pixels
    albedo: Pixels
    glass: Pixels
    cell: NDArray[np.uint32]
    across: Pixels


def look_up(
    projection: Projection, ids: NDArray[np.int32], camera: Camera, atlas: NDArray[np.uint8]
) -> View:
    """Evaluate plane equations and textures at every pixel."""
    rows = ids.ravel()
    plane, level_offset = _planes(projection, camera)
    px, py = camera.rays
    p = [column.take(rows) for column in plane]
    inverse_depth: Pixels = p[6] * px + p[7] * py + p[8]
    np.maximum(inverse_depth, 1e-6, out=inverse_depth)
    depth: Pixels = np.reciprocal(inverse_depth)
    s: Pixels = (p[0] * px + p[1] * py + p[2]) * depth
    t: Pixels = (p[3] * px + p[4] * py + p[5]) * depth
    np.clip(s, 0, 0.99999, out=s)
    np.clip(t, 0, 0.99999, out=t)
    faces = projection.faces
    s_cells = s * _padded(faces.repeat[:, 0]).take(rows)
    t_cells = t * _padded(faces.repeat[:, 1]).take(rows)
    s_whole: Pixels = np.floor(s_cells)
    t_whole: Pixels = np.floor(t_cells)
    level = np.clip(level_offset.take(rows) + 1.5 * np.log2(depth), 0, LEVELS - 1)
    texels = _sample(
        atlas,
        _padded(faces.tile).take(rows),
        s_cells - s_whole,
        t_cells - t_whole,
        np.rint(level).astype(np.int32),
        camera,
    )
    palette = np.concatenate([np.zeros((1, 4, 3), np.float32), faces.palette])
    albedo = np.zeros((len(rows), 3), dtype=np.float32)
    for material in range(4):
        albedo += palette[:, material].take(rows, axis=0) * texels[:, material, None]
    seed = np.concatenate([np.zeros(1, np.uint32), faces.seed]).take(rows)
    cell = seed + s_whole.astype(np.uint32) * np.uint32(73856093)
    cell += t_whole.astype(np.uint32) * np.uint32(19349663)
    return View(rows, inverse_depth, albedo, texels[:, 2], cell, s)


def scatter(cell: NDArray[np.uint32], salt: int) -> Pixels:
    """A number in [0, 1) per cell, the same for equal cells and salts."""
    x = cell + np.uint32(salt * 2654435761 & 0xFFFFFFFF)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return np.asarray((x >> np.uint32(8)).astype(np.float32) / (1 << 24), dtype=np.float32)


def _padded(column: NDArray[np.generic]) -> Pixels:
    return np.concatenate([[0], column]).astype(np.float32)


def _planes(projection: Projection, camera: Camera) -> tuple[list[Pixels], Pixels]:
    """Per face the rows of inv([u v w]), with which (s, t, 1) / z = inv @ (x/z, y/z, 1).

    Also the texture level at 1 m distance: level = offset + 1.5 log2(depth), because texels per
    pixel grow with the depth and, on a slanted plane, with the root of depth over plane distance.
    """
    u, v, w = projection.frame[:, 0], projection.frame[:, 1], projection.frame[:, 2]
    normal = np.cross(u, v)
    determinant = np.einsum("ij,ij->i", normal, w)
    determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)[:, None]
    inverse = np.concatenate([np.cross(v, w), np.cross(w, u), normal], axis=1) / determinant
    area = np.maximum(np.linalg.norm(normal, axis=1), 1e-6)
    gap = np.maximum(np.abs(determinant[:, 0]) / area, 0.05)
    cells = projection.faces.repeat[:, 0] * projection.faces.repeat[:, 1]
    texels = TILE * np.sqrt(cells / area) / camera.focal
    offset = np.log2(texels / np.sqrt(gap)) + _LOD_BIAS
    columns = [_padded(inverse[:, k]) for k in range(9)]
    return columns, _padded(offset)


def _sample(
    atlas: NDArray[np.uint8],
    tile: Pixels,
    s: Pixels,
    t: Pixels,
    level: NDArray[np.int32],
    camera: Camera,
) -> Pixels:
    """Material weights (p, 4) at fractions of a tile; t runs upwards."""
    size = (TILE >> level).astype(np.float32)
    last = size - 1
    x = tile * size + np.clip(s * size - 0.5, 0, last)
    y = _TOPS.take(level) + np.clip((1 - t) * size - 0.5, 0, last)
    shape = (camera.height, camera.width)
    found = cv2.remap(atlas, x.reshape(shape), y.reshape(shape), cv2.INTER_LINEAR)
    return np.asarray(found.reshape(-1, 4).astype(np.float32) * np.float32(1 / UNIT))
