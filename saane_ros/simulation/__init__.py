"""The synthetic town: one route under day, night, rain, fog and snow, with traffic."""

from saane_ros.simulation.camera import Camera
from saane_ros.simulation.conditions import CONDITIONS
from saane_ros.simulation.labels import CLASS_NAMES, DYNAMIC_CLASSES
from saane_ros.simulation.parallel import render_many
from saane_ros.simulation.seeds import (
    DEMO_SEED,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    require_training_seed,
)
from saane_ros.simulation.town import Town
from saane_ros.simulation.traverse import TownFrame, Traverse

__all__ = [
    "CLASS_NAMES",
    "CONDITIONS",
    "DEMO_SEED",
    "DYNAMIC_CLASSES",
    "TRAINING_SEEDS",
    "VALIDATION_SEEDS",
    "Camera",
    "Town",
    "TownFrame",
    "Traverse",
    "render_many",
    "require_training_seed",
]
