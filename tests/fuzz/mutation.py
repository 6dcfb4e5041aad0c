"""Random changes of bytes, for native code and where atheris is not installed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_ODD = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255, 256, 1000, 1023, 4096)
_LARGE = (0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_WIDTHS = (1, 1, 2, 2, 4, 4, 8)
_MOST_CHANGES = 6
_MOST_INSERTED = 64

Change = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def case(seed: str, seeds: Sequence[bytes], max_bytes: int) -> bytes:
    """The case of this seed: a changed seed of the target, or random bytes."""
    choice = random.Random(seed)
    if not seeds or choice.random() < 0.02:
        return choice.randbytes(choice.randrange(max_bytes + 1))
    data = bytearray(choice.choice(seeds))
    # Some seeds stay as they are, so that the good ways are walked, too.
    for _ in range(choice.randrange(_MOST_CHANGES + 1)):
        choice.choice(_CHANGES)(choice, data, seeds)
    return bytes(data[:max_bytes])


def random_bytes(seed: str, max_bytes: int) -> bytes:
    """Bytes for a strategy of hypothesis: never few, because it needs some for each decision."""
    choice = random.Random(seed)
    return choice.randbytes(choice.randrange(max_bytes // 8, max_bytes + 1))


def _flip(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)


def _byte(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        data[choice.randrange(len(data))] = choice.randrange(256)


def _number(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    width = choice.choice(_WIDTHS)
    if len(data) >= width:
        at = choice.randrange(len(data) - width + 1)
        value = choice.choice(choice.choice((_ODD, _LARGE))) % 256**width
        data[at : at + width] = value.to_bytes(width, choice.choice(("little", "big")))


def _count(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    """A number that is off by a little."""
    if data:
        at = choice.randrange(len(data))
        data[at] = (data[at] + choice.choice((-2, -1, 1, 2, 16))) % 256


def _delete(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        start = choice.randrange(len(data))
        del data[start : start + _length(choice, len(data))]


def _repeat(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    if data:
        start = choice.randrange(len(data))
        part = data[start : start + _length(choice, len(data))]
        data[start:start] = part * choice.choice((1, 1, 1, 2, 8))


def _insert(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    at = choice.randrange(len(data) + 1)
    data[at:at] = choice.randbytes(choice.randrange(1, _MOST_INSERTED))


def _cut(choice: random.Random, data: bytearray, _seeds: Sequence[bytes]) -> None:
    del data[choice.randrange(len(data) + 1) :]


def _splice(choice: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = choice.choice(seeds)
    if other:
        start = choice.randrange(len(other))
        at = choice.randrange(len(data) + 1)
        part = other[start : start + _length(choice, len(other))]
        data[at : at + choice.choice((0, len(part)))] = part


def _length(choice: random.Random, most: int) -> int:
    """Mostly short, sometimes as long as can be."""
    return choice.randrange(1, max(choice.choice((4, 16, 64, most)), 2))


_CHANGES: tuple[Change, ...] = (
    _flip, _flip, _byte, _byte, _number, _number, _number, _count, _count,
    _delete, _repeat, _insert, _cut, _splice,
)  # fmt: skip
