"""A training run as one YAML file: the model, the data and the options of each stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saane_ros.errors import SaaneError
from saane_ros.reading import read_yaml
from saane_ros.training.augmentation import Augmentation
from saane_ros.training.camera_classification import ClassificationTraining
from saane_ros.training.class_weights import ClassWeightTraining
from saane_ros.training.embedding_trainer import EmbeddingTraining
from saane_ros.training.features import Keeping
from saane_ros.training.place_sources import PlaceSource
from saane_ros.training.segmentation_trainer import SegmentationTraining
from saane_ros.training.vocabulary import VocabularyTraining
from saane_ros.training.weak_trainer import WeakTraining
from saane_ros.weights.schema import read_mapping


@dataclass(frozen=True)
class TownImages:
    """Places of synthetic towns, `step_m` metres apart, each seen under every condition.

    views: traverses per condition; they differ in lateral position, speed and traffic.
    """

    towns: int
    validation_towns: int
    conditions: tuple[str, ...]
    length_m: float = 400.0
    step_m: float = 8.0
    views: int = 1


@dataclass(frozen=True)
class Validation:
    """Queries of some conditions are searched in the reference condition of the same group.

    tolerance: places by which a match may be off and still count as correct.
    """

    reference: str
    queries: tuple[str, ...]
    tolerance: int = 1


@dataclass(frozen=True)
class LabelSource:
    """Images and their label maps, in folders below the data folder (or that of pseudo-labels).

    only, without: names of folders on the way to an image, to keep or to leave out.
    classes, counterparts: of label maps with other classes than the student's: the files that name
        theirs and the student's name of each, beside the configuration.
    """

    images: str
    labels: str
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    classes: str = ""
    counterparts: str = ""


@dataclass(frozen=True)
class LabelFolders:
    """Label maps for the segmentation.

    classes: a file of classes beside the configuration, see `data/images/labelled.py`.
    test: without it the figures are those of the validation.
    """

    classes: str
    train: tuple[LabelSource, ...]
    validation: tuple[LabelSource, ...]
    test: tuple[LabelSource, ...] = ()


@dataclass(frozen=True)
class Movables:
    """Labelled images out of which the copies of views get vehicles and people pasted into them.

    images, labels: folders below the data folder.  classes: as of LabelFolders.  objects: names of
    the classes that are cut out.
    """

    images: str
    labels: str
    classes: str
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What `saane train table` compares: heads of several systems and seeds on benchmarks.

    datasets: names in config/datasets/ or YAML files.  systems: heads to be trained.
    untrained: further trunks or fusions, `trunk:<trunk>:<pool>` as in `embedding/untrained.py`.
    """

    datasets: tuple[str, ...]
    systems: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    untrained: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingConfig:
    """One run.

    labels: what the segmentation learns from; the towns where it is absent.
    places, held_out: what the head learns from and what it is validated on.
    features: whether what frozen trunks say of images is cached on disk ("cache"), made anew for
        every batch ("stream"), or, set of images by set, cached where it fits ("auto").
    model: the keys of a model card; its `weights` name only the files that are not trained here.
    path: of the configuration itself.
    """

    town: TownImages | None = None
    validation: Validation | None = None
    labels: LabelFolders | None = None
    places: tuple[PlaceSource, ...] = (PlaceSource("towns"),)
    held_out: tuple[PlaceSource, ...] = (PlaceSource("towns"),)
    augmentation: Augmentation = field(default_factory=Augmentation)
    movables: Movables | None = None
    comparison: Comparison | None = None
    embedding: EmbeddingTraining = field(default_factory=EmbeddingTraining)
    segmentation: SegmentationTraining = field(default_factory=SegmentationTraining)
    vocabulary: VocabularyTraining = field(default_factory=VocabularyTraining)
    classification: ClassificationTraining = field(default_factory=ClassificationTraining)
    class_weights: ClassWeightTraining = field(default_factory=ClassWeightTraining)
    weak: WeakTraining = field(default_factory=WeakTraining)
    features: Keeping = "auto"
    model: dict[str, Any] = field(default_factory=dict, metadata={"key": False})
    path: Path = field(default=Path(), metadata={"key": False})


def read_training_config(path: Path) -> TrainingConfig:
    """The configuration in a YAML file; all its mistakes are told in one SaaneError."""
    values = read_yaml(path, "Training configuration")
    problems: list[str] = []
    model = values.pop("model", None) if isinstance(values, dict) else None
    if not isinstance(model, dict):
        problems.append("missing key model")
    config = read_mapping(TrainingConfig, values, "", problems)
    if config is None or model is None or problems:
        raise SaaneError(
            f"Training configuration {path} has mistakes: {'; '.join(problems)}. Correct them."
        )
    return replace(config, model=model, path=path)
