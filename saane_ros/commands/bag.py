"""`saane bag`: what a recorded bag holds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from saane_ros.commands.parsers import command_parser

EXAMPLES = """\
examples:
  saane bag info drive/
  saane bag info night.mcap
  saane bag info old_robot.bag
  saane bag topics drive/

Bags of ROS 2 (MCAP and sqlite3, also packed with zstd) and ROS 1 .bag files are read alike, also by
`saane map build` and `saane localize`. Of a bag that was cut off what can be read is used, and the
rest is named. Images from all over the bag are looked at. `topics` looks at no message: it prints
which topic the launch files take for what, one a line.
"""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Add `saane bag info` and `saane bag topics`."""
    parser = command_parser(subparsers, "bag", "look into recorded bags", EXAMPLES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    info = command_parser(
        actions, "info", "list image and pose topics, and what can make a map", EXAMPLES
    )
    info.add_argument("bag", type=Path, help="rosbag2 folder, or a file of a bag")
    info.set_defaults(run=_info)
    topics = command_parser(actions, "topics", "which topic the launch files take", EXAMPLES)
    topics.add_argument("bag", type=Path, help="rosbag2 folder, or a file of a bag")
    topics.add_argument("--image-topic", default="", metavar="T", help="an image topic that it has")
    topics.set_defaults(run=_topics)


def _topics(options: argparse.Namespace) -> None:
    from saane_ros.data.bags import BagReader
    from saane_ros.data.bags.choice import choose_topics

    with BagReader(options.bag) as bag:
        for use, topic in choose_topics(bag, options.image_topic).items():
            print(use, topic)


def _info(options: argparse.Namespace) -> None:
    from saane_ros.data.bags import BagReader
    from saane_ros.data.bags.survey import survey_bag

    with BagReader(options.bag) as bag:
        survey = survey_bag(bag)
        print(f"{options.bag}: {survey.seconds:.1f} s")
        for title, topics in (("images", survey.images), ("poses", survey.poses)):
            for topic in topics:
                rate = topic.count / survey.seconds if survey.seconds else 0.0
                mark = "usable" if topic.usable else "not usable"
                print(f"  {title:<7} {topic.name}  ({topic.type}, {topic.count}, {rate:.1f} Hz)")
                print(f"          {mark}: {topic.text}")
        for name, (type_, count) in survey.others.items():
            print(f"  other   {name}  ({type_}, {count})")
        for doubt in survey.doubts:
            print(doubt)
        if survey.commands:
            print("A map can be made with:")
            for command in survey.commands:
                print(f"  {command}")
        else:
            print("No map can be made: the bag has no usable image topic.")
        for note in bag.notes:
            print(f"saane: {note}", file=sys.stderr)
