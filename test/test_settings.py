"""Settings: limits, names, files, and the documents that are made from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from saane_ros.errors import SaaneError
from saane_ros.settings import (
    Settings,
    Value,
    default_settings,
    described_settings,
    parse_assignment,
    read_settings,
    settings_from,
    settings_table,
    settings_yaml,
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("candidates", 0, "give a value from 1 to 100"),
        ("candidates", 101, "give a value from 1 to 100"),
        ("candidates", 2.0, "a float: give a int"),
        ("candidates", True, "a bool: give a int"),
        ("max_deviation", float("nan"), "give a value from 0.1 to 1000"),
        ("error_rate", 0.0, "give a value from 0.0001 to 0.5"),
        ("sequence_filter", 1, "a int: give a bool"),
        ("precision", "fp8", "choose one of auto, fp32, fp16, bf16"),
        ("model", 3, "a int: give a str"),
    ],
)
def test_values_outside_the_limits_are_told(name: str, value: Value, message: str) -> None:
    with pytest.raises(SaaneError, match=f"Setting {name} is .*{message}"):
        settings_from({name: value})


def test_limits_belong_to_the_range_and_integers_are_numbers() -> None:
    for name, setting in described_settings().items():
        default = default_settings()[name]
        assert setting.description.endswith(".")
        if setting.low is None or setting.high is None:
            continue
        kind = type(default)
        for limit in (setting.low, setting.high):
            assert getattr(settings_from({name: kind(limit)}), name) == limit
    assert isinstance(Settings(max_deviation=2).max_deviation, float)


def test_paths_are_without_their_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    settings = settings_from({"map": "~/street.routemap", "weights": "~", "model": "a~b"})
    assert (settings.map, settings.weights) == ("/home/me/street.routemap", "/home/me")
    assert settings.model == "a~b"
    assert settings_from({"map": "./~/street"}).map == "./~/street"


def test_parameters_of_nodes_alone_are_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        "localizer:\n  ros__parameters: {autostart: false, exit_on_failure: true, candidates: 3}\n"
    )
    assert read_settings(path) == {"candidates": 3}


def test_unknown_names_are_told_with_the_known_ones() -> None:
    with pytest.raises(SaaneError, match="Unknown setting candidate, k: the settings are model, "):
        settings_from({"candidate": 5, "k": 5})
    with pytest.raises(SaaneError, match="Unknown setting candidate"):
        parse_assignment("candidate=5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("candidates=7", ("candidates", 7)),
        ("error_rate=0.05", ("error_rate", 0.05)),
        ("sequence_filter=False", ("sequence_filter", False)),
        ("map=a=b.routemap", ("map", "a=b.routemap")),
        ("weights=", ("weights", "")),
    ],
)
def test_assignments(text: str, expected: tuple[str, Value]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("candidates", "write name=value"),
        ("candidates=many", "'many': give a int"),
        ("sequence_filter=1", "'1': give a bool"),
        ("error_rate=", "'': give a float"),
    ],
)
def test_wrong_assignments_are_told(text: str, message: str) -> None:
    with pytest.raises(SaaneError, match=message):
        parse_assignment(text)


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_parameter_files_of_ros_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    candidates: 3\n    model: a\n"
        "other_node:\n  ros__parameters: {model: b}\n"
        "/localizer:\n  ros__parameters:\n    candidates: 4\n    qos_overrides: {}\n",
    )
    assert read_settings(path) == {"candidates": 4, "model": "a"}
    assert read_settings(path, "other_node") == {"candidates": 3, "model": "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no `/\\*\\*: ros__parameters:`"),
        ("map_builder: {ros__parameters: {}}", "holds no `/\\*\\*: ros__parameters:`"),
        ("localizer: {candidates: 3}", "has no `ros__parameters:`"),
        ("localizer: [", "is not YAML"),
        ("localizer: !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_wrong_parameter_files_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SaaneError, match=message):
        read_settings(write(tmp_path, text))


def test_an_absent_parameter_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SaaneError, match="cannot be read"):
        read_settings(tmp_path / "absent.yaml")


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(TEXT, st.integers(1, 100), st.floats(0.1, 1000), st.booleans())
def test_settings_survive_a_parameter_file(
    tmp_path_factory: pytest.TempPathFactory, model: str, k: int, metres: float, use: bool
) -> None:
    values = {"model": model, "candidates": k, "max_deviation": metres, "sequence_filter": use}
    document = {"localizer": {"ros__parameters": values}}
    path = write(tmp_path_factory.mktemp("p"), yaml.safe_dump(document, allow_unicode=True))
    assert settings_from(read_settings(path)) == Settings(**values)


def test_the_shipped_parameter_file_is_the_dataclass() -> None:
    path = ROOT / "config" / "localizer.yaml"
    assert path.read_text(encoding="utf-8") == settings_yaml()
    assert read_settings(path) == default_settings()
    # A comment line for every setting, and decimal points where ROS wants a double.
    lines = path.read_text(encoding="utf-8").splitlines()
    for name, default in default_settings().items():
        (row,) = [i for i, line in enumerate(lines) if line.startswith(f"    {name}: ")]
        assert lines[row - 1].startswith("    # ")
        assert type(yaml.safe_load(lines[row])[name]) is type(default)


def test_the_reference_table_is_the_dataclass() -> None:
    assert settings_table() in (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def test_the_table_has_a_row_per_setting() -> None:
    rows = settings_table().splitlines()[2:]
    assert len(rows) == len(default_settings())
    for row, (name, default) in zip(rows, default_settings().items(), strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4
        assert cells[0] == f"`{name}`"
        assert yaml.safe_load(cells[1].strip("`")) == default
        assert "<" not in cells[2]
