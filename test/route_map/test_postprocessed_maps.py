"""Route maps with post-processed descriptors: written, opened, cropped, merged, refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from map_heads import read_head, write_head
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localizer
from saane_ros.route_map.builder import RouteMapBuilder, build_map
from saane_ros.route_map.crop import crop_map
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.postprocessing import ENOUGH_PLACES, KINDS, fit, pooled
from saane_ros.route_map.postprocessing_file import POSTPROCESSING_FILE
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.training.evidence.refit import calibrate
from saane_ros.types import Frame, Pose

COUNT = 25
EMBEDDER = ColourGridEmbedder()


def frames(seed: int = 0, count: int = COUNT, aside: float = 0.0) -> list[Frame]:
    return [
        Frame(smooth_scene(seed + i), (i + 1) * 10**9, f"{i:03d}", Pose((2.0 * i, aside, 0.0)))
        for i in range(count)
    ]


def raw(seed: int = 0, count: int = COUNT) -> np.ndarray:
    images = [frame.image for frame in frames(seed, count)]
    return np.stack([one.descriptor for one in EMBEDDER.embed(images)])


def built(folder: Path, kind: str, seed: int = 0, dtype: str = "float32") -> RouteMap:
    path = folder / f"{kind}-{seed}.routemap"
    return build_map(frames(seed), EMBEDDER, path, postprocessing=kind, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_map_comes_back_processed(tmp_path: Path, kind: str, dtype: str) -> None:
    route_map = built(tmp_path, kind, dtype=dtype)
    wanted = fit(kind, raw())
    assert wanted is not None
    assert route_map.postprocessing is not None
    assert route_map.info.postprocessing == route_map.postprocessing.kind == kind
    assert route_map.info.descriptor_size == route_map.postprocessing.size == wanted.size
    assert route_map.descriptors.dtype == np.dtype(dtype)
    exact = dtype == "float32"
    np.testing.assert_allclose(
        route_map.descriptors, wanted.apply(raw()), atol=0 if exact else 0.01
    )
    queries = raw(seed=500)
    np.testing.assert_array_equal(route_map.postprocessing.apply(queries), wanted.apply(queries))
    values = yaml.safe_load((route_map.path / "map.yaml").read_text())
    assert (values["format"], values["postprocessing"]) == (5, kind)
    assert POSTPROCESSING_FILE in values["files"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_of_a_map_is_that_of_its_processed_descriptors(tmp_path: Path, kind: str) -> None:
    """The nearest other place more than ten steps away, by a loop over all pairs."""
    route_map = built(tmp_path, kind)
    rows = np.asarray(route_map.descriptors, np.float64)
    nearest = []
    for i, row in enumerate(rows):
        others = [np.linalg.norm(row - rows[j]) for j in range(COUNT) if abs(i - j) > 10]
        nearest += [min(others)] if others else []
    steps = [np.linalg.norm(rows[i + 1] - rows[i]) for i in range(COUNT - 1)]
    scale = route_map.localizable().calibration.scale
    assert scale.impostor == pytest.approx(float(np.median(nearest)), rel=1e-4)
    assert scale.step == pytest.approx(float(np.median(steps)), rel=1e-4)


def test_a_projection_shrinks_descriptors(tmp_path: Path) -> None:
    assert built(tmp_path, "none").descriptors.shape == (COUNT, 72)
    assert built(tmp_path, "pca512").descriptors.shape == (COUNT, COUNT - 1)


def test_a_map_of_an_older_format_opens_and_says_what_it_lacks(tmp_path: Path) -> None:
    route_map = built(tmp_path, "none")
    older(route_map.path)
    opened = RouteMap.open(route_map.path)
    assert (opened.info.postprocessing, opened.postprocessing) == ("none", None)
    assert not opened.info.calibrated
    np.testing.assert_array_equal(opened.descriptors, raw())
    with pytest.raises(SaaneError, match=r"older format, .* run `saane map calibrate"):
        Localizer(EMBEDDER, opened, Settings())


def test_a_map_of_an_older_format_is_converted(tmp_path: Path) -> None:
    route_map = built(tmp_path, "none")
    older(route_map.path)
    converted = calibrate(RouteMap.open(route_map.path), EMBEDDER, [])
    assert converted.info.calibrated
    np.testing.assert_array_equal(converted.descriptors, raw())
    assert [p.name for p in converted.places] == [p.name for p in route_map.places]
    assert all(p.thumbnail is not None and p.thumbnail.is_file() for p in converted.places)
    before, after = route_map.localizable(), converted.localizable()
    np.testing.assert_array_equal(after.graph.spot, before.graph.spot)
    assert after.calibration.scale.impostor == before.calibration.scale.impostor
    assert after.grids is None  # made of images, which a map does not keep
    Localizer(EMBEDDER, converted, Settings()).localize(frames()[5])


def older(path: Path) -> None:
    """Make a map what the first version wrote."""
    values = read_head(path)
    del values["postprocessing"]
    for name in ("graph.npz", "cohort.npz", "calibration.yaml", "grids.npy"):
        (path / name).unlink(missing_ok=True)
        values["files"].pop(name, None)
    (path / "map.yaml").write_text(yaml.safe_dump({**values, "format": 1, "calibration": None}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"postprocessing": "zca"}, "postprocessing is none of none, mean"),
        ({"postprocessing": 3}, "postprocessing is missing or no str"),
        ({"postprocessing": "pca512"}, "step and not count, deviation, mean, projection"),
        ({"descriptor_size": 71}, "25 places of 71 values"),
    ],
)
def test_a_map_that_contradicts_itself_is_told(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = built(tmp_path, "standardise").path
    write_head(path, {**read_head(path), **change})
    with pytest.raises(SaaneError, match=reason):
        RouteMap.open(path)


def test_a_changed_or_absent_file_is_told(tmp_path: Path) -> None:
    route_map = built(tmp_path, "mean")
    file = route_map.path / POSTPROCESSING_FILE
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(SaaneError, match=r"postprocessing\.npz was truncated or changed"):
        RouteMap.open(route_map.path)
    file.unlink()
    with pytest.raises(SaaneError, match=r"lacks postprocessing\.npz"):
        RouteMap.open(route_map.path)


def test_one_place_is_told_and_what_was_embedded_stays(tmp_path: Path) -> None:
    path = tmp_path / "m.routemap"
    with pytest.raises(SaaneError, match="needs places that differ"):
        build_map(frames(count=1), EMBEDDER, path, postprocessing="pca512")
    builder = RouteMapBuilder(EMBEDDER, path)
    builder.add(frames(count=1))
    assert builder.finish().info.count == 1
    assert builder.report.continued == 1


def test_a_live_build_is_fitted_anew_at_every_save(tmp_path: Path) -> None:
    path = tmp_path / "m.routemap"
    builder = RouteMapBuilder(EMBEDDER, path, batch=1, live=True, postprocessing="standardise")
    for count in (10, COUNT):
        builder.add(frames()[len(builder) : count])
        wanted = fit("standardise", raw(count=count))
        assert wanted is not None
        np.testing.assert_array_equal(builder.save().descriptors, wanted.apply(raw(count=count)))
    builder.discard()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_part_keeps_its_descriptors_and_the_statistics_of_the_whole(
    tmp_path: Path, kind: str
) -> None:
    whole = built(tmp_path, kind)
    part = crop_map(whole, tmp_path / "part.routemap", places=(5, 12))
    np.testing.assert_array_equal(part.descriptors, whole.descriptors[5:12])
    assert part.postprocessing is not None
    assert whole.postprocessing is not None
    assert part.postprocessing.statistics.count == COUNT
    queries = raw(seed=500)
    np.testing.assert_array_equal(
        part.postprocessing.apply(queries), whole.postprocessing.apply(queries)
    )
    # Parts of one map share its projection, so that they can be joined again.
    rest = crop_map(whole, tmp_path / "rest.routemap", places=(12, COUNT))
    joined = merge_maps([part, rest], tmp_path / "joined.routemap")
    np.testing.assert_array_equal(joined.descriptors, whole.descriptors[5:])


@pytest.mark.parametrize("kind", ["mean", "standardise"])
def test_drives_merge_each_by_its_own_statistics(tmp_path: Path, kind: str) -> None:
    maps = [built(tmp_path, kind, seed) for seed in (0, 100)]
    merged = merge_maps(maps, tmp_path / "both.routemap")
    for place, row in zip(merged.places, merged.descriptors, strict=True):
        source, name = place.name.split("/")
        own = maps[source.endswith("-100")]
        np.testing.assert_array_equal(row, own.descriptors[int(name)])
    wanted = pooled([one.postprocessing for one in maps if one.postprocessing is not None])
    assert merged.postprocessing is not None
    np.testing.assert_array_equal(merged.postprocessing.apply(raw(7)), wanted.apply(raw(7)))
    assert merged.postprocessing.statistics.count == 2 * COUNT


def test_drives_without_their_means_are_whitened_together(tmp_path: Path) -> None:
    maps = [built(tmp_path, "mean", seed) for seed in (0, 100)]
    merged = merge_maps(maps, tmp_path / "both.routemap", "pca512")
    assert merged.info.postprocessing == "pca512"
    assert merged.info.descriptor_size == 2 * COUNT - 2
    used = merged.postprocessing
    assert used is not None
    for place, row in zip(merged.places, merged.descriptors, strict=True):
        source, name = place.name.split("/")
        centred = maps[source.endswith("-100")].descriptors[[int(name)]]
        np.testing.assert_allclose(row, used.projected(np.asarray(centred))[0], atol=1e-4)


def test_maps_that_do_not_fit_do_not_merge(tmp_path: Path) -> None:
    out = tmp_path / "both.routemap"
    none, mean, scaled = (built(tmp_path, kind) for kind in ("none", "mean", "standardise"))
    projected = [built(tmp_path, "pca512", seed) for seed in (0, 100)]
    for maps, wanted, reason in (
        ([none, mean], None, "post-processing mean and those of .* through none: build both"),
        ([mean, scaled], None, "post-processing standardise and those of .* through mean"),
        (projected, None, "pca512 projections of their own.* merge those with --postprocessing"),
        ([none, none], "pca512", "went through no post-processing: build the maps with"),
        ([scaled, scaled], "pca512", "went through standardise cannot become pca512"),
    ):
        with pytest.raises(SaaneError, match=reason):
            merge_maps(maps, out, wanted)
    assert not out.exists()


def asked(path: Path, seen: list[Frame], kind: str = "auto", existing: str = "replace") -> RouteMap:
    builder = RouteMapBuilder(EMBEDDER, path, postprocessing=kind, existing=existing)
    builder.add(seen)
    return builder.finish()


def test_a_drive_chooses_for_itself_and_the_map_says_why(tmp_path: Path) -> None:
    road, spot = frames(count=ENOUGH_PLACES), frames(count=1)[0]
    noise = np.random.default_rng(0).integers(0, 3, (ENOUGH_PLACES, *spot.image.shape), np.uint8)
    parked = [replace(one, image=spot.image // 2 + n) for one, n in zip(road, noise, strict=True)]
    for number, (seen, kind, why) in enumerate(
        (
            (road, "mean", f"{ENOUGH_PLACES} places differ"),
            (road[1:], "none", f"of {ENOUGH_PLACES - 1} places, fewer than {ENOUGH_PLACES}"),
            (parked, "none", f"{ENOUGH_PLACES} places differ 0.0"),
        )
    ):
        found = asked(tmp_path / f"{number}.routemap", seen)
        assert found.info.postprocessing == kind
        assert found.info.chosen.startswith(why)
        told = asked(tmp_path / f"{number}-told.routemap", seen, kind)
        assert told.info.chosen == ""
        np.testing.assert_array_equal(found.descriptors, told.descriptors)


def test_what_a_drive_chose_stays(tmp_path: Path) -> None:
    road = asked(tmp_path / "road.routemap", frames(count=ENOUGH_PLACES))
    why = road.info.chosen
    part = crop_map(road, tmp_path / "part.routemap", places=(5, 12))
    assert (part.info.postprocessing, part.info.chosen) == ("mean", why)
    both = merge_maps([road, part], tmp_path / "both.routemap")
    assert (both.info.postprocessing, both.info.chosen) == ("mean", why)
    white = merge_maps([road, part], tmp_path / "white.routemap", "pca512")
    assert (white.info.postprocessing, white.info.chosen) == ("pca512", "")
    assert calibrate(road, EMBEDDER, []).info.chosen == why
    # A drive joins a map by the map's kind, however long the two are.
    longer = asked(road.path, frames(300, COUNT, aside=1.0), existing="extend")
    assert (longer.info.count, longer.info.postprocessing) == (ENOUGH_PLACES + COUNT, "mean")
    short = asked(tmp_path / "short.routemap", frames())
    joined = asked(short.path, frames(300, ENOUGH_PLACES, aside=1.0), existing="extend")
    assert (joined.info.count, joined.info.postprocessing) == (ENOUGH_PLACES + COUNT, "none")
    assert joined.info.chosen == short.info.chosen


def test_a_reason_that_is_none_is_told(tmp_path: Path) -> None:
    path = built(tmp_path, "mean").path
    write_head(path, {**read_head(path), "chosen": 3})
    with pytest.raises(SaaneError, match="chosen is no sentence"):
        RouteMap.open(path)
