"""Changes to the bytes of a good file, as disks, networks, hands and other programs make them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 1 << 15, (1 << 16) - 1, 1 << 24, (1 << 31) - 1, 1 << 31)
EDGES += ((1 << 32) - 1, 1 << 40, 1 << 62, (1 << 64) - 1)
"""Numbers at which sizes and counts turn over."""
WORDS = (
    *(b"nan", b"inf", b"-inf", b"-1", b"0", b"-0.0", b"1e308", b"1e-320", b"1e999", b"1_000"),
    *(b"9" * 25, b"9" * 5000, b"0x10", b"1/0", "\u00b2".encode(), "\u0664".encode(), b"\xff\xfe"),
    *(b"", b" ", b"\0", b"null", b"true", b"~", b"[]", b"{}", b"[[1, 2], {a: b}]", b"{? [1] : 2}"),
    *(b"2001-02-30", b"1:99", b"&a [*a]", b"<<: *b", b"!!python/object:os.system", b'"', b"'"),
    *(
        b"../../etc",
        b"/",
        b"name",
        b"\xe9",
        b"%s",
        b"a\nb",
        b"*",
        b"-",
        b"|",
        b"- " * 40,
        b"." * 90,
    ),
)
"""Words that stand where another one is expected."""
_WORD = re.compile(rb"[\w.+-]+")


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """The bytes after one to six changes; `others`: files to splice from and put behind.

    Headers decide most and are short, so that many changes are near the beginning; a file of
    text is changed by its words and lines, too.
    """
    made = bytearray(data)
    is_text = not bytes(data[:1000]).translate(None, bytes(range(9, 127)))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        reach = chance.choice((32, 256, 1 << 40, 1 << 40))
        at = chance.randrange(max(1, min(len(made), reach)))
        if is_text and chance.random() < 0.7:
            _change_text(made, at, chance)
        else:
            _change_bytes(made, at, chance, others)
    return bytes(made)


def _change_bytes(made: bytearray, at: int, chance: random.Random, others: Sequence[bytes]) -> None:
    kind = chance.randrange(9)
    size = chance.choice((1, 2, 8, 80, 4096))
    if kind < 2:
        made[at : at + 1] = bytes([chance.randrange(256)])
    elif kind == 2:
        width, order = chance.choice((2, 4, 8)), chance.choice(("big", "little"))
        number = chance.choice(EDGES) % (1 << 8 * width)
        made[at : at + width] = number.to_bytes(width, order)
    elif kind == 3:
        del made[at:]
    elif kind == 4:
        del made[at : at + size]
    elif kind == 5:
        made[at:at] = made[at : at + size]
    elif kind == 6:
        made[at : at + size] = bytes(len(made[at : at + size]))
    elif kind == 7 and others:
        other = chance.choice(others)
        start = chance.randrange(max(1, len(other)))
        made[at : at + size] = other[start : start + size]
    else:
        made += chance.choice(others) if others else bytes(size)


def _change_text(made: bytearray, at: int, chance: random.Random) -> None:
    kind = chance.randrange(7)
    word = _WORD.search(made, at)
    start = made.rfind(b"\n", 0, at) + 1
    end = made.find(b"\n", at) + 1 or len(made)
    if kind < 3 and word is not None:
        made[word.start() : word.end()] = chance.choice(WORDS)
    elif kind == 3:
        made[at:at] = chance.choice(WORDS)
    elif kind == 4:
        del made[start:end]
    elif kind == 5:
        made[start:start] = made[start:end]
    else:
        made[at : at + 1] = chance.choice((b",", b";", b"\t", b"\r", b"\n", b":", b"#", b'"', b"@"))
