"""Every format that is read from files: small good ones, and what a command does with them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import yaml
from fuzz import tables
from fuzz.bags import bags
from fuzz.cases import Case, Format, changing
from fuzz.mutations import EDGES, WORDS, mutated
from fuzz.options import options
from naive_pixels import PIXEL_BYTES, PLANES
from picture_seeds import PICTURES, TRAILERS
from scenes import ColourGridEmbedder, smooth_scene

from saane_ros.data.images.at_names import is_at_name, parse_at_name
from saane_ros.data.images.files import read_image
from saane_ros.data.images.folders import ImageFolder
from saane_ros.files import sha256_of
from saane_ros.messages.image import ImageDecoder
from saane_ros.route_map.builder import build_map
from saane_ros.route_map.info import SEAL_NAME, sealed
from saane_ros.route_map.statistics import statistics
from saane_ros.route_map.store import RouteMap
from saane_ros.types import Frame, Pose

PICTURE_FORMATS = ("jpeg", "", "bayer_rggb8; jpeg compressed ", "bayer_gbrg16; png compressed")
PICTURE_FORMATS += (";;", "\u00e9")


def files_format(
    name: str, files: Callable[[Path], Sequence[tables.Files]], mebibytes: int
) -> Format:
    """A format of which every file in turn is changed, those beside it left as they are."""

    def prepare(folder: Path) -> list[Case]:
        made = files(folder)
        whole = {one.path: one.path.read_bytes() for one in made}
        last = [made[0].path]

        def change(chance: random.Random, path: Path) -> None:
            last[0].write_bytes(whole[last[0]])
            last[0] = path
            path.write_bytes(mutated(whole[path], chance, list(whole.values())))

        return [Case(one.name, partial(change, path=one.path), one.read) for one in made]

    return Format(name, prepare, mebibytes)


def pictures(folder: Path) -> list[Case]:
    """Files, and the same bytes as messages of every format."""
    others = [*PICTURES.values(), *TRAILERS.values()]
    decoder = ImageDecoder()
    cases = []
    for number, (name, data) in enumerate(PICTURES.items()):
        path = folder / f"{number}.jpg"
        path.write_bytes(data)
        cases.append(Case(name, changing(path, others), lambda p=path: is_rgb(read_image(p))))
        message = SimpleNamespace(format="jpeg", data=data)

        def change(chance: random.Random, m: Any = message, whole: bytes = data) -> None:
            m.data, m.format = mutated(whole, chance, others), chance.choice(PICTURE_FORMATS)
            m.stamp = chance.choice((chance.randrange(10**10), -1, 10**18, 0))

        cases.append(
            Case(
                f"{name} as a message",
                change,
                lambda m=message: is_rgb(decoder.rgb(m, True, getattr(m, "stamp", 0))),
            )
        )
    return cases


def raw_images(folder: Path) -> list[Case]:
    """Messages with the pixels of every encoding, some fields wrong."""
    decoder = ImageDecoder()
    cases = []
    for encoding in PIXEL_BYTES:
        message = raw_image(encoding, random.Random(0), (6, 8))

        def change(chance: random.Random, m: Any = message, e: str = encoding) -> None:
            size = chance.randint(1, 12), chance.randint(1, 12)
            vars(m).update(vars(raw_image(e, chance, size)))
            for name in chance.sample(sorted(vars(m)), chance.randrange(3)):
                if name == "data":
                    m.data = m.data[: chance.randrange(200)]
                elif name == "encoding":
                    m.encoding = chance.choice(
                        [*PIXEL_BYTES, "", "32FC1", "rgb8 ", "RGB8", "\u00e9"]
                    )
                else:
                    setattr(m, name, chance.choice([*EDGES, chance.randrange(40)]))

        cases.append(Case(encoding, change, lambda m=message: is_rgb(decoder.rgb(m, False, 0))))
    return cases


def raw_image(encoding: str, chance: random.Random, size: tuple[int, int]) -> SimpleNamespace:
    height, width = size
    if encoding in PLANES or "bayer" in encoding:
        height, width = height + height % 2, width + width % 2
    step = width * PIXEL_BYTES[encoding] + chance.choice((0, 0, 4))
    rows = height * 3 // 2 if encoding in PLANES else height
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=chance.randrange(2),
        step=step,
        data=chance.randbytes(rows * step),
    )


def is_rgb(image: np.ndarray) -> bool:
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    return image.size > 0


_FULL = "@{0}.25@57{0}.50@32@U@48.{0}@9.{0}@p{0}@0@{0}@0@@@202001{1:02d}_101112@@.jpg"
NAMES = {
    "@ names": [_FULL.format(40000 + i, i + 1) for i in range(4)],
    "short @ names": [f"@{400000 + 5 * i}.25@{5700000 + i}.50@.jpg" for i in range(4)],
    "@ names of degrees": [f"@48.{10000 + 10 * i}@9.{10000 + i}@.jpg" for i in range(4)],
    "stamps": [f"1700000{i:03d}.250000.png" for i in range(4)],
    "nanoseconds": [f"17000000000000{i:05d}.png" for i in range(4)],
    "numbers": [f"image{i}.png" for i in range(8, 12)],
}


def names(folder: Path) -> list[Case]:
    """Lists of file names, each in a folder of its own, without what no file can be called."""
    cases = []
    for number, (name, listed) in enumerate(NAMES.items()):
        place = folder / str(number)
        write_names(place, "\n".join(listed).encode())

        def change(chance: random.Random, at: Path = place, of: Sequence[str] = listed) -> None:
            lines = "\n".join(of).encode()
            write_names(at, mutated(lines, chance, [word for word in WORDS if len(word) < 99]))

        cases.append(Case(name, change, lambda p=place: read_names(p)))
    return cases


def write_names(folder: Path, lines: bytes) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for line in lines.splitlines():
        name = line.replace(b"/", b"").replace(b"\0", b"")[:250]
        if name not in (b"", b".", b".."):
            (Path(folder) / name.decode("utf-8", "surrogateescape")).touch()


def read_names(folder: Path) -> int:
    images = ImageFolder(folder)
    for entry in images.entries:
        if is_at_name(entry.path.name):
            parse_at_name(entry.path.name).stamp_ns()
    images.selected(every_seconds=2.0)
    return len(images)


def maps(folder: Path) -> list[Case]:
    """Every file of a map, which then has the right checksum."""
    embedder, cases = ColourGridEmbedder(), []
    for kind in ("none", "pca512"):
        path = folder / f"{kind}.routemap"
        frames = [
            Frame(smooth_scene(i), i * 10**9, f"d{i}.png", Pose((2.0 * i, i % 2, 0.0)))
            for i in range(12)
        ]
        build_map(frames, embedder, path, origin=(48.0, 9.0, 300.0), postprocessing=kind)
        for file in sorted(path.iterdir()):
            if file.is_dir():
                continue
            own = folder / f"{kind}-{file.name}.routemap"
            shutil.copytree(path, own)
            change = changing(own / file.name)

            def with_checksum(
                chance: random.Random, f: Path = own / file.name, c: Any = change
            ) -> None:
                c(chance)
                sign(f, chance)

            cases.append(Case(f"{file.name} of {kind}", with_checksum, lambda p=own: read_map(p)))
    return cases


def sign(file: Path, chance: random.Random) -> None:
    """Write the checksum of a changed file into `map.yaml`, or often that of `map.yaml` itself."""
    info = file.parent / "map.yaml"
    if file != info:
        values = yaml.safe_load(info.read_text())
        del values[SEAL_NAME]
        values["files"][file.name] = sha256_of(file)
        info.write_text(sealed(yaml.safe_dump(values, sort_keys=False)))
    elif chance.random() < 0.8:
        text = info.read_text(encoding="utf-8", errors="replace")
        info.write_text(sealed(text.rpartition(f"{SEAL_NAME}:")[0] or text), encoding="utf-8")


def read_map(path: Path) -> bool:
    route_map = RouteMap.open(path)
    statistics(route_map)
    graph = route_map.localizable().graph
    graph.around(0, 3.0)
    return bool(route_map.arc_length.size)


FORMATS = {
    form.name: form
    for form in (
        Format("options", options, 256),
        Format("bags", bags, 256),
        Format("pictures", pictures, 1500),
        Format("raw_images", raw_images, 64),
        Format("names", names, 64),
        Format("maps", maps, 128),
        files_format("poses", tables.poses, 64),
        files_format("configurations", tables.configurations, 64),
        files_format("datasets", tables.datasets, 64),
        files_format("robotcar", tables.robotcar, 64),
        files_format("scores", tables.scores, 64),
        files_format("weights", tables.weights, 128),
    )
}
cv2.setNumThreads(1)
