"""What the launch files start, without `launch`: a stand-in records what they hand over to it.

The real `ros2 launch` runs them in `test/walk`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_stand_in import LAUNCH, Context, Thing, World, load, stand_in, started
from scenes import smooth_scene

from saane_ros.data.bags import BagWriter
from saane_ros.ros.map_builder.settings import MapBuilderSettings
from saane_ros.ros.shared import interface
from saane_ros.settings import Settings, default_settings
from saane_ros.types import Pose

FILES = ("localize", "replay", "build_map")
Launch = Callable[..., tuple[dict[str, Thing], Context]]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return stand_in(tmp_path, monkeypatch)


@pytest.fixture
def launch(world: World, monkeypatch: pytest.MonkeyPatch) -> Launch:
    def start(file: str, /, **given: str) -> tuple[dict[str, Thing], Context]:
        """The processes that are started at last, by executable; what the arguments were."""
        context = Context(given)
        words = ["ros2", "launch", "saane_ros", f"{file}.launch.py", *context.argv]
        monkeypatch.setattr(sys, "argv", words)
        description = load(str(LAUNCH / f"{file}.launch.py")).generate_launch_description()
        *_, checked = description.values[0]
        return started(checked.named["function"](context), context), context

    return start


def parameters(node: Thing) -> dict[str, Any]:
    return dict(node.named["parameters"][-1])


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    with BagWriter(tmp_path / "drive") as writer:
        for second in range(1, 4):
            writer.write_image("/a/raw", smooth_scene(1), second * 10**9)
            writer.write_image("/b/compressed", smooth_scene(1), second * 10**9, jpeg_quality=90)
            writer.write_odometry("/ground_truth/odometry", second * 10**9, Pose((0, 0, 0)))
            writer.write_odometry("/wheels", second * 10**9, Pose((0, 0, 0)))
    return tmp_path / "drive"


def played(name: str, bag: Path) -> dict[str, str]:
    return {"traverse" if name == "replay" else "bag": str(bag)}


def remapped(node: Thing) -> dict[str, str]:
    return dict(node.named["remappings"])


@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described_and_read(launch: Launch, bag: Path, name: str) -> None:
    table = load(str(LAUNCH / f"{name}.launch.py")).ARGUMENTS
    assert all(len(text) > 10 and "{" not in text for text in table.values())
    _, context = launch(name, **played(name, bag))
    assert context.asked | {"traverse"} == set(table) | {"bag", "traverse"}


@pytest.mark.parametrize(
    ("name", "kind", "inputs"),
    [
        ("localize", Settings, interface.INPUTS),
        ("replay", Settings, interface.INPUTS),
        ("build_map", MapBuilderSettings, interface.MAP_BUILDER_INPUTS),
    ],
)
def test_arguments_are_parameters_and_topics_that_the_node_has(
    launch: Launch, bag: Path, name: str, kind: type, inputs: Mapping[str, Any]
) -> None:
    table = load(str(LAUNCH / f"{name}.launch.py")).ARGUMENTS
    values = {argument: "3" for argument in table} | {
        "autostart": "false",
        "use_sim_time": "true",
        "respawn": "true",
        "rviz": "true",
        "log_level": "warn",
        "params_file": str(LAUNCH.parent / "config" / "localizer.yaml"),
        "image_topic": "/b/compressed",
        **played(name, bag),
    }
    nodes, _ = launch(name, **{n: text for n, text in values.items() if n in table})
    node = nodes["map_builder" if name == "build_map" else "localizer"]
    given = parameters(node)
    own = {"autostart", "use_sim_time", "exit_on_failure"}
    assert own <= set(given) <= own | set(default_settings(kind))
    assert (given["autostart"], given["use_sim_time"]) == (False, True)
    assert {"image", "image/compressed", "odometry"} <= set(remapped(node))
    assert set(remapped(node)) <= {topic.name for topic in inputs.values()}
    assert remapped(node)["image/compressed"] == "/b/compressed"
    assert given["image_transport"] == "compressed"
    assert node.named["ros_arguments"] == ["--log-level", "warn"]
    assert (node.named["name"], node.named["namespace"]) == ("3", "3")
    player = parameters(nodes["image_player"])
    assert (player["source"], player["rate"], player["clock"]) == (str(bag), 3.0, True)


def test_what_is_not_given_is_left_to_the_parameter_file(launch: Launch) -> None:
    nodes, _ = launch("localize")
    (localizer,) = nodes.values()
    file, given = localizer.named["parameters"]
    assert given == {}
    assert Path(file) == LAUNCH.parent / "config" / "localizer.yaml"
    assert list(yaml.safe_load(Path(file).read_text())) == ["/**"]
    assert localizer.node_name == "/localizer"
    assert not localizer.named["remappings"]


def test_paths_may_begin_at_home(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("/**: {ros__parameters: {}}\n")
    given = {name: f"~/{name}" for name in ("map", "model", "weights")}
    nodes, _ = launch("localize", params_file="~/mine.yaml", **given)
    file, values = nodes["localizer"].named["parameters"]
    assert file == f"{tmp_path}/mine.yaml"
    assert values == {name: f"{tmp_path}/{name}" for name in given}


def test_a_replay_finds_image_and_motion_but_is_not_told_the_truth(
    launch: Launch, bag: Path
) -> None:
    for name in ("localize", "replay"):
        nodes, _ = launch(name, **played(name, bag))
        assert remapped(nodes["localizer"]) == {
            "image": "/b",
            "image/compressed": "/b/compressed",
            "odometry": "/wheels",
        }
        assert parameters(nodes["localizer"])["use_sim_time"] is True
        awaited = parameters(nodes["image_player"])["wait_topics"]
        assert awaited == ["/b/compressed", "/wheels"]
    nodes, _ = launch("replay", traverse=str(bag), image_topic="/a/raw", odometry_topic="/mine")
    assert remapped(nodes["localizer"])["image"] == "/a/raw"
    assert remapped(nodes["localizer"])["odometry"] == "/mine"
    assert "image_transport" not in parameters(nodes["localizer"])
    with pytest.raises(RuntimeError, match=r"Topic /c is not in .*: its topics are"):
        launch("replay", traverse=str(bag), image_topic="/c")
    with pytest.raises(RuntimeError, match="traverse is empty"):
        launch("replay")


def test_a_bag_becomes_a_map_that_is_saved_under_the_builders_own_name(
    launch: Launch, bag: Path
) -> None:
    nodes, _ = launch("build_map", bag=str(bag), namespace="robot_1", name="mapper")
    assert parameters(nodes["map_builder"])["pose_source"] == "odometry"
    assert remapped(nodes["map_builder"])["odometry"] == "/ground_truth/odometry"
    save = nodes["ros2"].named["cmd"]
    assert save[1:4] == ["service", "call", "/robot_1/mapper/save"]
    nodes, _ = launch("build_map", bag=str(bag), pose_topic="/wheels", pose_source="odometry")
    assert remapped(nodes["map_builder"])["odometry"] == "/wheels"
    assert nodes["ros2"].named["cmd"][3] == "/map_builder/save"


def test_two_robots_and_two_cameras_share_no_name(launch: Launch) -> None:
    names = set()
    for given in (
        {"namespace": "robot_1"},
        {"namespace": "robot_2"},
        {"name": "front_localizer", "image_topic": "/front/image"},
        {"name": "rear_localizer", "image_topic": "/rear/image"},
    ):
        nodes, _ = launch("localize", **given)
        names.add(nodes["localizer"].node_name)
        images = {remapped(nodes["localizer"]).get("image", "image")}
        assert images == {given.get("image_topic", "image")}
    assert names == {
        "/robot_1/localizer",
        "/robot_2/localizer",
        "/front_localizer",
        "/rear_localizer",
    }


def test_rviz_shows_the_topics_of_the_node_that_was_started(launch: Launch) -> None:
    own = {
        topic.name.removeprefix("~")
        for key, topic in interface.OUTPUTS.items()
        if topic.name.startswith("~/") and key not in ("localized", "place_match")
    }
    for given in ({}, {"namespace": "robot_1"}, {"namespace": "robot_1", "name": "front"}):
        nodes, _ = launch("localize", rviz="true", **given)
        _, file = nodes["rviz2"].named["arguments"]
        document = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        displays = document["Visualization Manager"]["Displays"]
        topics = {d["Topic"]["Value"] for d in displays if "Topic" in d}
        assert topics >= {given.get("name", "localizer") + topic for topic in own}
        assert ("localizer/route" in topics) is ("name" not in given)
        assert nodes["rviz2"].named["namespace"] == nodes["localizer"].named["namespace"]


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        (
            "build_map",
            {"out": "a.routemap"},
            r"no argument out\. Its arguments are .*map",
        ),
        (
            "localize",
            {"odom_topic": "/o"},
            r"odom_topic: did you mean odometry_topic\?",
        ),
        ("replay", {"bag": "b"}, "replay.launch.py has no argument bag"),
        ("localize", {"respawn": "maybe"}, "respawn is 'maybe': give true or false"),
        ("build_map", {"every": "often"}, "every is 'often': give a number"),
        ("localize", {"log_level": "loud"}, "choose one of debug, info"),
        ("localize", {"params_file": "/no/file"}, "no parameter file /no/file"),
        ("localize", {"bag": "/no/bag"}, "There is no bag at /no/bag"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(
    launch: Launch, name: str, given: dict[str, str], sentence: str
) -> None:
    with pytest.raises(RuntimeError, match=sentence):
        launch(name, **given)


def test_arguments_of_a_launch_file_that_includes_ours_are_its_own(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = load(str(LAUNCH / "shared.py"))
    file = LAUNCH / "localize.launch.py"
    words = ["wheels:=4", "launch-prefix:=nice"]
    command = ["ros2", "launch", "my_robot", "localize.launch.py", *words]
    monkeypatch.setattr(sys, "argv", command)
    shared.refuse_unknown(file, words, ["map"])
    for direct in (["launch", "saane_ros", "localize.launch.py"], ["launch", str(file)]):
        monkeypatch.setattr(sys, "argv", direct)
        shared.refuse_unknown(file, ["map:=a", "launch-prefix:=nice"], ["map"])
        with pytest.raises(RuntimeError, match="no argument wheels"):
            shared.refuse_unknown(file, words, ["map"])


def test_without_rviz_nothing_is_started(launch: Launch, world: World) -> None:
    world.rviz = False
    with pytest.raises(RuntimeError, match=r"RViz is not installed: .* leave rviz:=true out"):
        launch("localize", rviz="true")
    assert set(launch("localize", rviz="false")[0]) == {"localizer"}


def test_the_end_of_the_node_is_the_end_of_all_unless_it_is_started_again(
    launch: Launch, bag: Path
) -> None:
    nodes, context = launch("replay", traverse=str(bag))
    end = nodes["localizer"].named["on_exit"]
    assert end(None, context).kind == "Shutdown"
    context.is_shutdown = True
    assert end(None, context) is None
    nodes, _ = launch("replay", traverse=str(bag), respawn="true")
    again = nodes["localizer"]
    assert (again.named["respawn"], again.named["on_exit"]) == (True, None)
    assert parameters(again)["exit_on_failure"] is True


@pytest.mark.usefixtures("world")
def test_a_launch_file_that_imports_more_is_noticed() -> None:
    source = compile("import yaml", str(LAUNCH / "other.launch.py"), "exec")
    with pytest.raises(AssertionError, match=r"other\.launch\.py imports yaml"):
        exec(source, {"__file__": str(LAUNCH / "other.launch.py")})
