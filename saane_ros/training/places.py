"""The places of a run: views to learn from, held-out views, their features and searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saane_ros.data.images.labelled import read_classes, read_label_folder
from saane_ros.data.images.places import read_places
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.errors import SaaneError
from saane_ros.model.saane import SaaneNetwork
from saane_ros.training.features import Features, StreamedFeatures, chosen_features
from saane_ros.training.movables import Cutout, read_cutouts
from saane_ros.training.place_sources import PlaceSource, read_rows
from saane_ros.training.place_views import PlaceViews, expanded
from saane_ros.training.reading_ahead import Images
from saane_ros.training.run import Run
from saane_ros.training.validation import Retrieval, condition_retrievals, place_retrieval

MOST_CUTOUTS = 300


@dataclass(frozen=True)
class EmbeddingData:
    """Everything that the training of a head needs, in features of frozen trunks."""

    training: Features
    training_views: PlaceViews
    held_out: Features
    held_out_views: PlaceViews
    searches: list[Retrieval]


def embedding_data(run: Run, network: SaaneNetwork) -> EmbeddingData:
    """Views and features of a configuration's places."""
    training, held_out = training_views(run), held_out_views(run)
    require_disjoint(training, held_out)
    bf16 = run.config.embedding.precision == "bf16"
    found = [
        frozen_features(run, network, views, f"features of {what} views", bf16)
        for what, views in (("training", training), ("held-out", held_out))
    ]
    return EmbeddingData(found[0], training, found[1], held_out, searches(run, held_out))


def frozen_features(
    run: Run, network: SaaneNetwork, images: Images, what: str, bf16: bool = False
) -> Features:
    """What the trunks say of some images: from the cache in `run.out`/features, or streamed."""
    stream = StreamedFeatures(network, preprocessing_of(run.card), images, bf16)
    return chosen_features(stream, run.out / "features", what, run.config.features, run.first)


def training_views(run: Run) -> PlaceViews:
    return _views(run, run.config.places, "training")


def held_out_views(run: Run) -> PlaceViews:
    return _views(run, run.config.held_out, "validation")


def _views(run: Run, sources: Sequence[PlaceSource], purpose: str) -> PlaceViews:
    parts = []
    for source in sources:
        towns = read_places(run.towns(purpose) / "images") if source.kind == "towns" else None
        rows = read_rows(source, run.data, towns)
        parts.append((source.name, rows, source.crops, source.copies))
    return expanded(parts, run.config.augmentation, _movables(run))


def _movables(run: Run) -> tuple[Cutout, ...]:
    wanted = run.config.movables
    if wanted is None:
        return ()
    classes = read_classes(run.config.path.parent / wanted.classes)
    images = read_label_folder(run.data / wanted.images, run.data / wanted.labels, classes)
    return read_cutouts(images, wanted.objects, MOST_CUTOUTS)


def require_disjoint(training: PlaceViews, held_out: PlaceViews) -> None:
    """SaaneError where an image is in both."""
    common = {view.path for view in training.views} & {view.path for view in held_out.views}
    if common:
        raise SaaneError(
            f"{len(common)} images are both in `places` and in `held_out`, such as "
            f"{sorted(common)[0]}: keep whole folders apart with `only` and `without`."
        )


def searches(run: Run, views: PlaceViews) -> list[Retrieval]:
    """One search a held-out source; for towns one of every query condition in every town."""
    found: list[Retrieval] = []
    for number, source in enumerate(run.config.held_out):
        rows = np.flatnonzero(views.sources == number)
        validation = run.config.validation
        if source.kind == "towns" and validation is not None:
            queries = list(validation.queries)
            found += condition_retrievals(
                views, rows, validation.reference, queries, validation.tolerance
            )
        else:
            found.append(place_retrieval(views, rows, source.name))
    return found
