"""Child processes that end with the one that started them, and say why when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from saane_ros.errors import SaaneError

_TAIL_LINES = 15
_PATIENCE_S = 8.0


class Child:
    """A Python module in a process of its own, everything that it prints in a log file."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], log: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            # A session of its own: Ctrl-C reaches the parent alone, which ends its children.
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raise SaaneError where the process has ended with a failure."""
        code = self._process.poll()
        if code not in (None, 0):
            raise self.failure(f"ended with exit code {code}")

    def failure(self, what: str) -> SaaneError:
        """The error that says what went wrong with the log's last line; prints the log's tail."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        print(f"--- last lines of {self.log}", *lines[-_TAIL_LINES:], sep="\n", file=sys.stderr)
        last = lines[-1].strip() if lines else "it printed nothing"
        return SaaneError(f"The {self.name} {what}: {last} (log: {self.log}).")

    def stop(self) -> None:
        """End it as Ctrl-C would, more firmly where it does not listen; wait for its end."""
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if not self.running:
                return
            self._process.send_signal(kind)
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def _interruption_postponed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, so that no child is started unnoticed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread alone
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda which, _: came.append(which))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in came:
        signal.raise_signal(late)


class Children:
    """Starts processes and stops them all, the last first, when the block ends in any way."""

    def __init__(self, logs: Path, env: Mapping[str, str]) -> None:
        self._logs = logs
        self._env = env
        self._children: list[Child] = []

    def start(self, name: str, module: str, arguments: Sequence[str]) -> Child:
        """Run `python -m module`; its log is named after it."""
        log = self._logs / f"{name.replace(' ', '_')}.log"
        with _interruption_postponed():
            child = Child(name, module, arguments, log, self._env)
            self._children.append(child)
        return child

    def check(self) -> None:
        """Raise SaaneError where any of them has failed."""
        for child in self._children:
            child.check()

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._children):
            child.stop()
