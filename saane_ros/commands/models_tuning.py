"""`saane models tune`: the fastest engine of a model on this machine, measured and remembered."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from saane_ros.commands.parsers import number, threads
from saane_ros.data.images.files import read_image
from saane_ros.data.images.folders import image_files
from saane_ros.errors import SaaneError
from saane_ros.progress import progress
from saane_ros.types import Rgb

if TYPE_CHECKING:
    from saane_ros.embedding.choice import Choice
    from saane_ros.embedding.graphs import Exportable
    from saane_ros.embedding.network import NetworkEmbedder
    from saane_ros.embedding.tuning import Trial

EXAMPLES = """\
examples:
  saane models tune saane-resnet18
  saane models tune saane-resnet18 --threads 2
  saane models tune saane-resnet18 --images drive/ --int8

Every engine and precision embeds the same images: a drive through a synthetic town by night, to be
found in one by day, or every other image of your folder, in the order of names. The fastest that
finds as many places (half a point may be lost) is kept in the cache folder and taken where the
setting `engine` is auto; weights and descriptors stay what they are, so maps go on serving. --int8
rounds the network to 8 bits by your images and is refused where it loses more.

ONNX Runtime and OpenVINO are optional: pip install "saane_ros[onnx,openvino]".
"""
CALIBRATION = 100
"""Images that int8 learns its ranges from."""


def add_tune(parser: argparse.ArgumentParser) -> None:
    """Add the options of `saane models tune`."""
    parser.add_argument("model", help="name or path of a model card")
    parser.add_argument("--weights", default="", help="folder looked into first")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=threads, default=0, help="CPU threads; 0: the library's choice"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="a drive of yours, in order")
    parser.add_argument(
        "--frames",
        type=number(4, 10_000, int),
        default=200,
        metavar="N",
        help="queries to be found (%(default)s)",
    )
    parser.add_argument("--int8", action="store_true", help="try 8 bits too, by --images")
    parser.set_defaults(run=tune)


def tune(options: argparse.Namespace) -> None:
    """Measure, print a line an engine, and keep the choice."""
    from saane_ros.embedding import tuning
    from saane_ros.embedding.choice import keep_choice, machine
    from saane_ros.embedding.graphs import INT8, forget, quantise
    from saane_ros.embedding.loading import load_exportable, pick_device

    if options.int8 and options.images is None:
        raise SaaneError(
            "--int8 learns from images of your camera: give their folder with --images."
        )
    device = pick_device(options.device).type
    choices = list(tuning.CANDIDATES[device])
    model = load_exportable(options.model, options.weights)
    images = (
        tuning.town_images(options.frames)
        if options.images is None
        else tuning.drive_images(_read(options.images, 2 * options.frames, model))
    )
    forget(model, "fp32")
    if options.int8:
        quantise(model, images.references[:CALIBRATION])
        choices += tuning.QUANTISED
    print(f"{options.model} on {machine(device)}")
    print(f"{'':20} ms an image  speed     MB  cosine: least, mean     R@1")
    measured: list[Trial] = []
    for trial in tuning.trials(choices, lambda choice: _load(options, choice), images):
        measured.append(trial)
        print(_line(trial, measured[0]), flush=True)
    best = tuning.fastest(measured)
    if options.int8 and not any(
        trial.choice.precision == INT8 and tuning.equal(trial, measured[0]) for trial in measured
    ):
        forget(model, INT8)
        print("int8 is refused, as it finds fewer places.")
    path = keep_choice(model.fingerprint, device, best.choice)
    print(f"auto is now {best.choice.engine} in {best.choice.precision}, kept in {path}")


def _load(options: argparse.Namespace, choice: Choice) -> NetworkEmbedder:
    from saane_ros.embedding.loading import load_embedder

    return load_embedder(
        options.model,
        options.weights,
        options.device,
        choice.precision,
        options.threads,
        engine=choice.engine,
        strict=True,
    )


def _read(folder: Path, most: int, model: Exportable) -> list[Rgb]:
    """The first images of a folder, at the size of the network, so that all fit into memory."""
    paths = image_files(folder)[:most]
    return [
        model.preprocessing.resized([read_image(path)])[0]
        for path in progress(paths, "reading", len(paths), "image")
    ]


def _line(trial: Trial, reference: Trial) -> str:
    name = f"{trial.choice.engine} {trial.choice.precision}"
    if trial.fault:
        return f"{name:20} {trial.fault}"
    least, mean = trial.cosine
    return (
        f"{name:20} {trial.ms:11.1f} {reference.ms / trial.ms:6.2f} {trial.megabytes:6.1f}  "
        f"{least:9.5f} {mean:9.5f}  {100 * trial.recall:8.1f}"
    )
