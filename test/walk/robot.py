"""A robot as its user meets it: `ros2` on one Python, this package on another, sourced together."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "test" / "ros")]  # where pytest looks too
PATIENCE_S = 90.0
LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
file, words = sys.argv[1], sys.argv[2:]
service = LaunchService(argv=words)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    AnyLaunchDescriptionSource(file), launch_arguments=[w.split(":=", 1) for w in words])]))
sys.exit(service.run())
"""
"""What `ros2 launch` does, for a Python that has launch and launch_ros but no ros2."""


class SkippedError(Exception):
    """A step that this machine cannot take; its words say why."""


class Launched:
    """A running launch file.  text: what it has written so far."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
            # A shell without job control starts what is in the background with SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition; AssertionError with all output where the launch ends before."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            ended = self.process.poll() is not None or time.monotonic() > deadline
            if ended and not condition():
                raise AssertionError(f"waited in vain for {what}:\n{self.text}")
            time.sleep(0.02)

    def says(self, words: str) -> None:
        self.until(lambda: words in self.text, repr(words))

    def pids(self, executable: str) -> list[int]:
        """Of the processes of this executable that were started so far."""
        pattern = rf"\[{executable}-\d+\]: process started with pid \[(\d+)\]"
        return [int(found) for found in re.findall(pattern, self.text)]

    def ended(self) -> int:
        """The exit status, once all has ended; AssertionError where a process is left over."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert not self._left_over(), f"processes were left over:\n{self.text}"
        return status

    def stop(self) -> int:
        """Ctrl-C, once."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def kill(self) -> None:
        if self._left_over():
            os.killpg(self.process.pid, signal.SIGKILL)

    def _left_over(self) -> bool:
        self.process.poll()
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


class Robot:
    """environment: what a shell has after sourcing.  folder: where everything is written.

    drive: along the street of the later steps, once it was drawn.
    """

    def __init__(self, folder: Path, ros2: str) -> None:
        self.folder = folder
        self.drive: Any = None
        self.environment = {
            **os.environ,
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(folder / "log"),
            "OMP_NUM_THREADS": "1",
        }
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # without this checkout
        self.environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if Path(p) != ROOT)
        self.has_ros2 = shutil.which(ros2) is not None
        if self.has_ros2:
            home = Path(str(shutil.which(ros2))).absolute().parent
            self._first("PATH", home)
            if "AMENT_PREFIX_PATH" not in os.environ:
                self._first("AMENT_PREFIX_PATH", home.parent)

    def build(self) -> str:
        """colcon where the package's Python has it, else what colcon calls; says which."""
        if importlib.util.find_spec("colcon_core"):
            options = f"--base-paths {ROOT} --build-base build --install-base install"
            self._run([sys.executable, "-m", "colcon", "build", *options.split()])
            setup = self.folder / "install" / "local_setup.bash"
            told = self._run(["bash", "-c", f". {setup} && env -0"])
            pairs = (pair.partition("=") for pair in told.split("\0"))
            self.environment |= {name: value for name, _, value in pairs if value}
            return "colcon"
        prefix, scratch = self.folder / "install", self.folder / "build"
        scratch.mkdir()
        options = (
            f"-q egg_info --egg-base {scratch} build --build-base {scratch / 'base'} "
            f"install --prefix {prefix} --record {scratch / 'files'}"
        )
        self._run(
            [sys.executable, "setup.py", *options.split(), "--single-version-externally-managed"],
            cwd=ROOT,
        )
        (packages,) = prefix.glob("lib/python*/site-packages")
        self._first("PYTHONPATH", packages)
        self._first("AMENT_PREFIX_PATH", prefix)
        self._first("PATH", prefix / "share" / "saane_ros" / "bin")
        return "what colcon calls, as there is no colcon in this Python"

    def saane(self, *words: str) -> str:
        """The command, where it is on PATH, else as `ros2 run` finds it."""
        prefix = Path(self.environment["AMENT_PREFIX_PATH"].split(os.pathsep)[0])
        command = shutil.which("saane", path=self.environment["PATH"])
        return self._run([command or str(prefix / "lib" / "saane_ros" / "saane"), *words])

    def ros2(self, *words: str, fails: bool = False) -> str:
        """What `ros2` says; AssertionError where it fails, or with `fails` where it does not."""
        if not self.has_ros2:
            raise SkippedError("there is no ros2 command")
        return self._run(["ros2", *words], fails=fails)

    @contextmanager
    def launch(self, file: str, *words: str) -> Iterator[Launched]:
        """A launch file of the package; nothing of it outlives the block."""
        command = ["ros2", "launch", "saane_ros", file, *words]
        if not self.has_ros2:
            if importlib.util.find_spec("launch_ros") is None:
                raise SkippedError("there is neither ros2 nor launch_ros")
            prefix = self.environment["AMENT_PREFIX_PATH"].split(os.pathsep)[0]
            path = f"{prefix}/share/saane_ros/launch/{file}"
            command = [sys.executable, "-c", LAUNCHER, path, *words]
        launched = Launched(command, self.environment, self.folder)
        try:
            yield launched
        finally:
            launched.kill()

    def close(self) -> None:
        if self.has_ros2:
            subprocess.run(["ros2", "daemon", "stop"], env=self.environment, capture_output=True)

    def _first(self, variable: str, folder: Path) -> None:
        others = self.environment.get(variable)
        self.environment[variable] = os.pathsep.join(filter(None, [str(folder), others]))

    def _run(self, command: list[str], fails: bool = False, cwd: Path | None = None) -> str:
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=10 * PATIENCE_S,
        )
        told = done.stdout + done.stderr
        assert bool(done.returncode) is fails, f"{' '.join(command)}:\n{told}"
        return told if fails else done.stdout
