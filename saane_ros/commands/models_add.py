"""`saane models add`: a card for a trunk of timm or a segmentation of Hugging Face."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from saane_ros.commands.parsers import output_file
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.weights.card_files import card_names, parse_card
from saane_ros.weights.hub import moves

ADD_EXAMPLES = """\
examples:
  saane models add timm/convnext_tiny.dinov3_lvd1689m
  saane models add timm/vit_base_patch14_dinov2 \\
      --semantics facebook/mask2former-swin-tiny-ade-semantic
  saane models add nvidia/segformer-b0-finetuned-ade-512-512 --out segformer.yaml

Writes a card that names trunk, input size, mean and deviation, the licence, and the address of the
weights with their commit and sha256, as the library and the hub tell them. A segmentation is
downloaded and loaded to see that it can serve. Heads are untrained: saane train embedding learns
one, and saane models choose tries it. A card of your own is given by its path, here and everywhere:
saane models list my.yaml, saane models choose --model my.yaml saane-street ...
"""


def add_add(parser: argparse.ArgumentParser) -> None:
    """The options of `saane models add`."""
    parser.add_argument("name", help="timm/<name>, hf-hub:timm/<name>, or a Hugging Face model")
    parser.add_argument(
        "--semantics", default="", metavar="MODEL", help="Hugging Face segmentation beside a trunk"
    )
    parser.add_argument(
        "--out", type=output_file, metavar="X.yaml", help="card to write; by default here, by name"
    )


def add_model(options: argparse.Namespace) -> None:
    """Write the card, which must not be there."""
    from saane_ros.embedding.new_cards import new_card

    values = new_card(options.name, options.semantics)
    path = options.out or Path(f"{values['name']}.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise SaaneError(f"A card's name ends in .yaml, and {path} does not: give another --out.")
    if path.exists():
        raise SaaneError(f"{path} exists already: remove it, or give another --out.")
    if path.stem in card_names():
        raise SaaneError(f"The package has a model {path.stem}: give another --out.")
    values["name"] = path.stem
    text = yaml.safe_dump(values, sort_keys=False, width=100)
    card = parse_card(text, path)
    with replacing_file(path) as part:
        part.write_text(text, encoding="utf-8")
    print(f"wrote {path}: {card.system}, {card.description} Licence: {card.licence}.")
    if any(moves(source.url) for source in card.files.values()):
        print(
            "It is not pinned, as the hub could not be asked for the commit: its files may change. "
            "Where the hub can be reached, remove the card and give the same command again."
        )
    if card.weights:
        print(f"Its weights: saane models fetch {path}")
