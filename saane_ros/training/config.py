"""A training run as one YAML file: the model, the data and the options of each stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from saane_ros.errors import SaaneError
from saane_ros.training.embedding_trainer import EmbeddingTraining
from saane_ros.training.segmentation_trainer import SegmentationTraining
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
class TrainingConfig:
    """`model` holds the keys of a model card except its weights."""

    town: TownImages
    validation: Validation
    embedding: EmbeddingTraining = field(default_factory=EmbeddingTraining)
    segmentation: SegmentationTraining = field(default_factory=SegmentationTraining)
    model: dict[str, Any] = field(default_factory=dict, metadata={"key": False})


def read_training_config(path: Path) -> TrainingConfig:
    """The configuration in a YAML file; all its mistakes are told in one SaaneError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SaaneError(
            f"Training configuration {path} cannot be read ({error}): give a YAML file like those "
            "in config/train/."
        ) from error
    problems: list[str] = []
    model = values.pop("model", None) if isinstance(values, dict) else None
    if not isinstance(model, dict):
        problems.append("missing key model")
    config = read_mapping(TrainingConfig, values, "", problems)
    if config is None or model is None or problems:
        raise SaaneError(
            f"Training configuration {path} has mistakes: {'; '.join(problems)}. Correct them."
        )
    return replace(config, model=model)
