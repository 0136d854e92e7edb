"""Cameras: each distortion model against its formula by hand, conversions, and bad intrinsics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.metric.cameras import (
    EQUIDISTANT,
    PLUMB_BOB,
    RATIONAL,
    Camera,
    camera_from,
    camera_of,
    camera_of_message,
    read_camera,
    steady,
)

K = (400.0, 0.0, 310.0, 0.0, 410.0, 245.0, 0.0, 0.0, 1.0)
CAMERAS = [
    Camera(640, 480, PLUMB_BOB, K),
    Camera(640, 480, PLUMB_BOB, K, (-0.28, 0.09, 0.001, -0.002, -0.01)),
    Camera(640, 480, RATIONAL, K, (0.4, 0.12, 0.001, -0.001, 0.01, 0.6, 0.2, 0.02)),
    Camera(640, 480, EQUIDISTANT, K, (-0.02, 0.01, -0.005, 0.001)),
]


def by_hand(camera: Camera, point: tuple[float, float, float]) -> tuple[float, float]:
    """The documented formulas, a point at a time."""
    x, y = point[0] / point[2], point[1] / point[2]
    fx, _, cx, _, fy, cy = camera.k[:6]
    r2 = x * x + y * y
    if camera.model == EQUIDISTANT and camera.d:
        k1, k2, k3, k4 = camera.d
        r = np.sqrt(r2)
        theta = np.arctan(r)
        bent = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8)
        scale = bent / r if r > 0 else 1.0
        return fx * x * scale + cx, fy * y * scale + cy
    k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.d, *[0.0] * 8)[:8]
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    radial /= 1 + k4 * r2 + k5 * r2**2 + k6 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return fx * u + cx, fy * v + cy


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: f"{c.model}-{len(c.d)}")
@settings(max_examples=40, deadline=None)
@given(st.tuples(st.floats(-3, 3), st.floats(-2, 2), st.floats(4, 50)))
def test_a_point_projects_as_by_hand(camera: Camera, point: tuple[float, float, float]) -> None:
    assert camera.project(np.array([point]))[0] == pytest.approx(by_hand(camera, point), abs=1e-6)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: f"{c.model}-{len(c.d)}")
@settings(max_examples=40, deadline=None)
@given(st.tuples(st.floats(40, 600), st.floats(40, 440)))
def test_a_ray_leads_back_to_its_pixel(camera: Camera, pixel: tuple[float, float]) -> None:
    (x, y), *_ = camera.rays(np.array([pixel]))
    assert by_hand(camera, (x, y, 1.0)) == pytest.approx(pixel, abs=0.01)


@given(st.integers(80, 2000), st.integers(80, 2000))
def test_resized_images_see_the_same_directions(width: int, height: int) -> None:
    camera = CAMERAS[1]
    pixel = np.array([123.25, 345.5])
    moved = (pixel + 0.5) * [width / 640, height / 480] - 0.5
    there = camera.rescaled(width, height)
    assert there.rays(moved[None]) == pytest.approx(camera.rays(pixel[None]), abs=1e-3)
    assert there.rescaled(640, 480).k == pytest.approx(camera.k)


def test_what_lies_behind_or_nowhere_has_no_pixel_and_no_ray() -> None:
    for camera in CAMERAS:
        assert np.isnan(camera.project(np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]))).all()
        assert camera.rays(np.empty((0, 2))).shape == (0, 2)
    # Barrel distortion that turns back: no ray leads to the corner of so large an image.
    strong = Camera(2000, 2000, PLUMB_BOB, K, (-0.4, 0.0, 0.0, 0.0))
    assert np.isnan(strong.rays(np.array([[1990.0, 1990.0]]))).all()


def message(**changed: object) -> SimpleNamespace:
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    values = {"width": 640, "height": 480, "distortion_model": "plumb_bob", "k": K, "d": [0.0] * 5}
    return SimpleNamespace(**{**values, "binning_x": 0, "binning_y": 0, "roi": roi, **changed})


def test_messages_tell_cameras_in_the_pixels_of_their_images() -> None:
    assert camera_of_message(message(), "/c") == CAMERAS[0]
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=400, height=300)
    cut = camera_of_message(message(roi=roi, binning_x=2, binning_y=2), "/c")
    assert (cut.width, cut.height) == (200, 150)
    # A ray of the whole sensor falls on the pixel that lies there in the cut and binned image.
    whole = CAMERAS[0].project(np.array([[0.2, 0.1, 2.0]]))[0]
    inside = (whole - [100, 40] + 0.5) / 2 - 0.5
    assert cut.project(np.array([[0.2, 0.1, 2.0]]))[0] == pytest.approx(inside)
    ros1 = message(K=K, D=[-0.28, 0.09, 0.001, -0.002, -0.01])
    del ros1.k, ros1.d
    assert camera_of_message(ros1, "/c") == CAMERAS[1]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"k": [0.0] * 9}, "CameraInfo of /c has no intrinsics, its K is all zero"),
        ({"k": []}, "has no intrinsics"),
        ({"width": 0}, "has a size of 0 x 480"),
        ({"k": (-1.0, *K[1:])}, "has a K that no camera has"),
        ({"k": (float("nan"), *K[1:])}, "has a K that no camera has"),
        ({"distortion_model": "thin_prism", "d": [0.1]}, "'thin_prism' with 1 values"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "'equidistant' with 5 values"),
    ],
)
def test_bad_intrinsics_are_told(changed: dict[str, object], told: str) -> None:
    with pytest.raises(SaaneError, match=told):
        camera_of_message(message(**changed), "/c")


def test_an_image_of_another_shape_is_told() -> None:
    assert CAMERAS[0].fitting((240, 320, 3)).width == 320
    with pytest.raises(SaaneError, match=r"640 x 480 pixels and the image has 640 x 400"):
        CAMERAS[0].fitting((400, 640))


def test_a_camera_that_changes_while_driving_is_told() -> None:
    assert steady([]) is None
    assert steady([CAMERAS[1], CAMERAS[1]]) == CAMERAS[1]
    zoomed = Camera(640, 480, PLUMB_BOB, (500.0, *K[1:]))
    with pytest.raises(SaaneError, match=r"changed while driving, from a focal length of 405\.0 "):
        steady([CAMERAS[0], zoomed])


def test_files_of_intrinsics(tmp_path: Path) -> None:
    kitti = tmp_path / "calib.txt"
    kitti.write_text("P0: 400 0 310 0 0 410 245 0 0 0 1 0\n")
    assert read_camera(kitti, (480, 640, 3)) == CAMERAS[0]
    ros = tmp_path / "camera.yaml"
    values = {
        "image_width": 640,
        "image_height": 480,
        "distortion_model": "rational_polynomial",
        "camera_matrix": {"rows": 3, "cols": 3, "data": list(K)},
        "distortion_coefficients": {"rows": 1, "cols": 8, "data": list(CAMERAS[2].d)},
    }
    ros.write_text(yaml.safe_dump(values))
    assert read_camera(ros, (480, 640)) == CAMERAS[2]
    assert read_camera(ros, (240, 320)) == CAMERAS[2].rescaled(320, 240)
    for text in ("", "a: 1", "- 1", "camera_matrix: 3", "x " * 12, "%"):
        ros.write_text(text)
        with pytest.raises(SaaneError, match="holds no intrinsics"):
            read_camera(ros, (480, 640))
    with pytest.raises(SaaneError, match="cannot be read"):
        read_camera(tmp_path / "none.yaml", (480, 640))


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: f"{c.model}-{len(c.d)}")
def test_a_written_camera_comes_back(camera: Camera) -> None:
    text = yaml.safe_dump(camera.as_dict())
    assert camera_from(yaml.safe_load(text), "map") == camera
    for damaged in (None, [], {}, {**camera.as_dict(), "k": 3}):
        with pytest.raises(SaaneError, match="does not tell its camera"):
            camera_from(damaged, "map")


def test_names_of_models_that_drivers_use() -> None:
    assert camera_of(640, 480, "", K, [0.0] * 5, "x").model == PLUMB_BOB
    assert camera_of(640, 480, "fisheye", K, [0.1] * 4, "x").model == EQUIDISTANT
    assert camera_of(640, 480, "radtan", K, [0.1] * 4, "x").model == PLUMB_BOB
