"""What the parsers of all sub-commands have in common."""

from __future__ import annotations

import argparse


def command_parser(
    subparsers: argparse._SubParsersAction, name: str, text: str, examples: str
) -> argparse.ArgumentParser:
    """A sub-command whose help ends with examples, line by line as they are written."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
