"""`saane train`: the stages of a training run, each of which goes on where it was cut."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  saane train segmentation --config config/train/saane-town.yaml --out out/train
  saane train embedding    --config config/train/saane-town.yaml --out out/train
  saane train export       --config config/train/saane-town.yaml --out out/train --models models

A stage that was interrupted continues from its last validation when it is started again with the
same --out. Rendered images are kept in the cache folder ($SAANE_CACHE).
"""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane train` and its stages."""
    parser = subparsers.add_parser(
        "train",
        help="train trunks, segmentation and heads",
        description="Train a model, stage by stage.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = parser.add_subparsers(dest="stage", required=True, metavar="stage")
    for name, run, help_text in (
        ("segmentation", _segmentation, "trunk and light PSPNet on label maps"),
        ("embedding", _embedding, "a SAANE head on frozen features"),
        ("export", _export, "card and weight files of a trained model"),
    ):
        stage = stages.add_parser(
            name,
            help=help_text,
            description=f"Train: {help_text}.",
            epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        stage.add_argument("--config", type=Path, required=True, help="a file of config/train/")
        stage.add_argument("--out", type=Path, required=True, help="folder of checkpoints")
        stage.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
        if name == "export":
            stage.add_argument("--models", type=Path, required=True, help="folder of the card")
        stage.set_defaults(run=run)


def _segmentation(options: argparse.Namespace) -> None:
    from saane_ros.embedding.loading import pick_device
    from saane_ros.training.config import read_training_config
    from saane_ros.training.pipeline import train_segmentation

    config = read_training_config(options.config)
    score = train_segmentation(config, options.out, pick_device(options.device))
    print(f"best validation mIoU {score:.4f}; weights in {options.out / 'segmentation'}")


def _embedding(options: argparse.Namespace) -> None:
    from saane_ros.embedding.loading import pick_device
    from saane_ros.training.config import read_training_config
    from saane_ros.training.pipeline import train_embedding

    config = read_training_config(options.config)
    score = train_embedding(config, options.out, pick_device(options.device))
    print(f"best validation Recall@1 {score:.4f}; weights in {options.out / 'embedding'}")


def _export(options: argparse.Namespace) -> None:
    from saane_ros.embedding.loading import pick_device
    from saane_ros.training.config import read_training_config
    from saane_ros.training.pipeline import export

    config = read_training_config(options.config)
    card = export(config, options.out, options.models, pick_device(options.device))
    print(f"wrote {card}")
