"""The stages of a training run: segmentation with its trunk, the head, the shipped model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file

from saane_ros.data.images.labelled import (
    LabelledImages,
    counterparts,
    joined,
    read_classes,
    read_label_folder,
)
from saane_ros.embedding.assembly import build_semantics, build_trunk, load_trunk
from saane_ros.embedding.loading import preprocessing_of
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.model.heads import HEADS, Head
from saane_ros.model.saane import SaaneNetwork
from saane_ros.training.config import LabelSource, TrainingConfig
from saane_ros.training.devices import launched_fabric
from saane_ros.training.embedding_trainer import EmbeddingTrainer
from saane_ros.training.export import export_model, trained_roles
from saane_ros.training.iou import iou_report
from saane_ros.training.places import EmbeddingData, embedding_data
from saane_ros.training.run import Run
from saane_ros.training.segmentation_trainer import SegmentationTrainer
from saane_ros.training.tensorboard import TrainingLog
from saane_ros.training.town_images import labelled_images
from saane_ros.training.validation import validation_figures

if TYPE_CHECKING:
    from lightning_fabric import Fabric

VALIDATION_LABELS = 300
"""Label maps that a validation of the segmentation looks at, spread over its towns."""
ABLATIONS = {
    "app": "Appearance alone",
    "app_sem": "Appearance and semantics without attention",
    "app_att": "Appearance with attention",
    "app_att_sem_att": "Appearance and semantics, each with an attention of its own",
    "saane": "SAANE",
}
"""The rows of the paper's Table 1 in words."""
PICTURED = 4
"""Held-out views whose attention TensorBoard shows."""


def label_splits(run: Run) -> dict[str, LabelledImages]:
    """The labelled images by split: train, validation and, if there is one, test."""
    labels = run.config.labels
    if labels is None:
        validation = labelled_images(run.towns("validation"))
        every = max(1, len(validation) // VALIDATION_LABELS)
        return {
            "train": labelled_images(run.towns("training")),
            "validation": labelled_images(run.towns("validation"), every),
        }
    sources = {"train": labels.train, "validation": labels.validation, "test": labels.test}
    splits = {
        split: joined([_read_source(source, run) for source in given])
        for split, given in sources.items()
        if given
    }
    for split in ("train", "validation"):
        if split not in splits:
            raise SaaneError(f"{run.config.path} has no images under labels.{split}: add some.")
    trained = set(splits["train"].images)
    for split in splits.keys() - {"train"}:
        shared = trained & set(splits[split].images)
        if shared:
            raise SaaneError(
                f"{len(shared)} images of {run.config.path} are both in labels.train and in "
                f"labels.{split}, such as {min(shared)}: part them by `only` and `without`."
            )
    return splits


def _read_source(source: LabelSource, run: Run) -> LabelledImages:
    beside = run.config.path.parent
    classes = read_classes(beside / source.classes) if source.classes else run.classes
    labels = run.data / source.labels
    if run.labels is not None and (run.labels / source.labels).is_dir():
        labels = run.labels / source.labels
        made = read_classes(run.labels / "classes.yaml")
        if made.classes != classes.classes:
            raise SaaneError(
                f"{run.labels} holds labels of other classes than {run.config.path}: give the "
                "file that its labels.classes names to `saane train pseudo-labels --classes`."
            )
    found = read_label_folder(
        run.data / source.images, labels, classes, source.only, source.without
    )
    if not source.classes:
        return found
    path = beside / source.counterparts if source.counterparts else None
    own = run.classes.classes
    return found.translated(own, counterparts(classes.classes, own, path))


def train_segmentation(run: Run, results: Path | None = None) -> dict[str, dict[str, Any]]:
    """Train the segmentation and its trunk unless frozen; figures by split, also in report.json.

    results: folder that is given a copy of the figures under the configuration's name.
    """
    torch.manual_seed(run.config.segmentation.seed)
    card = run.card
    trunk = build_trunk(card)
    semantics = build_semantics(card, trunk, run.weights)
    if (
        semantics is None
        or card.semantics is None
        or "segmentation" not in trained_roles(run.model)
    ):
        raise SaaneError(f"{run.config.path} names no segmentation that could be trained.")
    given = run.given_weights() | run.fine_tuned_trunk()
    if set(card.trunk_weights) <= given.keys():
        load_trunk(trunk, card, given)
        if run.config.segmentation.train_trunk:
            raise SaaneError(
                f"{run.config.path} gives the trunk's weights and trains it: set "
                "segmentation.train_trunk to false, or leave out weights.trunk."
            )
    splits = label_splits(run)
    trainer = SegmentationTrainer(
        trunk,
        semantics,
        preprocessing_of(card),
        splits["train"],
        splits["validation"],
        run.config.segmentation,
        run.out / "segmentation",
        run.device,
    )
    trainer.run()
    semantics.load_state_dict(load_file(run.trained_file("segmentation")))
    trunk.load_state_dict(load_file(run.trained_file("trunk")))
    reports = {
        split: iou_report(
            trainer.confusion(images), images.class_names, card.semantics.dynamic, images.known
        )
        for split, images in splits.items()
        if split != "train"
    }
    copies = [] if results is None else [results / f"{run.config.path.stem}.json"]
    for path in (run.out / "segmentation" / "report.json", *copies):
        with replacing_file(path) as temporary:
            temporary.write_text(json.dumps(reports, indent=1) + "\n")
    return reports


def train_embedding(run: Run) -> float:
    """Train the head on frozen features; the best score on the held-out places."""
    run, fabric = on_fabric(run)
    network = run.network()
    return train_head(run, network.head, shared_data(run, network, fabric), fabric)


def on_fabric(run: Run) -> tuple[Run, Fabric]:
    """The run on this process' own device, of one process or of several that torchrun started."""
    fabric = launched_fabric(str(run.device), run.config.embedding.precision)
    return replace(run, device=fabric.device, first=fabric.is_global_zero), fabric


def shared_data(run: Run, network: SaaneNetwork, fabric: Fabric) -> EmbeddingData:
    """Views and features; the first process renders and caches them, the others read its files."""
    with fabric.rank_zero_first(local=False):
        return embedding_data(run, network)


def train_head(run: Run, head: Head, data: EmbeddingData, fabric: Fabric) -> float:
    """Train one head on features that are there already, into `run.out`/embedding."""
    options = run.config.embedding
    out = run.out / "embedding"

    def validate(trained: Head) -> dict[str, float]:
        return validation_figures(
            trained, data.held_out, data.held_out_views.labels, data.searches, fabric.device
        )

    log = None
    if fabric.is_global_zero:
        rows = np.linspace(0, len(data.held_out) - 1, PICTURED).astype(int).tolist()
        log = TrainingLog(out / "tensorboard", data.held_out, data.held_out_views, rows)
    weights = [source.weight for source in run.config.places]
    trainer = EmbeddingTrainer(
        head, data.training, data.training_views, validate, options, out, fabric, weights, log
    )
    return trainer.run()


def of_table(run: Run, system: str) -> Run:
    """The run of a system that `saane train table` trained, by the first seed.

    Its model is named after the configuration's, and has no semantics where it uses none.
    """
    if run.config.comparison is None or system not in run.config.comparison.systems:
        raise SaaneError(
            f"{run.config.path} has no {system} in its section `comparison`: choose one of those."
        )
    model = {**run.config.model, "system": system}
    if system != run.config.model["system"]:
        model["name"] = f"{model['name']}-{system.replace('_', '-')}"
        model["description"] = f"{ABLATIONS[system]}, an ablation of {run.config.model['name']}."
    if not HEADS[system].uses_semantics and "semantics" in model:
        files = model.pop("semantics").get("weights", "segmentation")
        unused = [files] if isinstance(files, str) else files
        given = model["weights"].items()
        model["weights"] = {role: file for role, file in given if role not in unused}
    out = run.out / "heads" / f"{system}-{run.config.comparison.seeds[0]}"
    return replace(run, config=replace(run.config, model=model), out=out)


def export(run: Run, models: Path) -> Path:
    """Write the trained model as card and weight files; the card's path."""
    trained = {role: run.trained_file(role) for role in trained_roles(run.shipped)}
    if "head" in trained and not run.trained_file("head").is_file():
        raise SaaneError(
            f"{run.trained_file('head')} does not exist: run `saane train embedding` first."
        )
    return export_model(run.shipped, trained, models)


def with_embedding(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    """The configuration with other options of the embedding."""
    return replace(config, embedding=replace(config.embedding, **changes))
