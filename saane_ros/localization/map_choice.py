"""Which of several maps the robot is on: all are searched until it is localized on one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from saane_ros.embedding import Embedder
from saane_ros.errors import SaaneError
from saane_ros.localization.localizer import Localization, Localizer
from saane_ros.localization.points import MapPoints, with_look
from saane_ros.localization.pose_prior import PosePrior
from saane_ros.route_map.feature_grids import rerank_of
from saane_ros.route_map.info import INFO_FILE, read_info
from saane_ros.route_map.store import RouteMap
from saane_ros.settings import Settings
from saane_ros.types import Frame, Match, MatchState

ASTRAY_FRAMES = 10
"""Frames in a row that are lost or off the route, after which the other maps are searched again."""
SUFFIX = ".routemap"

_RANK = (MatchState.OFF_ROUTE, MatchState.LOST, MatchState.UNCERTAIN, MatchState.LOCALIZED)


class MapChoice:
    """Localizes in one of several maps; of one map alone it is that map's localizer.

    current: the localizer of the map that the robot is on; None while all maps are searched. A
    frame is embedded once. While n maps are searched each may use up the n-th part of the error
    rate, as every one of them may be wrong.
    """

    def __init__(self, localizers: Sequence[Localizer]) -> None:
        self._localizers = list(localizers)
        self._embedding = next((one for one in localizers if one.wants_grid), localizers[0])
        self.reset()

    @property
    def localizers(self) -> Sequence[Localizer]:
        """One a map."""
        return self._localizers

    @property
    def maps(self) -> list[RouteMap]:
        """All of them."""
        return [one.route_map for one in self._localizers]

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width that images are resized to; None where one of the maps uses more."""
        sizes = [one.image_size for one in self._localizers]
        return None if None in sizes else sizes[0]

    @property
    def settings(self) -> Settings:
        return self._localizers[0].settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        for one in self._localizers:
            one.settings = settings

    @property
    def odometry_fault(self) -> str:
        """Why odometry is not used, in words; empty where it is or there is none."""
        return next((one.odometry_fault for one in self._searched if one.odometry_fault), "")

    def reset(self) -> None:
        """Forget all earlier frames, and which map it was."""
        self.current = self._localizers[0] if len(self._localizers) == 1 else None
        self._astray = 0
        for one in self._localizers:
            one.reset()

    def prepare(self, prior: PosePrior) -> Callable[[], None]:
        """What lets all begin at a pose, to be called between two frames; changes nothing itself.

        Every map that the pose can be on begins there and the others anywhere: frames decide.
        Raises SaaneError where the pose is on none.
        """
        told, faults = [], []
        for one in self._localizers:
            if prior.map_name in ("", one.route_map.info.name):
                try:
                    told.append((one, *one.spots_at(prior)))
                except SaaneError as error:
                    faults.append(str(error))
        if not told:
            names = ", ".join(one.info.name for one in self.maps)
            missing = (
                f"The pose is of map {prior.map_name} and the map here is {names}: give a new one."
            )
            raise SaaneError(faults[0] if faults else missing)

        def begin() -> None:
            self.reset()
            for one, spots, shares in told:
                one.assume(spots, shares)

        return begin

    @property
    def points(self) -> MapPoints:
        """Of the map that the robot is on; of one that has some while several are searched."""
        return max((one.points for one in self._searched), key=lambda points: points.usable)

    def localize(
        self,
        frame: Frame,
        attention: bool = False,
        labels: bool = False,
        behind: Callable[[], bool] | None = None,
    ) -> Localization:
        """Embed and match one frame; see `Localizer`. A frame that is refused changes nothing."""
        start = time.perf_counter()
        embedding = self._embedding.embed(frame, attention, labels)
        embed_ms = 1e3 * (time.perf_counter() - start)
        searched = self._searched
        looks = (one.look(frame, behind) for one in searched if one.points.usable)
        embedding = with_look(embedding, next(looks, None))
        share = 1 / len(searched)
        found = [
            (one, one.locate(embedding, frame.stamp_ns, frame.travelled, share)) for one in searched
        ]
        best, match = max(found, key=lambda pair: _rank(pair[1]))
        match.timings_ms["embed"] = embed_ms
        self._follow(best, match.state)
        return Localization(match, embedding, best.route_map)

    @property
    def _searched(self) -> list[Localizer]:
        return self._localizers if self.current is None else [self.current]

    def _follow(self, best: Localizer, state: MatchState) -> None:
        """Stay with the map that the robot is localized on, until it was astray for a while."""
        if len(self._localizers) == 1:
            return
        if state is MatchState.LOCALIZED:
            self.current, self._astray = best, 0
        elif self.current is not None:
            strays = state in (MatchState.LOST, MatchState.OFF_ROUTE)
            self._astray = self._astray + 1 if strays else 0
            if self._astray == ASTRAY_FRAMES:
                for one in self._localizers:
                    if one is not self.current:
                        one.reset()
                self.current = None


def _rank(match: Match) -> tuple[int, float]:
    return _RANK.index(match.state), match.confidence


def open_choice(path: str, embedder: Embedder, settings: Settings) -> tuple[MapChoice, list[str]]:
    """The map at a path, or all maps in a folder of them; and a sentence for each left out.

    Raises SaaneError where there is no map that fits the embedder.
    """
    localizers: list[Localizer] = []
    faults = []
    for folder in _map_folders(path):
        try:
            localizer = Localizer(embedder, RouteMap.open(folder), settings)
            if localizers:
                _check_alike(localizers[0].route_map, localizer.route_map)
            localizers.append(localizer)
        except SaaneError as error:
            faults.append(str(error))
    if not localizers:
        raise SaaneError(faults[0])
    return MapChoice(localizers), faults


def _check_alike(first: RouteMap, other: RouteMap) -> None:
    """Raise SaaneError where one embedding of a frame does not serve both."""
    one, two = first.info.rerank, other.info.rerank
    if rerank_of(one).own != rerank_of(two).own:
        raise SaaneError(
            f"{other.path} re-ranks by {two} and {first.path} by {one}, which compare different "
            "features of a frame: build both with one --rerank."
        )


def model_of_maps(path: str) -> str:
    """The model that made the map at a path, or most of the maps in a folder of them."""
    made: list[str] = []
    faults: list[SaaneError] = []
    for folder in _map_folders(path):
        try:
            made.append(read_info(folder).model)
        except SaaneError as error:
            faults.append(error)
    if not made:
        raise faults[0]
    return max(made, key=made.count)


def check_choice(path: str, embedder: Embedder) -> None:
    """Raise SaaneError where the heads of the maps alone tell that `open_choice` would."""
    infos = [read_info(folder) for folder in _map_folders(path)]
    if all(info.fingerprint != embedder.fingerprint for info in infos):
        raise SaaneError(
            f"{path} was made by {infos[0].model} with fingerprint {infos[0].fingerprint}, but the "
            f"loaded model {embedder.name} has fingerprint {embedder.fingerprint}: load that model "
            "or build the map again."
        )


def _map_folders(path: str) -> list[Path]:
    """The folder of one map, or those in a folder of maps, by name."""
    if not path:
        raise SaaneError(
            f"No map is named: set the parameter map to a <name>{SUFFIX}, or a folder of them."
        )
    folder = Path(path).expanduser()
    if (folder / INFO_FILE).exists() or not folder.is_dir():
        return [folder]
    return sorted(one for one in folder.glob(f"*{SUFFIX}") if one.is_dir()) or [folder]
