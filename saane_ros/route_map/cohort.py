"""What images from elsewhere look like to a model: the yardstick of "this is the place".

A query is compared with images that certainly show another place, the cohort, and a distance to
the map says something where it is smaller than those (score normalisation of speaker verification;
Auckenthaler et al., Digital Signal Processing 2000). The images are views of synthetic towns that
ship with the package: real places lie as far from them as from each other. The feature grids of
the same images give the projection of the model's grids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saane_ros.embedding import Embedder, TwoStage
from saane_ros.errors import SaaneError
from saane_ros.paths import share_folder
from saane_ros.route_map.arrays import read_arrays, write_arrays
from saane_ros.route_map.feature_grids import (
    GRIDS,
    OWN,
    UNPROJECTED,
    GridProjection,
    fit_projection,
    rerank_of,
)
from saane_ros.route_map.postprocessing import Postprocessing
from saane_ros.types import Rgb

COHORT_FILE = "cohort.npz"
IMAGES_FILE = "cohort.jpg"
TILE_HEIGHT, TILE_WIDTH = 240, 320
_BATCH = 8


@dataclass(frozen=True, eq=False)
class Cohort:
    """descriptors: float32 (n, D) of the cohort's images, as embedded.

    projection: of the map's feature grids; None for a model without them.
    grid_shape: h, w and values of a compact grid, known where the cohort was embedded and empty
    where it was read or the model has no grids.
    """

    descriptors: NDArray[np.float32]
    projection: GridProjection | None = None
    grid_shape: tuple[int, ...] = ()


@lru_cache(maxsize=1)
def cohort_images() -> tuple[Rgb, ...]:
    """The images, tiles of one picture."""
    path = share_folder() / "models" / IMAGES_FILE
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SaaneError(f"{path} is missing or no image: install the package again.")
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    rows, columns = picture.shape[0] // TILE_HEIGHT, picture.shape[1] // TILE_WIDTH
    tiles = picture[: rows * TILE_HEIGHT, : columns * TILE_WIDTH]
    tiles = tiles.reshape(rows, TILE_HEIGHT, columns, TILE_WIDTH, 3).swapaxes(1, 2)
    return tuple(np.ascontiguousarray(tile) for row in tiles for tile in row)


def named_rerank(embedder: Embedder, rerank: str) -> str:
    """One of `RERANKS`; "own" becomes what the model's authors re-rank by, else SaaneError."""
    return f"{OWN}-{_two_stage(embedder).own_score[0]}" if rerank == OWN else rerank


def embedder_of(embedder: Embedder, rerank: str) -> Embedder:
    """The embedder whose grids a `MapInfo.rerank` compares; SaaneError where it has none such."""
    return _two_stage(embedder).with_own_grids() if rerank_of(rerank).own else embedder


def _two_stage(embedder: Embedder) -> TwoStage:
    if not isinstance(embedder, TwoStage) or not embedder.own_score[0]:
        raise SaaneError(
            f"{embedder.name} has no local features of its own: leave out --rerank {OWN}."
        )
    return embedder


def cohort_of(embedder: Embedder, rerank: str = GRIDS) -> Cohort:
    """Embed the cohort's images: about as long as so many places of a map take.

    rerank: `MapInfo.rerank` of the map that it is for.
    """
    embedder, own = embedder_of(embedder, rerank), rerank_of(rerank).own
    images = cohort_images()
    embedded = [
        one
        for start in range(0, len(images), _BATCH)
        for one in embedder.embed(images[start : start + _BATCH], grid=not own or start == 0)
    ]
    descriptors = np.stack([one.descriptor for one in embedded]).astype(np.float32)
    grids = [one.grid for one in embedded if one.grid is not None]
    if own:
        return Cohort(descriptors, UNPROJECTED, grids[0].shape)
    if len(grids) < len(embedded):
        return Cohort(descriptors)
    projection = fit_projection(np.stack(grids))
    return Cohort(descriptors, projection, (*grids[0].shape[:2], len(projection.directions)))


def projection_of(embedder: Embedder, cohort: Cohort) -> GridProjection:
    """What makes grids of the embedder compact; SaaneError where it has none to re-rank by."""
    if cohort.projection is None:
        raise SaaneError(f"{embedder.name} has no feature grids to re-rank by: leave out --rerank.")
    return cohort.projection


def cohort_descriptors(
    cohort: Cohort, postprocessing: Postprocessing | None
) -> NDArray[np.float32]:
    """The cohort's descriptors as those of a map that went through `postprocessing` (n, P)."""
    if postprocessing is None:
        return np.ascontiguousarray(cohort.descriptors)
    return np.ascontiguousarray(postprocessing.apply(cohort.descriptors))


def write_cohort(path: Path, cohort: Cohort) -> None:
    """Write `cohort.npz`: descriptors, and the projection's mean and directions where it has one.

    Half precision is finer than the differences between two runs of a network on a GPU.
    """
    arrays: dict[str, NDArray[np.floating]] = {"descriptors": cohort.descriptors.astype(np.float16)}
    if cohort.projection is not None:
        arrays["mean"] = cohort.projection.mean
        arrays["directions"] = cohort.projection.directions
    write_arrays(path, arrays)


def read_cohort(path: Path) -> Cohort:
    """Read and check the file; SaaneError where its arrays do not fit or are not finite."""
    arrays = read_arrays(path)
    with_grids = {"descriptors", "mean", "directions"}
    if arrays.keys() not in ({"descriptors"}, with_grids):
        raise _damaged(path, f"holds {', '.join(sorted(arrays))}")
    fits = arrays["descriptors"].ndim == 2 and len(arrays["descriptors"]) > 0
    if "mean" in arrays:
        fits &= arrays["mean"].ndim == 1 and arrays["directions"].ndim == 2
        fits = fits and arrays["directions"].shape[1:] == arrays["mean"].shape
    if not fits or not all(a.dtype.kind == "f" and np.isfinite(a).all() for a in arrays.values()):
        raise _damaged(path, "has arrays that do not fit each other or are not finite")
    projection = None
    if "mean" in arrays:
        projection = GridProjection(
            arrays["mean"].astype(np.float32), arrays["directions"].astype(np.float32)
        )
    return Cohort(arrays["descriptors"].astype(np.float32), projection)


def _damaged(path: Path, what: str) -> SaaneError:
    return SaaneError(f"{path} {what}: build the map again or restore a copy.")
