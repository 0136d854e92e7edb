"""Route maps with points: built, told, cut, joined, verified; or built without, and why."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scenes import ColourGridEmbedder

from saane_ros.cli import main
from saane_ros.data.bags import BagWriter
from saane_ros.data.poses.transforms import compose, inverse
from saane_ros.embedding import loading
from saane_ros.errors import SaaneError
from saane_ros.evaluation.metric import error_of
from saane_ros.metric.features import RootSift
from saane_ros.metric.pnp import Refinement, Refiner
from saane_ros.route_map.crop import crop_map
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.store import RouteMap
from saane_ros.simulation import Town, TownFrame, Traverse
from saane_ros.types import Pose

pytest.importorskip("pycolmap", reason="the extra metric is absent")

MOUNT = "0 0 1.5 0 0 0"


@pytest.fixture(scope="module")
def drive() -> tuple[Traverse, list[TownFrame]]:
    traverse = Traverse(Town(2001, 40.0), "day", 1, lateral_m=-1.75)
    return traverse, [traverse.render(i) for i in range(0, 27, 3)]


@pytest.fixture(autouse=True)
def _fast_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())


@pytest.fixture(scope="module")
def photos(
    drive: tuple[Traverse, list[TownFrame]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A folder of images with poses, and a file of intrinsics."""
    folder = tmp_path_factory.mktemp("photos")
    traverse, frames = drive
    rows = ["name,x,y,z,qx,qy,qz,qw"]
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        values = [*frame.pose.position, *frame.pose.orientation]
        rows.append(",".join([f"{number}.png", *map(repr, values)]))
    (folder / "poses.csv").write_text("\n".join(rows))
    camera = traverse.camera
    intrinsics = {
        "image_width": camera.width,
        "image_height": camera.height,
        "distortion_model": "plumb_bob",
        "camera_matrix": {"data": camera.matrix.ravel().tolist()},
        "distortion_coefficients": {"data": [0.0] * 5},
    }
    path = folder / "camera.yaml"
    path.write_text(yaml.safe_dump(intrinsics))
    return folder, path


@pytest.fixture(scope="module")
def built(photos: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map with points."""
    out = tmp_path_factory.mktemp("maps") / "town.routemap"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_embedder", lambda *_args, **_more: ColourGridEmbedder())
        assert main(build(photos, out, "--camera-pose", MOUNT)) == 0
    return out


def build(photos: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    folder, intrinsics = photos
    images = ["map", "build", "--images", str(folder), "--out", str(out), "--metric"]
    return [*images, "--camera-info", str(intrinsics), *more]


def test_info_tells_the_points(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", str(built)]) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("points"))
    points = RouteMap.open(built).points
    assert points is not None
    assert f"{points.points} of rootsift-corners, " in told
    assert f"{points.place_bytes / 1e3:.1f} kB a place" in told
    assert f"error {points.error:.2f} pixels" in told
    assert points.place_bytes <= 25_000
    assert "adjusted" not in told


def test_poses_that_are_off_are_told_as_the_images_have_them(
    photos: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    drive: tuple[Traverse, list[TownFrame]],
) -> None:
    pytest.importorskip("pyceres", reason="the extra metric is absent")
    folder, out = tmp_path / "off", tmp_path / "off.routemap"
    shutil.copytree(photos[0], folder)
    rng = np.random.default_rng(0)
    frames = drive[1]
    told = [
        Pose(
            tuple((rng.normal(0, 0.08, 3) + frame.pose.position).tolist()),
            compose(
                Pose((0.0, 0.0, 0.0), (*rng.normal(0, 0.004, 3).tolist(), 1.0)),
                Pose((0.0, 0.0, 0.0), frame.pose.orientation),
            ).orientation,
        )
        for frame in frames
    ]
    rows = ["name,x,y,z,qx,qy,qz,qw"]
    for number, pose in enumerate(told):
        values = [*pose.position, *pose.orientation]
        rows.append(",".join([f"{number}.png", *map(repr, values)]))
    (folder / "poses.csv").write_text("\n".join(rows))
    assert main(build((folder, photos[1]), out, "--camera-pose", MOUNT)) == 0
    route_map, printed = RouteMap.open(out), capsys.readouterr().out
    points, mount, poses = route_map.points, route_map.info.camera, route_map.poses()
    assert points is not None
    assert mount is not None
    assert printed.count(points.adjustment) == 2
    shifts = [np.subtract(a.position, b.position) for a, b in zip(poses, told, strict=True)]
    assert points.moved[0] == pytest.approx(np.median(np.linalg.norm(shifts, axis=1)), abs=1e-4)
    assert f"adjusted by {100 * points.moved[0]:.1f} cm and " in points.adjustment

    def step_errors(some: list[Pose]) -> float:
        """How far neighbours are off each other, as each sees it; metres."""
        steps = [
            np.subtract(compose(inverse(a), b).position, compose(inverse(c.pose), d.pose).position)
            for a, b, c, d in zip(some, some[1:], frames, frames[1:], strict=False)
        ]
        return float(np.median(np.linalg.norm(steps, axis=1)))

    assert step_errors(poses) < 0.4 * step_errors(told)
    shown = drive[0].render(10)
    refiner = Refiner(points, poses, mount, RootSift(), budget_ms=None)
    found = refiner.refine(shown.image, points.camera, [3, 4])
    assert found is not None
    assert np.linalg.norm(np.subtract(found.pose.position, shown.pose.position)) < 0.15


def test_images_are_refined_in_the_map_and_in_its_parts(
    built: Path, tmp_path: Path, drive: tuple[Traverse, list[TownFrame]]
) -> None:
    whole = RouteMap.open(built)
    first = crop_map(whole, tmp_path / "first.routemap", (0, 5))
    second = crop_map(whole, tmp_path / "second.routemap", (3, 9))
    both = merge_maps([first, second], tmp_path / "both.routemap")
    shown = drive[0].render(10)
    for route_map, places in ((whole, [3, 4]), (first, [3, 4]), (second, [0, 1]), (both, [3, 5])):
        points, mount = route_map.points, route_map.info.camera
        assert points is not None
        assert mount is not None
        refiner = Refiner(points, route_map.poses(), mount, RootSift(), budget_ms=None)
        found = refiner.refine(shown.image, points.camera, places)
        assert found is not None
        assert np.linalg.norm(np.subtract(found.pose.position, shown.pose.position)) < 0.3


def test_merged_with_a_map_without_points_the_others_keep_theirs(
    built: Path,
    photos: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    drive: tuple[Traverse, list[TownFrame]],
) -> None:
    bare, out = tmp_path / "bare.routemap", tmp_path / "both.routemap"
    call = build(photos, bare, "--camera-pose", MOUNT)
    assert main([one for one in call if one != "--metric"]) == 0
    for maps in ((bare, built), (built, bare)):
        assert main(["map", "merge", *map(str, maps), "--out", str(out)]) == 0
        told = capsys.readouterr().out
        assert "Places of bare have no points in the merged map" in told
        assert "at 9 of 18 places" in told
        merged = RouteMap.open(out)
        points, mount = merged.points, merged.info.camera
        assert points is not None
        assert mount is not None
        for place, count in zip(merged.places, np.diff(points.starts), strict=True):
            assert (count > 0) == place.name.startswith("town/")
        shown = drive[0].render(10)
        refiner = Refiner(points, merged.poses(), mount, RootSift(), budget_ms=None)
        found = refiner.refine(shown.image, points.camera, [5, 6, 7, 8, 9])
        assert found is not None
        assert np.linalg.norm(np.subtract(found.pose.position, shown.pose.position)) < 0.3


def test_a_changed_or_missing_file_of_points_is_told(built: Path, tmp_path: Path) -> None:
    for name in ("metric.yaml", "metric_rows.npy", "metric_starts.npy"):
        copy = tmp_path / f"{name}.routemap"
        shutil.copytree(built, copy)
        content = bytearray((copy / name).read_bytes())
        content[-1] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(SaaneError, match=f"{name} was truncated or changed"):
            RouteMap.open(copy)
        (copy / name).unlink()
        with pytest.raises(SaaneError, match=f"lacks {name}"):
            RouteMap.open(copy)


def test_a_drive_that_gives_no_points_is_mapped_without(
    photos: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plain.routemap"
    assert main(build(photos, out)) == 0
    told = capsys.readouterr().out
    assert "The map has no points, as nobody told where the camera sat" in told
    assert "\npoints       none: a pose is that of the matched place" in told
    assert RouteMap.open(out).points is None


def test_an_interrupted_build_keeps_its_keypoints(
    photos: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "cut.routemap"
    extract, seen = RootSift.extract, []

    def cut(self: RootSift, image: np.ndarray) -> object:
        seen.append(1)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return extract(self, image)

    monkeypatch.setattr(RootSift, "extract", cut)
    arguments = build(photos, out, "--camera-pose", MOUNT, "--batch", "2")
    assert main(arguments) != 0
    assert len(seen) == 6
    assert main(arguments) == 0
    # Two whole batches were kept, the other five images are looked at again.
    assert len(seen) == 6 + 5
    points = RouteMap.open(out).points
    assert points is not None
    assert len(points) == 9


def test_a_bag_tells_its_camera(
    drive: tuple[Traverse, list[TownFrame]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traverse, frames = drive
    size = (traverse.camera.width, traverse.camera.height)
    for name, zoom in (("steady", 1.0), ("zoomed", 1.1)):
        with BagWriter(tmp_path / name) as bag:
            for number, frame in enumerate(frames):
                k = traverse.camera.matrix * [[zoom if number > 4 else 1.0], [1.0], [1.0]]
                bag.write_image("/cam/image_raw", frame.image, frame.stamp_ns)
                bag.write_camera_info("/cam/camera_info", frame.stamp_ns, size, k.tolist())
                bag.write_odometry("/odom", frame.stamp_ns, frame.pose, frame_id="map")
        call = ["map", "build", "--bag", str(tmp_path / name), "--image-topic", "/cam/image_raw"]
        call += ["--pose-topic", "/odom", "--metric", "--camera-pose", MOUNT]
        code = main([*call, "--out", str(tmp_path / f"{name}.routemap")])
        assert code == (0 if name == "steady" else 1)
    assert RouteMap.open(tmp_path / "steady.routemap").points is not None
    assert "The intrinsics changed while driving" in capsys.readouterr().err


def test_the_evaluation_measures_a_drive(
    photos: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, intrinsics = photos
    call = ["evaluate", "metric", "--images", str(folder), "--camera-info", str(intrinsics)]
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(elsewhere / "0.png"), noise)
    assert main([*call, "--camera-pose", MOUNT, "--foreign", str(tmp_path / "elsewhere")]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("1 of 2 mapped"))
    images, refined, median = row.removeprefix("1 of 2 mapped").split()[:3]
    assert (int(images), refined) == (4, "100.0%")
    assert float(median) < 15
    assert "elsewhere at drive: 0 of 1 comparisons of 1 images refined" in lines
    assert main(["evaluate", "metric"]) == 1
    assert "name a drive" in capsys.readouterr().err


def test_errors_of_a_refinement_by_hand() -> None:
    half = np.radians(0.6) / 2
    truth = Pose((1.0, 2.0, 3.0), (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)))
    turn = Pose((0.0, 0.0, 0.0), (float(np.sin(half)), 0.0, 0.0, float(np.cos(half))))
    found = Pose((1.03, 2.0, 2.96), compose(turn, truth).orientation)
    variances = [0.01, 0.02, 0.04, 1e-4, 1e-4, 1e-4]
    covariance = tuple(np.diag(variances).ravel().tolist())
    cm, degrees, nees = error_of(Refinement(found, covariance, 20, 1.0, {}), truth)
    assert (cm, degrees) == pytest.approx((5.0, 0.6))
    by_hand = 0.03**2 / 0.01 + 0.04**2 / 0.04 + np.radians(0.6) ** 2 / 1e-4
    assert nees == pytest.approx(by_hand / 6, rel=1e-4)
