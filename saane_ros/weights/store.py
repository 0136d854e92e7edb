"""Finding a card's weight files: the user's folder, the package, the cache, the network."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from saane_ros.errors import SaaneError
from saane_ros.files import replacing_file, sha256_of
from saane_ros.paths import cache_folder
from saane_ros.reading import no_folder
from saane_ros.weights.card_files import models_folder
from saane_ros.weights.cards import Semantics, WeightSource
from saane_ros.weights.download import DownloadError, download


class Card(Protocol):
    """What has weight files: a card of a model or of local features."""

    @property
    def path(self) -> Path: ...
    @property
    def weights(self) -> Mapping[str, WeightSource]: ...
    @property
    def files(self) -> Mapping[str, WeightSource]: ...


@dataclass(frozen=True)
class WeightFile:
    """A file whose bytes were checked. verified: against the card, not only a recorded digest."""

    path: Path
    sha256: str
    verified: bool


@dataclass(frozen=True)
class Origin:
    """What is known of a weight file beforehand. prefix: the first digits of its SHA-256.

    megabytes: 0 where unknown.
    """

    file: str
    url: str
    prefix: str
    megabytes: int = 0


def find_weights(
    card: Card, weights: str | Path = "", download_missing: bool = True
) -> dict[str, WeightFile]:
    """All weight files of a card by key, verified, missing ones downloaded into the cache.

    weights: a folder that is looked into first.  Raises SaaneError that says which file is
    missing, where it comes from and where it can be put.
    """
    return find_files(card.weights, search_folders(card, weights), download_missing)


def find_checkpoint(semantics: Semantics, folders: list[Path]) -> Path:
    """The folder of a Hugging Face model; one of the hub is verified and downloaded as weights are.

    Raises SaaneError as `find_weights` does, and where its files lie in several folders.
    """
    sources = semantics.hub_files
    if not sources:
        return Path(str(semantics.checkpoint)).expanduser()
    found = find_files(sources, folders)
    homes = sorted({file.path.parent for file in found.values()})
    if len(homes) > 1:
        raise SaaneError(
            f"The files of {semantics.checkpoint} lie in {' and '.join(map(str, homes))}: put all "
            "of them into one of these folders."
        )
    return homes[0]


def find_files(
    sources: Mapping[str, WeightSource], folders: list[Path], download_missing: bool = True
) -> dict[str, WeightFile]:
    """Files by key, as `find_weights`, from these folders."""
    missing = [source for source in sources.values() if locate(source, folders) is None]
    for source in missing:
        origin = origin_of(source)
        if not (origin.url and download_missing):
            raise SaaneError(_missing(missing, folders, ""))
        try:
            _download(origin)
        except DownloadError as error:
            still = [source for source in missing if locate(source, folders) is None]
            raise SaaneError(_missing(still, folders, str(error), error.remedy)) from error
    return {key: check_file(source, folders) for key, source in sources.items()}


def search_folders(card: Card, weights: str | Path = "") -> list[Path]:
    """Where weight files are looked for, in this order.

    The user's folder, the folder of the card itself, the package's models/, the cache.
    """
    folders = []
    if weights:
        given = Path(weights).expanduser()
        if not given.is_dir():
            raise no_folder(given, "one with weights")
        folders.append(given.resolve())
    folders += [card.path.parent, models_folder().resolve(), download_folder()]
    return list(dict.fromkeys(folders))


def download_folder() -> Path:
    return cache_folder() / "weights"


def locate(source: WeightSource, folders: list[Path]) -> Path | None:
    """Where the file or an alternative lies, unverified; None where no folder has either."""
    names = (origin_of(source).file, *source.alternatives)
    paths = [folder / name for folder in folders for name in names]
    if source.package:
        paths += [file for name in names for file in _packaged(source.package, name)]
    return next((path for path in paths if path.is_file()), None)


def _packaged(package: str, name: str) -> list[Path]:
    """Files of that name in an installed package, which is looked up and never imported."""
    found = importlib.util.find_spec(package)
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    return [path for folder in folders for path in sorted(Path(folder).rglob(name))]


def origin_of(source: WeightSource) -> Origin:
    """File name, address, known digits of the SHA-256 and size, torchvision's where it is theirs.

    torchvision ends its file names with the first digits: resnet50-0676ba61.pth.
    """
    if not source.torchvision:
        return Origin(source.file, source.url, source.sha256, source.megabytes)
    from torchvision.models import get_weight

    try:
        weights = get_weight(source.torchvision)
        url, mebibytes = str(weights.url), float(weights.meta.get("_file_size", 0))
    except (ValueError, AttributeError, KeyError) as error:
        raise SaaneError(
            f"The installed torchvision has no weights {source.torchvision!r}: correct the card "
            "or install another torchvision."
        ) from error
    file = url.rsplit("/", 1)[1]
    digits = re.search(r"-([0-9a-f]{8,64})\.", file)
    prefix = digits.group(1) if digits else ""
    return Origin(file, url, prefix, source.megabytes or round(mebibytes * 2**20 / 1e6))


def check_file(source: WeightSource, folders: list[Path]) -> WeightFile:
    """The file in the first folder that has it, its digest compared with the card's.

    Where the card has none, with the digest that was recorded when the file was first used.
    """
    origin = origin_of(source)
    path = locate(source, folders)
    if path is None:
        raise SaaneError(_missing([source], folders, ""))
    actual = sha256_of(path)
    expected = source.alternatives.get(path.name, origin.prefix)
    problem = _mismatch(actual, expected)
    if problem:
        address = f" (from {origin.url})" if origin.url else ""
        raise SaaneError(
            f"Weight file {path} {problem}: remove it or replace it by the right one{address}."
        )
    if not expected:
        _compare_with_record(path, actual)
    return WeightFile(path, actual, verified=bool(expected))


def _download(origin: Origin) -> None:
    target = download_folder() / origin.file
    download(origin.url, target, lambda part: _mismatch(sha256_of(part), origin.prefix))


def _compare_with_record(path: Path, actual: str) -> None:
    record = path.with_name(f"{path.name}.sha256")
    if not record.exists():
        try:
            with replacing_file(record) as temporary:
                temporary.write_text(f"{actual}  {path.name}\n", encoding="utf-8")
        except OSError:
            return  # A folder that cannot be written to: there is nothing to compare next time.
    recorded = record.read_text(encoding="utf-8").split(" ")[0]
    if recorded != actual:
        raise SaaneError(
            f"Weight file {path} changed since it was first used (sha256 {actual} instead of "
            f"{recorded}): remove {record.name} beside it if that was meant."
        )


def _mismatch(actual: str, prefix: str) -> str | None:
    if actual.startswith(prefix):
        return None
    return f"has sha256 {actual[: max(len(prefix), 8)]} instead of {prefix}"


def _missing(
    sources: list[WeightSource], folders: list[Path], reason: str, remedy: str = ""
) -> str:
    names = [_with_origin(source) for source in sources]
    failed = f" and could not be downloaded ({reason})" if reason else ""
    what, them = ("Weight file", "it") if len(names) == 1 else ("Weight files", "them")
    return (
        f"{what} {', '.join(names)} {'is' if len(names) == 1 else 'are'} in none of the folders "
        f"{', '.join(map(str, folders))}{failed}: "
        f"{f'{remedy}, or ' if remedy else ''}put {them} into one of these folders."
    )


def _with_origin(source: WeightSource) -> str:
    origin = origin_of(source)
    address = source.page or origin.url
    if address:
        return f"{origin.file} (from {address})"
    if source.package:
        return f"{origin.file} (pip install {source.package.replace('_', '-')})"
    return origin.file
