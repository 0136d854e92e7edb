"""`saane demo`: the whole way from recordings to place matches over DDS, with a report."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from types import FrameType

from saane_ros.commands.parsers import number, output_folder
from saane_ros.settings import STREET_MODEL, TOWN_MODEL

EXAMPLES = """\
examples:
  saane demo
  saane demo --data my_images/            (my_images/ref/ and my_images/query/)
  saane demo --data drive/                (images with poses.txt or poses.csv, divided in two)
  saane demo --data my_images/ --model saane-resnet50-pspnet --rate 2

Without --data the synthetic town is driven by day and by night. What is correct in a folder says
its ground_truth.csv (query_index,correct_reference_indices), else poses in both folders, else
equal file names. Finished recordings and maps are used again by the next run with the same --out.
"""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="record, map, localize live and report",
        description="Build a route map from one drive, replay another to the live localizer node "
        "in processes of their own, and report how well it did.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="your own images instead")
    parser.add_argument("--model", help=f"model card ({TOWN_MODEL}; with --data {STREET_MODEL})")
    parser.add_argument(
        "--out",
        type=output_folder,
        default=Path("out/demo"),
        metavar="DIR",
        help="results (%(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=number(0, 1000, float),
        default=0.0,
        metavar="HZ",
        help="of the camera (town 10, images 5)",
    )
    parser.add_argument(
        "--length",
        type=number(0, 100_000, float),
        default=400.0,
        metavar="M",
        help="of the town's route (%(default)g)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from saane_ros.demo.run import DemoOptions, run_demo

    signal.signal(signal.SIGTERM, _interrupt)  # ends the children as Ctrl-C does
    model = options.model or (TOWN_MODEL if options.data is None else STREET_MODEL)
    run_demo(DemoOptions(options.data, model, options.out, options.rate, options.length))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
