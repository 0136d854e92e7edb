"""What a demo is about: one drive that becomes the map, and one that is localized in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saane_ros.types import Frame, Place

CAMERA_TOPIC = "/camera/image"
"""The image topic of every demo."""

Truth = Callable[[Sequence[Place], Sequence[Frame]], list[NDArray[np.int64]]]
"""From the places of the map and the query frames (their images may be empty) to the rows of the
correct places of every query."""


@dataclass(frozen=True)
class Recording:
    """The frames of one drive.

    key: changes with the content.  frames: reads them anew at every call.
    by_hand: how `saane map build` and `saane localize` are told of them.  player: how it is played.
    """

    path: Path
    key: str
    count: int
    frames: Callable[[], Iterator[Frame]]
    by_hand: str
    player: dict[str, object]

    def camera(self, listeners: int) -> dict[str, object]:
        """Parameters of the image player, which begins once so many nodes listen."""
        return {"source": str(self.path), **self.player, "wait_for_subscribers": listeners}


@dataclass(frozen=True)
class Scene:
    """A route and a query drive along it. tolerance: in words, what counts as correct."""

    name: str
    title: str
    lead: str
    tolerance: str
    route: Recording
    query: Recording
    truth: Truth
