"""`saane train`: the stages of a training run, each of which goes on where it was cut."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.commands.parsers import number, output_folder
from saane_ros.errors import SaaneError

if TYPE_CHECKING:
    from saane_ros.training.run import Run

EXAMPLES = """\
examples:
  saane train segmentation --config config/train/saane-town.yaml --out out/train
  saane train embedding    --config config/train/saane-town.yaml --out out/train
  saane train export       --config config/train/saane-town.yaml --out out/train --models models
  saane train vocabulary   --config config/train/dense-vlad.yaml --data ~/data --out out/dense-vlad
  saane train weak         --config config/train/sralnet-vgg16.yaml --data ~/data --out out/sralnet
  saane train pseudo-labels --teacher mosaic-ade31 --data ~/data --images webcams --out out/pseudo
  torchrun --nproc-per-node 4 -m saane_ros.cli train embedding --config ... --out ...

A stage that was interrupted continues when it is started again with the same --out: after Ctrl-C
where it stopped, otherwise at its last validation. Rendered images are kept in the cache folder
($SAANE_CACHE). TensorBoard: tensorboard --logdir <out>/embedding/tensorboard
"""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane train` and its stages."""
    parser = subparsers.add_parser(
        "train",
        help="train trunks, segmentation and heads",
        description="Train a model, stage by stage.",
        epilog=EXAMPLES,
    )
    stages = parser.add_subparsers(dest="stage", required=True, metavar="stage")
    for name, run, help_text in (
        ("segmentation", _segmentation, "a segmentation network, on label maps"),
        ("embedding", _embedding, "a SAANE head on frozen features"),
        ("vocabulary", _vocabulary, "words and whitening of a VLAD system"),
        ("weak", _weak, "a NetVLAD or SRALNet from its vocabulary on, by images with positions"),
        ("classification", _classification, "an AMOSNet with its trunk, by telling places apart"),
        ("filter", _filter, "one weight per class for a static filter"),
        ("export", _export, "card and weight files of a trained model"),
        ("table", _table, "heads of all systems and seeds, compared on benchmarks"),
        ("sweep", _sweep, "heads of several widths C, compared on the same benchmarks"),
        ("evidence", _evidence, "what distances mean, and from when on a place is believed"),
    ):
        stage = stages.add_parser(
            name,
            help=help_text,
            description=f"Train: {help_text}.",
            epilog=EXAMPLES,
        )
        stage.add_argument("--config", type=Path, required=True, help="a file of config/train/")
        stage.add_argument("--out", type=output_folder, required=True, help="folder of checkpoints")
        stage.add_argument(
            "--data",
            type=Path,
            default=Path(),
            help="folder of the configuration's images",
        )
        stage.add_argument("--weights", default="", help="folder of given weights, searched first")
        stage.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
        if name in ("export", "evidence"):
            stage.add_argument(
                "--models", type=output_folder, required=True, help="folder of the card"
            )
        if name == "export":
            stage.add_argument("--system", help="a head that the stage `table` trained, by name")
        if name == "segmentation":
            stage.add_argument(
                "--labels", type=Path, help="an --out of pseudo-labels, searched first for labels"
            )
        if name in ("segmentation", "table", "sweep", "evidence"):
            needed = name != "segmentation"
            stage.add_argument(
                "--results", type=output_folder, required=needed, help="folder of figures"
            )
        if name == "sweep":
            stage.add_argument(
                "--channels",
                nargs="+",
                type=number(1, 4096, int),
                default=[16, 32, 64, 128, 256, 512, 1024],
                metavar="C",
                help="widths of the head; by default 16 to 1024",
            )
        stage.set_defaults(run=run)
    _add_pseudo_labels(stages)


def _add_pseudo_labels(stages: argparse._SubParsersAction) -> None:
    """Add the stage that needs no configuration: it makes what one may name."""
    stage = stages.add_parser(
        "pseudo-labels",
        help="label maps of images by strong networks, for a light one to learn",
        description="Label images by strong networks, for `saane train segmentation --labels`.",
        epilog=EXAMPLES,
    )
    stage.add_argument(
        "--teacher",
        nargs="+",
        action="append",
        required=True,
        metavar=("MODEL", "COUNTERPARTS"),
        help="a model with a segmentation, and a file that gives the student's name of its classes "
        "if they differ; given again, for a second opinion on the classes that both know",
    )
    stage.add_argument("--images", type=Path, nargs="+", required=True, help="folders below --data")
    stage.add_argument(
        "--data", type=Path, default=Path(), help="folder that holds those of --images"
    )
    stage.add_argument("--out", type=output_folder, required=True, help="folder of label maps")
    stage.add_argument(
        "--classes", default="", help="file of classes or a model; default: the first teacher's own"
    )
    stage.add_argument(
        "--confidence",
        type=number(0, 1, float),
        default=0.5,
        help="least probability of a label, below it a pixel is ignored (default 0.5)",
    )
    stage.add_argument("--flip", action="store_true", help="average with the mirror image")
    stage.add_argument(
        "--scales",
        type=number(0.25, 4, float),
        nargs="+",
        default=[1.0],
        help="sizes of the input to average over (default 1)",
    )
    stage.add_argument("--weights", default="", help="folder of given weights, searched first")
    stage.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    stage.set_defaults(run=_pseudo_labels)


def _pseudo_labels(options: argparse.Namespace) -> None:
    from saane_ros.training.pseudo_labels import PseudoLabels, report_table, write_pseudo_labels

    teachers = []
    for model, *files in options.teacher:
        if len(files) > 1:
            raise SaaneError(f"--teacher {model} has {len(files)} files of counterparts: give one.")
        teachers.append((model, Path(files[0]) if files else None))
    report = write_pseudo_labels(
        PseudoLabels(
            tuple(teachers),
            tuple(options.images),
            options.out,
            options.data.expanduser(),
            options.classes,
            options.confidence,
            options.flip,
            tuple(options.scales),
            options.weights,
            options.device,
        )
    )
    print(report_table(report))
    print(f"labels of {report['images']} images, classes.yaml and report.json in {options.out}")


def _run(options: argparse.Namespace) -> Run:
    from saane_ros.embedding.loading import pick_device
    from saane_ros.training.config import read_training_config
    from saane_ros.training.run import Run

    config = read_training_config(options.config)
    device = pick_device(options.device)
    labels = getattr(options, "labels", None)
    return Run(config, options.out, options.data.expanduser(), options.weights, device, labels)


def _segmentation(options: argparse.Namespace) -> None:
    from saane_ros.training.iou import iou_table
    from saane_ros.training.pipeline import train_segmentation

    reports = train_segmentation(_run(options), options.results)
    print(iou_table(reports))
    print(f"weights and report.json in {options.out / 'segmentation'}")


def _embedding(options: argparse.Namespace) -> None:
    from saane_ros.training.pipeline import train_embedding

    score = train_embedding(_run(options))
    print(f"best score on held-out places {score:.4f}; weights in {options.out / 'embedding'}")


def _vocabulary(options: argparse.Namespace) -> None:
    from saane_ros.training.vocabulary_stage import train_vocabulary

    run = _run(options)
    learned = train_vocabulary(run)
    print(
        f"{learned.features} local features of {learned.images} images, alpha {learned.alpha:.1f}, "
        f"whitening from {learned.whitened_from} images; weights in {run.trained_file('head')}"
    )


def _weak(options: argparse.Namespace) -> None:
    from saane_ros.training.weak_stage import train_weak

    run = _run(options)
    start, best = train_weak(run)
    for name in (name for name in start if name.endswith(("R@1", "R@5"))):
        print(f"{name}: {start[name]:.4f} at first, {best[name]:.4f} in epoch {best['epoch']}")
    print(f"weights in {run.trained_file('head')}")


def _classification(options: argparse.Namespace) -> None:
    from saane_ros.training.classification_stage import train_classification

    score = train_classification(_run(options))
    print(f"best score on held-out places {score:.4f}; weights in {options.out}")


def _filter(options: argparse.Namespace) -> None:
    from saane_ros.training.class_weights_stage import train_filter

    weights, (first, last) = train_filter(_run(options))
    print(", ".join(f"{name} {weight:.2f}" for name, weight in weights.items()))
    print(f"loss {first:.4f} at first, {last:.4f} at last; weights in {options.out}")


def _export(options: argparse.Namespace) -> None:
    from saane_ros.training.pipeline import export, of_table

    run = _run(options)
    chosen = of_table(run, options.system) if options.system else run
    print(f"wrote {export(chosen, options.models)}")


def _table(options: argparse.Namespace) -> None:
    from saane_ros.training.comparison import compare

    print(compare(_run(options), options.results))


def _sweep(options: argparse.Namespace) -> None:
    from saane_ros.training.sweep import sweep

    print(sweep(_run(options), options.channels, options.results))


def _evidence(options: argparse.Namespace) -> None:
    from saane_ros.training.evidence.stage import train_evidence

    train_evidence(
        options.config,
        options.data.expanduser(),
        options.weights,
        options.out,
        options.models,
        options.results,
        options.device,
    )
