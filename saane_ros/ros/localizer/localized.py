"""`~/localized`: the one boolean that others may gate on, False whenever there is a doubt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class LocalizedFlag:
    """Publishes every change at once and in order, whichever thread it comes from.

    Frames are worked on in one thread, and what makes an answer void (a reset, images that stop)
    happens in another: a frame claims the flag before it is worked on, and what it says counts
    only if nothing was withdrawn meanwhile.
    """

    def __init__(self, publish: Callable[[bool], None]) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._value = False
        self._withdrawn = 0
        self._said_at = 0.0

    @property
    def value(self) -> bool:
        """What was said last."""
        return self._value

    def announce(self) -> None:
        """Say False even if nothing else was said before, for those who come later."""
        with self._lock:
            self._value = False
            self._publish(False)

    def claim(self) -> int:
        """What a frame hands to `say` once it is matched."""
        return self._withdrawn

    def say(self, localized: bool, claim: int) -> None:
        """Tell what the frame of this claim was found to be."""
        with self._lock:
            self._set(localized and claim == self._withdrawn)
            self._said_at = time.monotonic()

    def withdraw(self) -> None:
        """Say False, and let no frame that is in work say otherwise."""
        with self._lock:
            self._withdrawn += 1
            self._set(False)

    def expire(self, after_s: float) -> None:
        """Say False where the last frame was matched longer ago."""
        with self._lock:
            if time.monotonic() - self._said_at > after_s:
                self._set(False)

    def _set(self, value: bool) -> None:
        if value != self._value:
            self._value = value
            self._publish(value)
