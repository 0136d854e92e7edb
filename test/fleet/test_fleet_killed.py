"""A process that pushes or pulls ends at once, wherever it is: the next one goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fleet_maps import street

from saane_ros.errors import SaaneError
from saane_ros.fleet.pull import pull
from saane_ros.fleet.push import push
from saane_ros.fleet.store import open_store
from saane_ros.fleet.verify import verify
from saane_ros.fleet.working_set import WorkingSet
from saane_ros.route_map.store import RouteMap

pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_push_that_was_killed_goes_on(tmp_path: Path) -> None:
    """By the embedded engine: the whole process ends at once, wherever it is."""
    street(tmp_path / "street.routemap", places=60)
    code = (
        "import sys; from saane_ros.fleet import push as p, store as s\n"
        "from saane_ros.route_map.store import RouteMap\n"
        "import time; p.BATCH_POINTS = 1; send = s.FleetStore.send_pieces\n"
        "def slowly(*a):\n    print('sent', flush=True); time.sleep(0.02); return send(*a)\n"
        "s.FleetStore.send_pieces = slowly\n"
        "with s.open_store(sys.argv[1], make=True) as store:\n"
        "    p.push(store, RouteMap.open(sys.argv[2]))\n"
    )
    where = [str(tmp_path / "store"), str(tmp_path / "street.routemap")]
    for lines in (3, 30, 50):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *where], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline() == "sent\n"
        if lines == 3:
            with (
                pytest.raises(SaaneError, match="Another command is using the fleet store"),
                open_store(where[0], make=True),
            ):
                pass
        time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open_store(where[0], make=True) as store:
            assert store.manifests() == []
    with open_store(where[0], make=True) as store:
        report = push(store, RouteMap.open(where[1]))
        assert report.places < 60
        verify(store, store.manifest("street"))


def test_a_pull_that_was_killed_goes_on(tmp_path: Path) -> None:
    """The whole process ends at once, wherever it is; what is installed goes on."""
    where = [str(tmp_path / name) for name in ("store", "maps")]
    with open_store(where[0], make=True) as store:
        push(store, street(tmp_path / "street.routemap", seed=90))
        old = pull(store, store.manifest("street"), tmp_path / "maps", None)
        WorkingSet(tmp_path / "maps", "street").install(old.label)
        new = street(tmp_path / "street.routemap", places=60)
        push(store, new)
    code = (
        "import sys, time; from pathlib import Path; from saane_ros.fleet import pull as p\n"
        "from saane_ros.fleet import rows as r, store as s\n"
        "p.BATCH_POINTS = 1; append = r.RowFiles.append\n"
        "def slowly(*a):\n    append(*a); print('got', flush=True); time.sleep(0.02)\n"
        "r.RowFiles.append = slowly\n"
        "with s.open_store(sys.argv[1]) as store:\n"
        "    p.pull(store, store.manifest('street'), Path(sys.argv[2]), None)\n"
    )
    for lines in (3, 30):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *where], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline() == "got\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        working = WorkingSet(tmp_path / "maps", "street")
        assert (working.installed, working.labels) == (old.label, [old.label])
        RouteMap.open(working.link, everything=True).localizable()
    with open_store(where[0]) as store:
        report = pull(store, store.manifest("street"), tmp_path / "maps", None)
    assert 0 < report.fetched <= 27
    assert contents(report.path) == contents(new.path)
