"""Mutated pictures and image messages: an RGB image or a SaaneError, and nothing else.

`SAANE_FUZZ_MUTATIONS=100000 pytest test/messages/test_picture_fuzz.py -s` runs so many of each.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from naive_pixels import PIXEL_BYTES, PLANES
from picture_seeds import PICTURES, TRAILERS

from saane_ros.data.images.files import read_image
from saane_ros.errors import SaaneError
from saane_ros.messages.image import ImageDecoder

MUTATIONS = int(os.environ.get("SAANE_FUZZ_MUTATIONS", "1500"))
MOST_MEBIBYTES = 1500
"""What the largest picture that is allowed takes as 16-bit colours, and the process itself."""
FORMATS = ("jpeg", "", "bayer_rggb8; jpeg compressed ", "bayer_gbrg16; png compressed", ";;", "é")
EDGES = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to six changes: bytes, numbers of a header, cuts, repeats, splices, trailers."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        # Headers decide most, and are short.
        at = chance.randrange(max(1, min(len(changed), chance.choice((32, 256, 1 << 30)))))
        kind = chance.randrange(8)
        if kind < 3:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 3:
            size, order = chance.choice((2, 4)), chance.choice(("big", "little"))
            number = chance.choice(EDGES) % (1 << 8 * size)
            changed[at : at + size] = number.to_bytes(size, order)
        elif kind == 4:
            del changed[at : at + chance.choice((1, 2, 64, 1 << 30))]
        elif kind == 5:
            changed[at:at] = changed[at : at + chance.randint(1, 80)]
        elif kind == 6:
            other = chance.choice(list(PICTURES.values()))
            start = chance.randrange(len(other))
            changed[at : at + 40] = other[start : start + 40]
        else:
            changed += chance.choice(list(TRAILERS.values()))
    return bytes(changed)


def mutated_message(chance: random.Random) -> SimpleNamespace:
    encoding = chance.choice(list(PIXEL_BYTES))
    height, width = chance.randint(1, 12), chance.randint(1, 12)
    step = width * PIXEL_BYTES[encoding] + chance.choice((0, 0, 3))
    rows = height * 3 // 2 if encoding in PLANES else height
    fields: dict[str, Any] = {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": chance.randrange(2),
        "step": step,
        "data": chance.randbytes(rows * step),
    }
    for name in chance.sample(sorted(fields), chance.randrange(3)):
        if name == "data":
            fields[name] = fields[name][: chance.randrange(200)]
        elif name == "encoding":
            fields[name] = chance.choice([*PIXEL_BYTES, "", "32FC1", "rgb8 ", "RGB8", "é"])
        else:
            fields[name] = chance.choice([*EDGES, chance.randrange(40)])
    return SimpleNamespace(**fields)


def fuzz(mutations: int, folder: Path, seed: int = 0) -> dict[str, int]:
    """How many of each were decoded and refused, and the most memory (MiB) that was ever held."""
    chance, decoder = random.Random(seed), ImageDecoder()
    counts = {"pictures": 0, "files": 0, "messages": 0, "refused": 0}
    pictures = list(PICTURES.values())
    for number in range(mutations):
        picture, path = mutated(chance.choice(pictures), chance), folder / "a.jpg"
        message = SimpleNamespace(format=chance.choice(FORMATS), data=picture)
        stamp_ns = chance.choice((number, -number, 10**18, 0))
        if number % 10 == 0:
            path.write_bytes(picture)
        for kind, decode in (
            ("pictures", lambda m=message, t=stamp_ns: decoder.rgb(m, True, t)),
            ("messages", lambda t=stamp_ns: decoder.rgb(mutated_message(chance), False, t)),
            ("files", lambda p=path: read_image(p)),
        ):
            if kind == "files" and number % 10:
                continue
            try:
                image = decode()
            except SaaneError as error:
                counts["refused"] += str(error).endswith(".")
                continue
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            assert image.size
            counts[kind] += 1
    return {**counts, "mutations": 2 * mutations, "MiB": _peak_mebibytes()}


def _peak_mebibytes() -> int:
    """Of this process alone: getrusage counts what the one that forked it had, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def test_mutations_end_in_an_image_or_in_one_sentence(tmp_path: Path) -> None:
    """In a process of its own, as a crash or a decoder's memory would be the suite's."""
    here, root = Path(__file__).parent, Path(__file__).parents[2]
    paths = [str(here), str(here.parent), str(root)]
    done = subprocess.run(
        [sys.executable, __file__, str(MUTATIONS), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENCV_LOG_LEVEL": "SILENT"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    print(found)
    assert found["mutations"] == 2 * MUTATIONS
    assert min(found["pictures"], found["messages"], found["refused"]) > MUTATIONS // 10
    assert found["files"] > 0
    # Each run ended in one of the two.
    ends = sum(found[key] for key in ("pictures", "messages", "files", "refused"))
    assert ends == 2 * MUTATIONS + (MUTATIONS + 9) // 10
    assert found["MiB"] < MOST_MEBIBYTES


if __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]), Path(sys.argv[2]))))
