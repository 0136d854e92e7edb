from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from saane_ros.errors import SaaneError
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared import interface
from saane_ros.ros.shared.interface import Topic
from saane_ros.ros.shared.interface_tables import filled, main, tables
from saane_ros.settings import NodeSettings, Settings, default_settings

ROOT = Path(__file__).resolve().parents[3]


def test_the_tables_hold_every_topic_key_and_parameter_once() -> None:
    text = tables()
    localizer, builder = text.split("### `map_builder`")
    for way, topics in (("in", interface.INPUTS), ("out", interface.OUTPUTS)):
        for topic in topics.values():
            assert localizer.count(f"| `{topic.name}` | {way} | {topic.type_name} |") == 1
    for key in (*interface.MATCH_KEYS, *interface.DIAGNOSTIC_KEYS):
        assert f"| `{key}` |" in localizer
    for name in (*default_settings(Settings), *interface.MATCH_KEYS, *interface.SERVICES):
        assert name in localizer
    for name in default_settings(NodeSettings):
        assert text.count(f"| `{name}` |") == 1
    for name in default_settings(MapBuilderSettings):
        assert f"| `{name}` |" in builder
    columns = [line.count(" | ") for line in localizer.splitlines() if line.startswith("| `~/")]
    assert set(columns) <= {2, 4}


def test_the_reference_page_has_these_tables() -> None:
    assert main([str(ROOT / "docs" / "reference.md"), "--check"]) == 0


def test_a_page_is_filled_between_its_markers_and_checked(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- topics -->\nstale text\n<!-- /topics -->\nafter\n")
    assert main([str(page), "--check"]) == 1
    assert main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- topics -->\n")
    assert text.endswith("<!-- /topics -->\nafter\n")
    assert "stale text" not in text
    assert filled(text) == text
    assert main([str(page), "--check"]) == 0


def test_a_page_without_markers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SaaneError, match="add both"):
        filled("nothing here")
    page = tmp_path / "page.md"
    page.write_text("nothing here")
    assert main([str(page)]) == 1
    assert "add both" in capsys.readouterr().err


def test_the_shipped_parameters_of_the_localizer_are_the_defaults() -> None:
    shipped = yaml.safe_load((ROOT / "config" / "localizer.yaml").read_text(encoding="utf-8"))
    expected = default_settings(Settings) | default_settings(NodeSettings)
    assert shipped == {"/**": {"ros__parameters": expected}}


def shown_outputs() -> dict[str, Topic]:
    hidden = ("localized", "place_match", "diagnostics", "tf")
    return {
        topic.name.replace("~", "localizer"): topic
        for key, topic in interface.OUTPUTS.items()
        if key not in hidden
    }


def test_rviz_shows_every_output_with_a_qos_that_fits_in_any_namespace() -> None:
    shown = yaml.safe_load((ROOT / "config" / "saane.rviz").read_text(encoding="utf-8"))
    displays = [d for d in shown["Visualization Manager"]["Displays"] if "Topic" in d]
    topics = {display["Topic"]["Value"]: display["Topic"] for display in displays}
    outputs = shown_outputs()
    # A replayed bag brings the true position along.
    assert set(topics) - {"/ground_truth/odometry"} == set(outputs)
    for name, topic in outputs.items():
        latched = topics[name]["Durability Policy"] == "Transient Local"
        assert latched is (topic.qos is interface.LATCHED)
        assert topics[name]["Reliability Policy"] == "Reliable"


def test_rviz_sets_the_initial_pose_and_shows_frames() -> None:
    shown = yaml.safe_load((ROOT / "config" / "saane.rviz").read_text(encoding="utf-8"))
    manager = shown["Visualization Manager"]
    tools = {tool["Class"]: tool for tool in manager["Tools"]}
    assert tools["rviz_default_plugins/SetInitialPose"]["Topic"]["Value"] == "initialpose"
    assert "rviz_default_plugins/TF" in {display["Class"] for display in manager["Displays"]}


def test_the_foxglove_layout_shows_topics_that_exist_in_panels_that_exist() -> None:
    text = (ROOT / "config" / "foxglove.json").read_text(encoding="utf-8")
    layout = json.loads(text)
    known = {topic.name.replace("~", "/localizer") for topic in interface.OUTPUTS.values()}
    shown = set(re.findall(r'"(/(?:localizer|diagnostics)[a-z_/]*)', text))
    assert shown <= known
    assert {"/localizer/overview", "/localizer/route", "/localizer/pose"} <= shown

    def leaves(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        assert isinstance(node, dict)
        return leaves(node["first"]) + leaves(node["second"])

    assert sorted(leaves(layout["layout"])) == sorted(layout["configById"])
