"""Maps that keep the local features which a model's authors re-rank by, beside a localizer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from map_heads import read_head, write_head
from own_features import GRID_SHAPES, own_embedder
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.images.files import read_image
from saane_ros.embedding.network import NetworkEmbedder
from saane_ros.errors import SaaneError
from saane_ros.evaluation.reranking import _stage
from saane_ros.localization.body import Base
from saane_ros.localization.extension import LAG, MapExtension
from saane_ros.localization.localizer import Localizer
from saane_ros.localization.map_choice import open_choice
from saane_ros.route_map.builder import RouteMapBuilder, build_map
from saane_ros.route_map.calibration import SIGNALS
from saane_ros.route_map.cohort import COHORT_FILE
from saane_ros.route_map.crop import crop_map
from saane_ros.route_map.existing import EXTEND
from saane_ros.route_map.merge import merge_maps
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.training.evidence.refit import calibrate
from saane_ros.types import Candidates, Frame, Match, MatchState, Pose, Rgb

COUNT = 10
CORRIDOR = Path(__file__).resolve().parents[2].parent / "shared/data/corridor"
KINDS = sorted(GRID_SHAPES)


def frames(images: Sequence[Rgb], first: int = 0) -> list[Frame]:
    return [
        Frame(image, 10**9 * (first + i), f"{first + i}", Pose((3.0 * (first + i), 0.0, 0.0)))
        for i, image in enumerate(images)
    ]


def scenes(first: int = 0, count: int = COUNT) -> list[Rgb]:
    return [smooth_scene(first + i) for i in range(count)]


def built(path: Path, embedder: object, images: Sequence[Rgb], rerank: str = "own") -> RouteMap:
    builder = RouteMapBuilder(embedder, path, rerank=rerank)  # type: ignore[arg-type]
    builder.add(frames(images))
    return builder.finish()


def naive_cells(embedder: NetworkEmbedder, image: Rgb) -> np.ndarray:
    """By all scales that the evaluation takes: SelaVPR's only one, of patches those of five."""
    scales = embedder.own_features([image])
    grid = scales[{1: 0, 2: 1}[len(scales)]][0].astype(np.float64)
    return np.rint(127 * grid / np.linalg.norm(grid, axis=-1, keepdims=True))


@pytest.fixture(scope="module", params=KINDS)
def road(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RouteMap:
    path = tmp_path_factory.mktemp("own") / "road.routemap"
    return built(path, own_embedder(request.param), scenes())


def test_a_place_keeps_the_models_own_cells(road: RouteMap, tmp_path: Path) -> None:
    kind = road.info.rerank
    assert kind in KINDS
    embedder = own_embedder(kind)
    grids = road.localizable().grids
    assert grids is not None
    assert grids.shape == (COUNT, *GRID_SHAPES[kind])
    for place, image in enumerate(scenes()):
        # The map's were embedded several at once, which moves the last digit of float16.
        apart = np.abs(grids[place] - naive_cells(embedder, image))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.01
    plain = built(tmp_path / "plain.routemap", embedder, scenes(), "grids")
    np.testing.assert_array_equal(road.descriptors, plain.descriptors)
    assert plain.localizable().grids.shape[1:] != grids.shape[1:]
    # No unit matrix of the values of a cell is kept.
    sizes = [(one.path / COHORT_FILE).stat().st_size for one in (road, plain)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_build_goes_on(kind: str, tmp_path: Path) -> None:
    path, embedder = tmp_path / "road.routemap", own_embedder(kind)
    first = RouteMapBuilder(embedder, path, batch=2, rerank="own")
    first.add(frames(scenes()[:4]))
    first.close()
    again = RouteMapBuilder(embedder, path, batch=2, rerank="own")
    again.add(frames(scenes()))
    found = again.finish().localizable().grids
    assert again.report.continued == 4
    expected = built(tmp_path / "whole.routemap", embedder, scenes()).localizable().grids
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_candidates_are_compared_as_the_evaluation_compares(road: RouteMap) -> None:
    kind = road.info.rerank
    embedder = own_embedder(kind)
    localizer = Localizer(embedder, road, Settings())
    passes = []
    embedder.network.appearance.register_forward_hook(lambda *_: passes.append(1))
    image = np.clip(0.7 * smooth_scene(6) + 20, 0, 255).astype(np.uint8)
    embedding = localizer.embed(Frame(image, 0))
    assert len(passes) == 1, "descriptor and local features are of one pass"
    np.testing.assert_array_equal(embedding.descriptor, embedder.embed([image])[0].descriptor)
    found = localizer.candidates_of(embedding)
    bearings = road.localizable()
    cells = naive_cells(embedder, image).astype(np.int8)
    best = [group.best for group in found.groups]
    scores = _stage(embedder, "own").score(cells, bearings.grids[best])
    column = found.signals.values[:, SIGNALS.index("agreement")]
    expected = np.log((scores + 0.02) / (bearings.calibration.scale.agreement + 0.02))
    np.testing.assert_allclose(column, expected, atol=1e-6)
    match = localizer.locate(embedding, 0)
    assert match.timings_ms["rerank"] > 0


@pytest.mark.skipif(not CORRIDOR.is_dir(), reason="the corridor is not at ../shared/data")
def test_real_images_are_found_on_a_map_of_them(tmp_path: Path) -> None:
    """Every tenth image of a corridor, and the same a little darker."""
    paths = sorted((CORRIDOR / "ref").glob("*"))[::10]
    images = [read_image(path) for path in paths]
    embedder = own_embedder("own-mutual")
    corridor = built(tmp_path / "corridor.routemap", embedder, images)
    localizer = Localizer(embedder, corridor, Settings(sequence_filter=False))
    for place, image in enumerate(images):
        darker = np.asarray(0.9 * image.astype(np.float64), np.uint8)
        embedding = localizer.embed(Frame(darker, place))
        found = localizer.candidates_of(embedding)
        column = found.signals.values[:, SIGNALS.index("agreement")]
        assert found.groups[int(column.argmax())].best == place
        assert localizer.locate(embedding, place).place.id == place


def test_crops_merged_and_calibrated_maps_keep_them(road: RouteMap, tmp_path: Path) -> None:
    kind = road.info.rerank
    embedder = own_embedder(kind)
    part = crop_map(road, tmp_path / "part.routemap", places=(2, 9))
    both = merge_maps([part, road], tmp_path / "both.routemap")
    calibrated = calibrate(part, embedder, [])
    assert part.info.rerank == both.info.rerank == calibrated.info.rerank == kind
    assert calibrate(calibrated, embedder, [], rerank="own").info.rerank == kind
    grids = road.localizable().grids
    np.testing.assert_array_equal(calibrated.localizable().grids, grids[2:9])
    for place in both.places:
        of = int(place.name.rpartition("/")[2])
        np.testing.assert_array_equal(both.localizable().grids[place.id], grids[of])


def test_a_drive_that_extends_a_map_goes_by_its_features(road: RouteMap, tmp_path: Path) -> None:
    path = tmp_path / "road.routemap"
    shutil.copytree(road.path, path)
    builder = RouteMapBuilder(own_embedder(road.info.rerank), path, existing=EXTEND)
    builder.add(frames(scenes(50, 3), first=COUNT))
    longer = builder.finish()
    assert longer.info.rerank == road.info.rerank
    assert longer.localizable().grids.shape == (COUNT + 3, *GRID_SHAPES[road.info.rerank])
    other = RouteMapBuilder(ColourGridEmbedder(), tmp_path / "other.routemap", existing=EXTEND)
    other.discard()
    with pytest.raises(SaaneError, match="has the model fingerprint"):
        RouteMapBuilder(ColourGridEmbedder(), path, existing=EXTEND)


def test_a_map_that_grows_as_it_is_driven_does_too(road: RouteMap, tmp_path: Path) -> None:
    path = tmp_path / "road.routemap"
    shutil.copytree(road.path, path)
    map_there = RouteMap.open(path)
    extension = MapExtension(own_embedder(road.info.rerank), map_there, Base(map_there, Settings()))
    on = LAG + 2
    for step, frame in enumerate(frames(scenes(80, on + 3))):
        state = MatchState.LOCALIZED if step < on else MatchState.OFF_ROUTE
        pose = frame.pose if step < on else None
        one = Candidates(np.zeros(1, np.int64), np.zeros(1, np.float32), 1.0)
        sure = np.ones(1, np.float32)
        match = Match(
            frame.stamp_ns, state, map_there.places[0], 0.0, 1.0, 0.9, 0.0, one, sure, pose
        )
        extension.take(frame, match, (frame.pose, 3.0 * step))
    assert extension.finish() == LAG + 3
    longer = RouteMap.open(path)
    grids = longer.localizable().grids
    assert grids.shape == (COUNT + LAG + 3, *GRID_SHAPES[road.info.rerank])
    new = [place for place in longer.places if not place.name.startswith("road/")]
    last = max(new, key=lambda place: place.stamp_ns)
    cells = naive_cells(own_embedder(road.info.rerank), scenes(80, on + 3)[-1])
    assert np.abs(grids[last.id] - cells).max() <= 1


def test_what_cannot_be_is_told(road: RouteMap, tmp_path: Path) -> None:
    kind, embedder = road.info.rerank, own_embedder(road.info.rerank)
    with pytest.raises(SaaneError, match="colour-grid has no local features of its own"):
        RouteMapBuilder(ColourGridEmbedder(), tmp_path / "no.routemap", rerank="own")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        SaaneError, match=r"was made by tiny own-.* but the loaded model colour-grid"
    ):
        Localizer(ColourGridEmbedder(), road, Settings())
    plain = built(tmp_path / "plain.routemap", embedder, scenes(), "grids")
    with pytest.raises(SaaneError, match=f"keeps what {kind} compares, and mutual compares other"):
        calibrate(road, embedder, [], rerank="mutual")
    with pytest.raises(SaaneError, match=r"keeps what grids compares, .* again with --rerank own"):
        calibrate(plain, embedder, [], rerank="own")
    with pytest.raises(SaaneError, match=f"re-ranks by {kind} and .* by grids, which compare"):
        merge_maps([plain, road], tmp_path / "both.routemap")
    shutil.copytree(road.path, tmp_path / "zroad.routemap")
    choice, left_out = open_choice(str(tmp_path), embedder, Settings())
    assert [one.info.rerank for one in choice.maps] == ["grids"]
    assert len(left_out) == 1
    assert f"zroad.routemap re-ranks by {kind}" in left_out[0]


def test_a_map_of_before_opens_and_localizes(tmp_path: Path) -> None:
    """Its head says nothing of re-ranking, and the model of the map has features of its own."""
    embedder = own_embedder("own-mutual")
    path = build_map(frames(scenes()), embedder, tmp_path / "old.routemap").path
    head = read_head(path)
    del head["rerank"]
    write_head(path, head)
    old = RouteMap.open(path)
    assert old.info.rerank == "grids"
    found = Localizer(embedder, old, Settings()).localize(frames(scenes())[4])
    assert found.match.place.id == 4
    assert found.embedding.grid.shape[:2] == (6, 8)
