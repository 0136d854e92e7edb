"""Real child processes, their logs and their ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from saane_ros.demo.domain import _first_ports, free_domain_id
from saane_ros.demo.processes import Children
from saane_ros.errors import SaaneError


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], str]:
    """Writes a Python module that a child can run; its name comes back."""

    def write(text: str) -> str:
        (tmp_path / "child_module.py").write_text(text)
        return "child_module"

    return write


def wait_for(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_fails_is_an_error_with_the_last_line_of_its_log(
    tmp_path: Path, module: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    name = module("print('loading'); raise SystemExit('the map is missing')")
    with Children(tmp_path / "logs", {"PYTHONPATH": str(tmp_path)}) as children:
        child = children.start("map maker", name, [])
        wait_for(lambda: not child.running)
        with pytest.raises(
            SaaneError, match="map maker ended with exit code 1: the map is missing"
        ):
            children.check()
    assert (tmp_path / "logs" / "map_maker.log").read_text().splitlines()[0] == "loading"
    assert "loading" in capfd.readouterr().err


def test_a_child_that_ends_well_is_no_error(tmp_path: Path, module: Callable[[str], str]) -> None:
    name = module("import os, sys; print(sys.argv[1:], os.environ['COLOUR'])")
    env = {"PYTHONPATH": str(tmp_path), "COLOUR": "green"}
    with Children(tmp_path, env) as children:
        child = children.start("printer", name, ["a", "b c"])
        wait_for(lambda: not child.running)
        children.check()
    assert child.log.read_text().strip() == "['a', 'b c'] green"


@pytest.mark.parametrize("stubborn", [False, True])
def test_children_end_with_the_block_even_when_they_ignore_ctrl_c(
    tmp_path: Path, module: Callable[[str], str], stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saane_ros.demo.processes._PATIENCE_S", 0.3)
    ignore = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n"
    name = module((ignore if stubborn else "") + "import time\nprint('up')\ntime.sleep(60)")
    pids = []

    def interrupted() -> None:
        with Children(tmp_path, {"PYTHONPATH": str(tmp_path)}) as children:
            child = children.start("sleeper", name, [])
            pids.append(child.pid)
            wait_for(lambda: "up" in child.log.read_text())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not alive(pids[0])


def test_ctrl_c_in_the_terminal_reaches_the_parent_alone(
    tmp_path: Path, module: Callable[[str], str]
) -> None:
    """The whole foreground group gets SIGINT; the child must be ended by its parent."""
    name = module("import time\nprint('up')\ntime.sleep(60)")
    parent = (
        "import sys, time\nfrom pathlib import Path\n"
        "from saane_ros.demo.processes import Children\n"
        f"folder = {str(tmp_path)!r}\n"
        "with Children(Path(folder), {'PYTHONPATH': folder}) as children:\n"
        f"    child = children.start('sleeper', {name!r}, [])\n"
        "    print(child.pid, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        child_pid = int(process.stdout.readline())
        wait_for(lambda: "up" in (tmp_path / "sleeper.log").read_text())
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)
    assert not alive(child_pid)


def test_an_interruption_during_a_start_waits_for_its_end(
    tmp_path: Path, module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module("import time\ntime.sleep(60)")
    popen, pids = subprocess.Popen, []

    def interrupted_popen(*arguments: object, **options: object) -> object:
        process = popen(*arguments, **options)  # type: ignore[call-overload]
        pids.append(process.pid)
        signal.raise_signal(signal.SIGINT)
        return process

    def interrupted() -> None:
        with Children(tmp_path, {"PYTHONPATH": str(tmp_path)}) as children:
            monkeypatch.setattr("saane_ros.demo.processes.subprocess.Popen", interrupted_popen)
            children.start("sleeper", name, [])

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not alive(pids[0])


def test_a_domain_in_use_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = free_domain_id()
    assert 1 <= domain <= 101
    monkeypatch.setattr("saane_ros.demo.domain._DOMAINS", range(domain, domain + 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", _first_ports(domain)[0]))
        with pytest.raises(SaaneError, match="domain ids are in use"):
            free_domain_id()
    assert free_domain_id() == domain
