from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.simulation.camera import Camera, Viewpoint, rotation_from_angles
from saane_ros.simulation.labels import BUILDING, CAR, POLE, TERRAIN
from saane_ros.simulation.mesh import TERRAIN_LAYER, Faces, MeshBuilder, plain
from saane_ros.simulation.rasterizer import NEAR_M, clip_near, paint, project
from saane_ros.simulation.surfaces import look_up, scatter
from saane_ros.simulation.textures import TILES, build_atlas

CAMERA = Camera(160, 120, 75.0)
VIEW = Viewpoint.on_body(np.zeros(3), rotation_from_angles(0.0, 0.0, 0.0))


def wall(mesh: MeshBuilder, x: float, y: tuple[float, float], top: float, label: int) -> None:
    """A wall that faces a camera looking along x."""
    (right, left), red = y, plain(TILES.flat, (0.5, 0.1, 0.1), label)
    mesh.quad([(x, left, 0), (x, right, 0), (x, right, top), (x, left, top)], red)


def base(mesh: MeshBuilder) -> None:
    grass = plain(TILES.flat, (0.1, 0.4, 0.1), TERRAIN)
    corners = [(-500, -500, 0), (500, -500, 0), (500, 500, 0), (-500, 500, 0)]
    mesh.quad(corners, grass, layer=TERRAIN_LAYER)


def labels_and_depth(faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    _, py = CAMERA.rays
    projection = project(faces, VIEW, CAMERA)
    ids = paint(projection, CAMERA, py > 1e-4)
    view = look_up(projection, ids, CAMERA, build_atlas(0))
    labels = np.concatenate([[0], faces.label])[ids]
    return labels, (1 / view.inverse_depth).reshape(ids.shape)


def test_a_wall_covers_the_pixels_computed_by_hand() -> None:
    mesh = MeshBuilder()
    base(mesh)
    wall(mesh, 10.0, (-2.0, 3.0), 4.0, BUILDING)
    labels, depth = labels_and_depth(mesh.build())
    focal = 80 / np.tan(np.radians(37.5))
    left, right = 79.5 - focal * 3.0 / 10, 79.5 + focal * 2.0 / 10
    top, bottom = 59.5 - focal * 2.5 / 10, 59.5 + focal * 1.5 / 10
    rows, columns = np.nonzero(labels == BUILDING)
    assert columns.min() == pytest.approx(left, abs=1.0)
    assert columns.max() == pytest.approx(right, abs=1.0)
    assert rows.min() == pytest.approx(top, abs=1.0)
    assert rows.max() == pytest.approx(bottom, abs=1.0)
    np.testing.assert_allclose(depth[labels == BUILDING], 10.0, rtol=1e-4)


def test_the_ground_has_the_depth_of_a_flat_plane() -> None:
    mesh = MeshBuilder()
    base(mesh)
    wall(mesh, 90.0, (-1.0, 1.0), 1.0, BUILDING)
    labels, depth = labels_and_depth(mesh.build())
    row = 100
    assert (labels[row] == TERRAIN).all()
    np.testing.assert_allclose(depth[row], 1.5 * CAMERA.focal / (row - 59.5), rtol=1e-4)


def test_the_nearer_of_two_walls_is_seen_in_whichever_order_they_were_added() -> None:
    for first, second in (((20.0, BUILDING), (8.0, CAR)), ((8.0, CAR), (20.0, BUILDING))):
        mesh = MeshBuilder()
        base(mesh)
        for distance, label in (first, second):
            wall(mesh, distance, (-2.0, 2.0), 3.0, label)
        labels, depth = labels_and_depth(mesh.build())
        assert labels[59, 79] == CAR
        assert depth[59, 79] == pytest.approx(8.0, rel=1e-4)


def test_a_pole_beside_the_camera_leaves_no_smear() -> None:
    """Its foot is ahead of the near plane, one of its corners is not."""
    mesh = MeshBuilder()
    base(mesh)
    green = plain(TILES.flat, (0.1, 0.4, 0.1), POLE)
    mesh.strip((NEAR_M + 0.05, -2.5, 0.0), (NEAR_M + 0.05, -2.5, 5.0), (2.0, 0.0), green)
    labels, _ = labels_and_depth(mesh.build())
    assert not (labels == POLE).any()


@given(st.lists(st.tuples(*[st.floats(-20, 20)] * 3), min_size=3, max_size=6))
def test_clipping_leaves_only_what_is_in_front_and_keeps_what_was(
    corners: list[tuple[float, float, float]],
) -> None:
    clipped = clip_near(np.array(corners))
    assert (clipped[:, 2] >= NEAR_M - 1e-9).all()
    kept = {tuple(c) for c in clipped.tolist()}
    assert all(c in kept for c in corners if c[2] >= NEAR_M)


def test_clipping_cuts_an_edge_where_it_meets_the_near_plane() -> None:
    triangle = np.array([(0.0, 0.0, NEAR_M + 1), (4.0, 0.0, NEAR_M - 1), (0.0, 2.0, NEAR_M + 1)])
    expected = [(0, 0, NEAR_M + 1), (2, 0, NEAR_M), (2, 1, NEAR_M), (0, 2, NEAR_M + 1)]
    np.testing.assert_allclose(clip_near(triangle), expected)


def test_scatter_is_even_and_depends_on_cell_and_salt() -> None:
    cells = np.arange(20_000, dtype=np.uint32)
    values = scatter(cells, 1)
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert counts.sum() == 20_000
    assert counts.min() > 1_800
    assert abs(np.corrcoef(values, scatter(cells, 2))[0, 1]) < 0.03
    np.testing.assert_array_equal(values, scatter(np.arange(20_000, dtype=np.uint32), 1))
