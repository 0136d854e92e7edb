"""`saane models`: what models there are, whether their weights are here, right, loadable, fast."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from saane_ros.commands.models_add import ADD_EXAMPLES, add_add, add_model
from saane_ros.commands.models_choose import CHOOSE_EXAMPLES, add_choose, choose, why_not
from saane_ros.commands.models_tuning import EXAMPLES as TUNE_EXAMPLES
from saane_ros.commands.models_tuning import add_tune
from saane_ros.commands.parsers import command_parser
from saane_ros.errors import SaaneError
from saane_ros.evaluation.speeds import Speed, known_speeds
from saane_ros.metric.loading import load_features
from saane_ros.weights.card_files import list_cards, load_card
from saane_ros.weights.cards import ModelCard, Semantics, WeightSource
from saane_ros.weights.feature_cards import FeatureCard, feature_names, load_feature_card
from saane_ros.weights.hub import HUB, moves, revision_of, split_id
from saane_ros.weights.store import (
    Card,
    WeightFile,
    check_file,
    find_files,
    locate,
    origin_of,
    search_folders,
)

EXAMPLES = """\
examples:
  saane models list
  saane models list my/model.yaml                  a card of your own, by its path
  saane models choose --map-drive day/ --query-drive night/
  saane models fetch saane-resnet50-pspnet
  saane models verify                              every model whose weights are here
  saane models verify saane-town my/model.yaml --weights ~/weights

Weight files are looked for in --weights, beside the card, in the package's models/ and in the
cache folder ($SAANE_CACHE, else ~/.cache/saane_ros) under weights/.
"""

FAMILIES = {
    "SAANE and its ablations": ("saane", "app_att_sem_att", "app_att", "app_sem", "app"),
    "NetVLAD": ("netvlad",),
    "SRALNet": ("sralnet",),
    "DenseVLAD": ("dense_vlad",),
    "APANet and AMOSNet": ("apanet", "apanet_mm", "amosnet"),
    "GeM, CosPlace and EigenPlaces": ("gem", "cosplace"),
    "Conv-AP and MixVPR": ("convap", "mixvpr"),
    "Bag of Queries": ("boq",),
    "SALAD and MegaLoc": ("salad", "megaloc"),
    "AnyLoc": ("anyloc",),
    "CricaVPR and SelaVPR": ("cricavpr", "selavpr", "selavpr_pp"),
    "Segmentation, without descriptors": ("segmentation",),
}
"""Titles of the list and the systems under each."""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane models` and its actions."""
    parser = command_parser(
        subparsers, "models", "list, choose, add, tune, verify and fetch models", EXAMPLES
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, run, help_text, models in (
        ("list", _list, "show every model and where its weights are", "*"),
        ("verify", _verify, "check digests and load the weights strictly", "*"),
        ("fetch", _fetch, "download what is missing of a model's weights", "+"),
    ):
        action = command_parser(actions, name, help_text, EXAMPLES)
        action.add_argument("model", nargs=models, help="name or path of a model card")
        action.add_argument("--weights", default="", help="folder looked into first")
        if name == "list":
            action.add_argument(
                "--at-hand", action="store_true", help="only the names of those that can be run"
            )
        action.set_defaults(run=run)
    add_tune(command_parser(actions, "tune", "find the fastest engine for here", TUNE_EXAMPLES))
    choosing = command_parser(
        actions, "choose", "try the models at hand on your own road", CHOOSE_EXAMPLES
    )
    add_choose(choosing)
    choosing.set_defaults(run=choose)
    adding = command_parser(actions, "add", "write a card for a model of a hub", ADD_EXAMPLES)
    add_add(adding)
    adding.set_defaults(run=add_model)


def _list(options: argparse.Namespace) -> None:
    """Without names, every card of the package."""
    given = [_card(model) for model in options.model]
    cards = [card for card in given if isinstance(card, ModelCard)] if given else list_cards()
    if options.at_hand:
        names = [
            card.name
            for card in cards
            if card.system != "segmentation" and not why_not(card, options.weights, bool(given))
        ]
        print("\n".join(names))
        return
    speeds = known_speeds()
    width = max((len(card.name) for card in cards), default=0)
    for title, systems in FAMILIES.items():
        if any(card.system in systems for card in cards):
            print(f"== {title}")
        for card in cards:
            if card.system in systems:
                size = f", {card.descriptor_size}-d" if card.descriptor_size else ""
                trained = "trained" if card.trained else "head not trained"
                print(f"{card.name:<{width}}  {card.system}{size}, {trained}; {card.licence}")
                print(f"  {card.description}")
                # Speeds are those of descriptors, which a segmentation has none of.
                labels = card.system == "segmentation"
                speed = "" if labels else f"; {_speed(speeds.get(card.name))}"
                print(f"  {_size(card, options.weights)}{speed}")
                for line in _figures(card):
                    print(f"  {line}")
                _print_places(card, options.weights)
    found = [card for card in given if isinstance(card, FeatureCard)]
    if not given:
        found = [load_feature_card(name) for name in feature_names()]
    if found:
        print("== Local features of metric maps, for --features")
    for features in found:
        told = f"{features.system}, matched by {features.matcher}; {features.licence}"
        print(f"{features.name:<{width}}  {told}\n  {features.description}")
        if features.files:
            print(f"  {_size(features, options.weights)}")
        _print_places(features, options.weights)


def _print_places(card: Card, weights: str) -> None:
    for place in _places(card, weights):
        print(f"  {place.what}: {place.told}")


def _speed(speed: Speed | None) -> str:
    """What it costs here."""
    if speed is None:
        return "speed not measured here"
    size = "" if speed.megabytes is None else f" and {speed.megabytes:.0f} MB of memory"
    return f"{speed.milliseconds:.0f} ms an image{size} on {speed.machine}"


def _size(card: Card, weights: str) -> str:
    """Megabytes of all its files: those that are here, and else what is known of them."""
    folders = search_folders(card, weights)
    sizes = []
    for source in card.files.values():
        path, origin = locate(source, folders), origin_of(source)
        if not origin.file.endswith(".json"):  # kilobytes that nobody tells beforehand
            sizes.append(path.stat().st_size / 1e6 if path else origin.megabytes)
    total = sum(sizes)
    if not total:
        return "weights of unknown size"
    told = f"{total:.{0 if total >= 10 else 1}f}" if total >= 1 else "under 1"
    return f"weights {told} MB" + ("" if all(sizes) else " and more")


def _figures(card: ModelCard) -> Iterator[str]:
    """What was published of it, each with the protocol it was measured by."""
    for figure in card.published:
        yield f"published R@1 {figure.recall_at_1:.1f}, {figure.benchmark}: {figure.protocol}"


class _Place(NamedTuple):
    """Where a file is, or, where it is not here, what is told of it. what: its key in the card."""

    what: str
    told: str
    here: bool


def _places(card: Card, weights: str) -> Iterator[_Place]:
    """Of every weight file, and of a Hugging Face model, whose files are told as one."""
    folders = search_folders(card, weights)
    for key, source in card.weights.items():
        path = locate(source, folders)
        yield _Place(key, _shortened(path) if path else _absent(source), path is not None)
    if isinstance(card, ModelCard) and card.semantics is not None and card.semantics.checkpoint:
        yield _checkpoint(card.semantics, folders)


def _checkpoint(semantics: Semantics, folders: list[Path]) -> _Place:
    checkpoint = str(semantics.checkpoint)
    for source in semantics.hub_files.values():
        path = locate(source, folders)
        if path is None:
            size = f" ({semantics.megabytes} MB)" if semantics.megabytes else ""
            name, revision = split_id(checkpoint)
            told = f"{name}@{revision} missing, from {HUB}/{name}{size}"
            return _Place("semantics", told, here=False)
        checkpoint = _shortened(path.parent)
    return _Place("semantics", checkpoint, here=True)


def _absent(source: WeightSource) -> str:
    origin = origin_of(source)
    size = f" ({origin.megabytes} MB)" if origin.megabytes else ""
    if not origin.url and source.page:
        return f"{origin.file} missing, by hand from {source.page}{size}"
    return f"{origin.file} missing, " + (
        f"from {origin.url}{size}" if origin.url else "no download"
    )


def _verify(options: argparse.Namespace) -> None:
    """Without names, a model whose weights were never fetched is told but is no failure."""
    cards = [_card(model) for model in options.model] or list_cards()
    failures = []
    for card in cards:
        absent = [place.told for place in _places(card, options.weights) if not place.here]
        if absent:
            print(f"{card.name}: {'; '.join(absent)}")
            failures += [card.name] if options.model else []
            continue
        try:
            for line in _verified(card, options.weights):
                print(f"{card.name}: {line}")
        except SaaneError as error:
            print(f"{card.name}: {error}")
            failures.append(card.name)
    if failures:
        raise SaaneError(
            f"{len(failures)} of {len(cards)} models failed verification ({', '.join(failures)}): "
            "see above; saane models fetch downloads what is missing."
        )


def _card(model: str) -> ModelCard | FeatureCard:
    """Of a model or of local features, which have no names in common."""
    return load_feature_card(model) if model in feature_names() else load_card(model)


def _verified(card: ModelCard | FeatureCard, weights: str) -> Iterator[str]:
    """One line per file, then one for the network, which takes all of them strictly."""
    from saane_ros.embedding.loading import load_embedder
    from saane_ros.embedding.segmenting import load_segmentation

    folders = search_folders(card, weights)
    for key, source in card.files.items():
        yield _told(key, source, check_file(source, folders))
    if isinstance(card, FeatureCard):
        yield f"loads; keypoints of maps as {load_features(card.name, weights).name}"
        return
    if card.system == "segmentation":
        segmentation = load_segmentation(str(card.path), weights, device="cpu")
        yield f"loads; {len(segmentation.class_names)} classes"
        return
    embedder = load_embedder(str(card.path), weights, device="cpu", precision="fp32")
    yield f"loads; fingerprint {embedder.fingerprint}, {embedder.descriptor_size}-d descriptor"


def _fetch(options: argparse.Namespace) -> None:
    for card in map(_card, options.model):
        for key, file in find_files(card.files, search_folders(card, options.weights)).items():
            print(f"{card.name}: {_told(key, card.files[key], file)}")


def _told(key: str, source: WeightSource, file: WeightFile) -> str:
    return f"{key} {_state(source, file)}, sha256 {file.sha256[:12]}, {_shortened(file.path)}"


def _state(source: WeightSource, file: WeightFile) -> str:
    if file.verified:
        return "verified"
    if moves(source.url):
        return "unverified and not pinned (its card names neither sha256 nor commit)"
    revision = revision_of(source.url)
    pinned = f" at commit {revision[:12]}" if revision else ""
    return f"unverified{pinned} (its card names no sha256)"


def _shortened(path: Path) -> str:
    """The path with the home folder as ~."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
