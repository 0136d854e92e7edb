"""Flat faces with everything a renderer asks of them, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

QUAD, STRIP, DISC = range(3)
"""A planar quadrilateral; a tapered strip and an irregular disc, which both face the camera."""

TERRAIN_LAYER, SIDE_LAYER, PAVEMENT_LAYER, ROAD_LAYER, PAINT_LAYER, STANDING_LAYER = range(6)
"""Ground layers are painted in this order; what stands is painted from far to near."""

ALWAYS, IN_LEAF, BARE = range(3)
"""Season in which a face exists."""


@dataclass(frozen=True)
class Surface:
    """What a face is made of.

    colours: linear RGB of the tile's four materials (wall, trim, glass, accent).
    glow: linear RGB sent out when the lamps are on.  windows: glass cells may be lit by night.
    snow: how white it turns under snow, 0 to 1.
    """

    tile: int
    colours: tuple[Colour, Colour, Colour, Colour]
    label: int
    seed: int = 0
    glow: Colour = (0.0, 0.0, 0.0)
    windows: float = 0.0
    snow: float = 0.0
    season: int = ALWAYS


def plain(tile: int, colour: Colour, label: int, **more: float | int | Colour) -> Surface:
    """A surface with one colour for every material."""
    surface = Surface(tile, (colour, colour, colour, colour), label)
    return replace(surface, **more)  # type: ignore[arg-type]


@dataclass
class Faces:
    """n faces as columns.

    shape (n, 4, 3): QUAD corners in map metres; STRIP (from, to, (radius, radius, 0), -);
    DISC (centre, (half width, half height, outline), -, -).
    frame (n, 3, 3): origin, u and v of the texture (QUAD only).  normal (n, 3).
    key (n, 2): the ground point whose distance orders the painting; bias is taken off it.
    """

    kind: NDArray[np.int8]
    shape: Array
    frame: Array
    normal: Array
    key: Array
    bias: Array
    layer: NDArray[np.int8]
    two_sided: NDArray[np.bool_]
    tile: NDArray[np.int32]
    repeat: Array
    palette: NDArray[np.float32]
    label: NDArray[np.uint8]
    seed: NDArray[np.uint32]
    glow: NDArray[np.float32]
    windows: NDArray[np.float32]
    snow: NDArray[np.float32]
    season: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Faces:
        """The chosen rows, in the order given."""
        return Faces(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def placed(self, x: float, y: float, heading: float) -> Faces:
        """A copy turned by `heading` about z and moved, as one object with one painting key."""
        c, s = np.cos(heading), np.sin(heading)
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        offset = np.array([x, y, 0.0])
        shape = self.shape.copy()
        points = self.kind == QUAD
        shape[points] = shape[points] @ turn + offset
        strips = self.kind == STRIP
        shape[strips, :2] = shape[strips, :2] @ turn + offset
        discs = self.kind == DISC
        shape[discs, 0] = shape[discs, 0] @ turn + offset
        frame = self.frame @ turn
        frame[:, 0] += offset
        key = self.key @ turn[:2, :2] + offset[:2]
        return replace(self, shape=shape, frame=frame, normal=self.normal @ turn, key=key)


def join(parts: Sequence[Faces]) -> Faces:
    """All faces of the parts, in order."""
    return Faces(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Faces)}
    )


class MeshBuilder:
    """Collects faces one by one."""

    def __init__(self) -> None:
        self._rows: list[tuple[object, ...]] = []

    def quad(
        self,
        corners: Sequence[Sequence[float] | Array] | Array,
        surface: Surface,
        *,
        repeat: tuple[float, float] = (1.0, 1.0),
        key: Sequence[float] | Array | None = None,
        bias: float = 0.0,
        layer: int = STANDING_LAYER,
        two_sided: bool = False,
        up: Sequence[float] | None = None,
    ) -> None:
        """Corners counter-clockwise as seen, from the lower left; the texture follows 0-1 and 0-3.

        `up` replaces edge 0-3 as the texture's v axis (gables).
        """
        p = np.asarray(corners, dtype=np.float64)
        v = p[3] - p[0] if up is None else np.asarray(up, dtype=np.float64)
        frame = np.stack([p[0], p[1] - p[0], v])
        normal = np.cross(frame[1], frame[2])
        normal /= max(float(np.linalg.norm(normal)), 1e-9)
        centre = p[:, :2].mean(axis=0) if key is None else np.asarray(key)[:2]
        self._add(QUAD, p, frame, normal, centre, bias, layer, two_sided, repeat, surface)

    def strip(
        self,
        start: Sequence[float] | Array,
        end: Sequence[float] | Array,
        radii: tuple[float, float],
        surface: Surface,
        *,
        key: Sequence[float] | Array | None = None,
        bias: float = 0.0,
    ) -> None:
        """A round bar from start to end, `radii` metres thick at either end."""
        shape = np.zeros((4, 3))
        shape[0], shape[1], shape[2, :2] = start, end, radii
        centre = (shape[0, :2] + shape[1, :2]) / 2 if key is None else np.asarray(key)[:2]
        self._billboard(STRIP, shape, centre, bias, surface)

    def disc(
        self,
        centre: Sequence[float] | Array,
        half_size: tuple[float, float],
        surface: Surface,
        *,
        outline: int = 0,
        key: Sequence[float] | Array | None = None,
        bias: float = 0.0,
    ) -> None:
        """A roundish blob that always faces the camera."""
        shape = np.zeros((4, 3))
        shape[0], shape[1, :2], shape[1, 2] = centre, half_size, outline
        self._billboard(DISC, shape, shape[0, :2] if key is None else key, bias, surface)

    def box(
        self,
        low: Sequence[float],
        high: Sequence[float],
        surface: Surface,
        *,
        key: Sequence[float] | Array | None = None,
        bias: float = 0.0,
        repeat: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Four sides and the top of an axis-aligned box."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        middle = ((x0 + x1) / 2, (y0 + y1) / 2) if key is None else key
        ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True):
            sides = [(ax, ay, z0), (bx, by, z0), (bx, by, z1), (ax, ay, z1)]
            self.quad(sides, surface, key=middle, bias=bias, repeat=repeat)
        top = [(x, y, z1) for x, y in ring]
        self.quad(top, surface, key=middle, bias=bias, repeat=repeat)

    def build(self) -> Faces:
        """Everything collected so far."""
        columns = list(zip(*self._rows, strict=True))
        kinds = [f.type if isinstance(f.type, str) else "" for f in fields(Faces)]
        arrays: dict[str, np.ndarray] = {}
        for field, kind, column in zip(fields(Faces), kinds, columns, strict=True):
            arrays[field.name] = np.asarray(column, dtype=_DTYPES.get(kind, np.float64))
        return Faces(**arrays)

    def _billboard(
        self,
        kind: int,
        shape: Array,
        centre: Sequence[float] | Array,
        bias: float,
        surface: Surface,
    ) -> None:
        facing = np.array([0.0, 0.0, 0.0])
        key = np.asarray(centre, dtype=np.float64)[:2]
        self._add(
            kind, shape, np.zeros((3, 3)), facing, key, bias, STANDING_LAYER, True, (1, 1), surface
        )

    def _add(
        self,
        kind: int,
        shape: Array,
        frame: Array,
        normal: Array,
        key: Array,
        bias: float,
        layer: int,
        two_sided: bool,
        repeat: tuple[float, float],
        surface: Surface,
    ) -> None:
        self._rows.append(
            (
                kind,
                shape,
                frame,
                normal,
                key,
                bias,
                layer,
                two_sided,
                surface.tile,
                repeat,
                surface.colours,
                surface.label,
                surface.seed & 0xFFFFFFFF,
                surface.glow,
                surface.windows,
                surface.snow,
                surface.season,
            )
        )


_DTYPES: dict[str, type] = {
    "NDArray[np.int8]": np.int8,
    "NDArray[np.bool_]": np.bool_,
    "NDArray[np.int32]": np.int32,
    "NDArray[np.float32]": np.float32,
    "NDArray[np.uint8]": np.uint8,
    "NDArray[np.uint32]": np.uint32,
}
