"""Where a dataset lies and what to say when it does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saane_ros.data.datasets.dataset import require_files, require_folder


@dataclass(frozen=True)
class Where:
    """name: of the dataset.  root: its folder.  source: one sentence, what to download and how."""

    name: str
    root: Path
    source: str

    def folder(self, *parts: str) -> Path:
        """A folder below the root; SaaneError with the source where it is absent."""
        return require_folder(self.root.joinpath(*parts), self.name, self.source)

    def files(self, paths: list[Path]) -> list[Path]:
        """The files themselves; SaaneError with the source where some are missing."""
        require_files(paths, self.name, self.source)
        return paths

    def file(self, *parts: str) -> Path:
        """A file below the root, checked alike."""
        return self.files([self.root.joinpath(*parts)])[0]
