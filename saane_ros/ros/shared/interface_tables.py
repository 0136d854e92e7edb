"""The tables of topics, keys and parameters, written from what the nodes use.

`python -m saane_ros.ros.shared.interface_tables docs/reference.md` fills the text between
`<!-- topics -->` and `<!-- /topics -->`; with `--check` it only says whether that is up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared import interface
from saane_ros.ros.shared.interface import Topic
from saane_ros.ros.shared.qos import IMAGE, LATCHED, RELIABLE
from saane_ros.settings import NodeSettings, Settings, settings_table

_BLOCK = re.compile(r"(<!-- topics -->\n).*?(<!-- /topics -->)", re.DOTALL)


def tables() -> str:
    """Markdown of both nodes: topics, services, keys, parameters."""
    parts = [
        "### `localizer`",
        _topics("in", interface.INPUTS) + _rows("out", interface.OUTPUTS),
        _services(interface.SERVICES),
        "Keys of `~/place_match`:",
        _keys(interface.MATCH_KEYS),
        "Keys of `/diagnostics`:",
        _keys(interface.DIAGNOSTIC_KEYS),
        "Parameters (`config/localizer.yaml`); those marked yes change at run time, the others "
        "while the node is unconfigured:",
        settings_table(Settings),
        "Parameters of both nodes, read once:",
        settings_table(NodeSettings),
        "### `map_builder`",
        _topics("in", interface.MAP_BUILDER_INPUTS) + _rows("out", interface.MAP_BUILDER_OUTPUTS),
        _services(interface.MAP_BUILDER_SERVICES),
        "Parameters (`config/map_builder.yaml`):",
        settings_table(MapBuilderSettings),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def filled(text: str) -> str:
    """A page's text with the tables between its markers; SaaneError where it has none."""
    if not _BLOCK.search(text):
        raise SaaneError("The file has no `<!-- topics -->` and `<!-- /topics -->`: add both.")
    return _BLOCK.sub(lambda block: f"{block[1]}\n{tables()}\n{block[2]}", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _topics(direction: str, topics: Mapping[str, Topic]) -> str:
    return _table(("topic", "", "type", "QoS", "when"), []) + _rows(direction, topics)


def _rows(direction: str, topics: Mapping[str, Topic]) -> str:
    return "".join(
        _row((f"`{t.name}`", direction, t.type_name, _qos(t), t.when)) + "\n"
        for t in topics.values()
    )


def _qos(topic: Topic) -> str:
    if topic.qos is IMAGE:
        return "follows the publishers"
    kind = "reliable" if topic.qos.reliability == RELIABLE else "best effort"
    return (
        f"{kind}, latched"
        if topic.qos.durability == LATCHED.durability
        else f"{kind}, {topic.qos.depth}"
    )


def _services(services: Mapping[str, Topic]) -> str:
    rows = [(f"`{s.name}`", s.type_name, s.when) for s in services.values()]
    return _table(("service", "type", "what it does"), rows)


def _keys(keys: Mapping[str, str]) -> str:
    return _table(("key", "value"), [(f"`{key}`", meaning) for key, meaning in keys.items()])


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where the file is (now) up to date, 1 where it is not or has no markers."""
    parser = argparse.ArgumentParser(description="Write the tables of topics into a page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    options = parser.parse_args(arguments)
    before = options.page.read_text(encoding="utf-8")
    try:
        after = filled(before)
    except SaaneError as error:
        print(f"saane: {options.page}: {error}", file=sys.stderr)
        return 1
    if after != before and not options.check:
        with replacing_file(options.page) as part:
            part.write_text(after, encoding="utf-8")
    return int(options.check and after != before)


if __name__ == "__main__":
    sys.exit(main())
