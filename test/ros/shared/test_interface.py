from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from saane_ros.errors import SaaneError
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared import interface
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


def test_the_readme_has_these_tables() -> None:
    assert main([str(ROOT / "README.md"), "--check"]) == 0


def test_a_readme_is_filled_between_its_markers_and_checked(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- topics -->\nstale text\n<!-- /topics -->\nafter\n")
    assert main([str(readme), "--check"]) == 1
    assert main([str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- topics -->\n")
    assert text.endswith("<!-- /topics -->\nafter\n")
    assert "stale text" not in text
    assert filled(text) == text
    assert main([str(readme), "--check"]) == 0


def test_a_readme_without_markers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SaaneError, match="add both"):
        filled("nothing here")
    readme = tmp_path / "README.md"
    readme.write_text("nothing here")
    assert main([str(readme)]) == 1
    assert "add both" in capsys.readouterr().err


def test_the_shipped_parameters_of_the_localizer_are_the_defaults() -> None:
    shipped = yaml.safe_load((ROOT / "config" / "localizer.yaml").read_text(encoding="utf-8"))
    expected = default_settings(Settings) | default_settings(NodeSettings)
    assert shipped == {"localizer": {"ros__parameters": expected}}


def test_rviz_shows_every_output_with_a_qos_that_fits() -> None:
    shown = yaml.safe_load((ROOT / "config" / "saane.rviz").read_text(encoding="utf-8"))
    displays = [d for d in shown["Visualization Manager"]["Displays"] if "Topic" in d]
    topics = {display["Topic"]["Value"]: display["Topic"] for display in displays}
    outputs = {
        topic.name.replace("~", "/localizer"): topic
        for key, topic in interface.OUTPUTS.items()
        if key not in ("localized", "place_match", "diagnostics")
    }
    # A replayed bag brings the true position along.
    assert set(topics) - {"/ground_truth/odometry"} == set(outputs)
    for name, topic in outputs.items():
        latched = topics[name]["Durability Policy"] == "Transient Local"
        assert latched is (topic.qos is interface.LATCHED)
        assert topics[name]["Reliability Policy"] == "Reliable"
