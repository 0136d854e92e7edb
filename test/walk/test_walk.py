"""The walk through the documentation, where there is a `ros2` that can launch."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def test_the_documentation_can_be_followed() -> None:
    pytest.importorskip("rclpy")
    ros2 = shutil.which("ros2")
    if ros2 is None or subprocess.run([ros2, "launch", "--help"], capture_output=True).returncode:
        pytest.skip("there is no `ros2 launch` on PATH")
    from walk import main

    assert main(["--ros2", ros2]) == 0
