"""Which of the demo's products are already there, made from the same ingredients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from saane_ros.files import replacing_file


class Finished:
    """Remembers, in a folder, the key of the ingredients that each product was made from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, product: Path, key: str) -> bool:
        """Whether the product exists and was made from ingredients of this key."""
        note = self._note(product)
        return product.exists() and note.is_file() and note.read_text().strip() == key

    def add(self, product: Path, key: str) -> None:
        """Take down that the product is complete."""
        with replacing_file(self._note(product)) as temporary:
            temporary.write_text(key + "\n")

    def _note(self, product: Path) -> Path:
        return self._folder / f"{product.name}.made_from"


def key_of(ingredients: Mapping[str, object]) -> str:
    """A short key of plain values, the same for the same values."""
    text = json.dumps(ingredients, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_of_files(files: list[Path]) -> str:
    """A key of files by name, size and time, which reads none of them."""
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return key_of({"files": states})


def key_of_code(folder: Path) -> str:
    """A key of the Python files in a folder, for products of that code."""
    return key_of({file.name: file.read_text() for file in sorted(folder.glob("*.py"))})
