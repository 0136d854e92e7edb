"""`saane models choose`: the model for your own road, by trying those whose weights are at hand."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from saane_ros.commands.parsers import output_folder, threads
from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.route_map.postprocessing import CHOICES, NONE
from saane_ros.settings import Settings, parse_assignment, settings_from
from saane_ros.weights.card_files import list_cards, load_card
from saane_ros.weights.cards import ModelCard
from saane_ros.weights.store import locate, search_folders

if TYPE_CHECKING:
    from saane_ros.evaluation.drives.choosing import Trial
    from saane_ros.evaluation.drives.roads import Road

_DEFAULTS = {"device": Settings().device, "postprocessing": NONE, "out": Path("out/choose")}

CHOOSE_EXAMPLES = """\
examples:
  saane models choose --map-drive day/ --query-drive night/ --truth night/poses.csv
  saane models choose --drive street/ --every-metres 2 --model saane-street saane-resnet18
  saane models choose --map-drive day.mcap --query-drive night.mcap --image-topic /camera/image \\
      --pose-topic /odom --truth /odom --away ~/other/park

Builds a map of the one drive with every model, tries the other one on it as `saane evaluate drive`
does, and ranks by: the promise of error_rate kept; frames LOCALIZED and right, to the per cent;
recall@1, to the per cent; milliseconds an image; megabytes. One --drive is split: of two successive
images the first is a place and the second a query, and every fourth stretch is left out of the map;
that flatters every model, as light and season are the same, so that two drives tell more.
--truth: of the query drive, as of `saane evaluate drive`; by default its poses, in the map's frame.
Models whose weights are not at hand, whose head is not trained, or that fail on this road, are told
below the ranking. Every model runs on what the localizer would run it on: as saane models tune
chose, or --set engine=onnx. Cards of your own are given by path, each with a name of its own. What
is finished is kept in --out, and the same command goes on where it was interrupted.
"""


def add_choose(parser: argparse.ArgumentParser) -> None:
    """The options of `saane models choose`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--map-drive", type=Path, metavar="A", help="images or bag of the map")
    what.add_argument("--drive", type=Path, metavar="A", help="one drive, to be split")
    parser.add_argument("--query-drive", type=Path, metavar="B", help="another drive of that road")
    parser.add_argument("--truth", metavar="WHAT", help="where the query drive was, see below")
    parser.add_argument("--poses", type=Path, metavar="FILE", help="pose file of the map's images")
    parser.add_argument("--image-topic", metavar="T", help="image topic of bags")
    parser.add_argument("--pose-topic", metavar="T", help="pose topic of the map's bag")
    parser.add_argument("--odometry-topic", metavar="T", help="Odometry of the query drive's bag")
    parser.add_argument("--every-metres", type=float, metavar="M", help="a place every M metres")
    parser.add_argument(
        "--away", nargs="+", type=Path, default=[], metavar="DIR", help="images from elsewhere"
    )
    parser.add_argument("--model", nargs="+", default=[], help="cards; by default all at hand")
    parser.add_argument("--weights", default="", help="folder looked into first")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=threads, default=0, help="CPU threads; 0: PyTorch's choice"
    )
    parser.add_argument(
        "--postprocessing", choices=CHOICES, default=NONE, help="of the maps (none)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one setting of config/localizer.yaml; may be given again",
    )
    parser.add_argument(
        "--out", type=output_folder, default=_DEFAULTS["out"], help="folder of the results"
    )


def choose(options: argparse.Namespace) -> None:
    """Try every model, print the ranking, and how to drive with the best one."""
    from saane_ros.evaluation.drives.choosing import LEGEND, as_text, ranked
    from saane_ros.evaluation.drives.drive import away_frames
    from saane_ros.evaluation.drives.roads import SPLIT

    road = _road(options)
    for path in options.away:
        # What cannot be read is told now, not after the first model's map.
        next(away_frames(path, options.image_topic), None)
    cards, untried = _models(options)
    settings = settings_from(
        {
            **{name: getattr(options, name) for name in ("weights", "device", "threads")},
            **dict(map(parse_assignment, options.set)),
        }
    )
    trials = _trials(cards, settings, road, options, untried)
    if not trials:
        raise SaaneError("\n".join(["No model could be tried:", *untried]))
    best, *_ = order = ranked(trials, settings.error_rate)
    print(f"\n{best.judged} frames on the route, error_rate {settings.error_rate:g}\n")
    print(as_text(order, settings.error_rate))
    for line in untried:
        print(f"not tried: {line}")
    for note in (LEGEND, SPLIT if road.query is None else "", _not_judged(order)):
        print(f"\n{note}" if note else "", end="")
    print(f"\n\nBest here: {best.model}. Its map of the whole drive, and the localizer with it:")
    for line in _next_steps(best, options):
        print(f"  {line}")


def _road(options: argparse.Namespace) -> Road:
    from saane_ros.evaluation.drives.results import DriveSource
    from saane_ros.evaluation.drives.roads import Road

    if (options.map_drive is None) != (options.query_drive is None):
        raise SaaneError("--map-drive and --query-drive go together: name both, or one --drive.")
    query = None
    if options.query_drive is not None:
        query = DriveSource(
            options.query_drive, options.truth, options.image_topic, options.odometry_topic
        )
    elif options.truth or options.odometry_topic:
        raise SaaneError("--truth and --odometry-topic are of --query-drive: leave them out.")
    road = Road(
        options.map_drive or options.drive,
        query,
        options.poses,
        options.image_topic,
        options.pose_topic,
        options.every_metres,
    )
    road.check()
    return road


def _models(options: argparse.Namespace) -> tuple[list[ModelCard], list[str]]:
    """The cards that can be tried, and of the others the names with the reason."""
    cards, untried = [], []
    for card in _named(options.model) or list_cards():
        reason = why_not(card, options.weights, named=bool(options.model))
        if reason:
            untried.append(f"{card.name}, as {reason}")
        elif card.system != "segmentation":
            cards.append(card)
    return cards, untried


def _named(models: Sequence[str]) -> list[ModelCard]:
    """The cards of these names and paths, each once; SaaneError where two have one name."""
    cards: dict[str, ModelCard] = {}
    for card in map(load_card, models):
        other = cards.setdefault(card.name, card)
        if other.path != card.path:
            raise SaaneError(
                f"{other.path} and {card.path} both name their model {card.name}, by which results "
                "are kept: give one of them another name."
            )
    return list(cards.values())


def why_not(card: ModelCard, weights: str, named: bool = False) -> str:
    """Why a model cannot be run with what is at hand; empty where it can, or is a segmentation.

    named: the user asked for it, so that an untrained head is meant.
    """
    if card.system == "segmentation":
        return "it labels pixels and has no descriptor" if named else ""
    if not (card.trained or named):
        return "its head is not trained"
    folders = search_folders(card, weights)
    absent = [key for key, source in card.files.items() if locate(source, folders) is None]
    if absent:
        return f"its weights are not at hand ({', '.join(absent)}): saane models fetch {card.name}"
    return ""


def _trials(
    cards: Sequence[ModelCard],
    settings: Settings,
    road: Road,
    options: argparse.Namespace,
    untried: list[str],
) -> list[Trial]:
    """One model after another; those that do not load, or fail on the road, join the untried."""
    from saane_ros.embedding.loading import settings_embedder
    from saane_ros.evaluation.drives.choosing import try_model

    trials = []
    for number, card in enumerate(cards, 1):
        print(f"{card.name} ({number} of {len(cards)})", flush=True)
        own = replace(settings, model=str(card.path))
        try:
            embedder = settings_embedder(own)
        except SaaneError as error:
            untried.append(f"{card.name}: {error}")
            continue
        # What auto came to, so that a trial of before `saane models tune` is not taken for new.
        own = replace(own, engine=embedder.engine, precision=embedder.precision)
        folder, command = options.out / card.name, _command(options)
        try:
            trials.append(
                try_model(
                    embedder, own, road, options.away, command, folder, options.postprocessing
                )
            )
        except SaaneError as error:
            # A full disk is no fault of the model, and no other one could be tried on it either.
            if isinstance(error.__cause__, OSError):
                raise
            untried.append(f"{card.name}: {error}")
    return trials


def _not_judged(trials: Sequence[Trial]) -> str:
    if any(trial.off for trial in trials):
        return ""
    return (
        "Nothing was off the route, so that the promise was tried on the route alone: name "
        "images from elsewhere by --away."
    )


def _next_steps(best: Trial, options: argparse.Namespace) -> list[str]:
    """The commands to build the winner's map of the whole drive and to localize with it."""
    drive = options.map_drive or options.drive
    target = options.out / f"{best.model}.routemap"
    is_bag = bool(options.image_topic)
    build = ["saane", "map", "build", "--bag" if is_bag else "--images", str(drive)]
    for name in ("poses", "image_topic", "pose_topic", "every_metres", "weights"):
        value = getattr(options, name)
        if value:
            build += [f"--{name.replace('_', '-')}", str(value)]
    if options.postprocessing != NONE:
        build += ["--postprocessing", options.postprocessing]
    assigned = dict(map(parse_assignment, options.set))
    for name in ("engine", "precision"):
        build += [f"--{name}", str(assigned[name])] if name in assigned else []
    model = _spoken(best.model, options.model)
    build += ["--model", model, "--out", str(target)]
    launch = ["ros2", "launch", "saane_ros", "localize.launch.py", f"map:={target.resolve()}"]
    # The map tells its model's name, by which the node finds the package's cards alone.
    launch += [f"model:={load_card(model).path}"] if model != best.model else []
    launch += [f"weights:={Path(options.weights).resolve()}"] if options.weights else []
    launch += [f"image_topic:={options.image_topic}"] if is_bag else []
    launch += [f"device:={options.device}"] if options.device != Settings().device else []
    parameters = _parameters(options)
    launch += [f"params_file:={parameters.resolve()}"] if parameters else []
    return [shlex.join(build), shlex.join(launch)]


def _parameters(options: argparse.Namespace) -> Path | None:
    """A parameter file of the settings that the models were tried with, None for the defaults."""
    values = dict(map(parse_assignment, options.set))
    if options.threads:
        values["threads"] = options.threads
    if not values:
        return None
    path = options.out / "localizer.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as part:
        part.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}), encoding="utf-8")
    return Path(path)


def _spoken(name: str, given: Sequence[str]) -> str:
    """What the user called the model: its name, or the path of a card."""
    return next((one for one in given if load_card(one).name == name), name)


def _command(options: argparse.Namespace) -> str:
    """The command that gives these results again."""
    parts = ["saane", "models", "choose"]
    names = "map_drive drive query_drive truth poses image_topic pose_topic odometry_topic"
    names += " every_metres away weights model device threads postprocessing out"
    for name in names.split():
        value = getattr(options, name)
        if value and value != _DEFAULTS.get(name):
            values = map(str, value) if type(value) is list else [str(value)]
            parts += [f"--{name.replace('_', '-')}", *values]
    for assignment in options.set:
        parts += ["--set", assignment]
    return shlex.join(parts)
