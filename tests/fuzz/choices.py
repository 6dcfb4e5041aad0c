"""Decisions from the bytes of a case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Takes numbers from the end of the bytes and data from the beginning, as libFuzzer does.

    So a seed can be a file, with random bytes behind it. After the last byte, everything is 0.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._start = 0
        self._end = len(data)

    def __bool__(self) -> bool:
        """Whether bytes are left."""
        return self._start < self._end

    def number(self, most: int) -> int:
        """A number from 0 to `most`."""
        value = 0
        span = most
        while span:
            value = value << 8 | self._byte()
            span >>= 8
        return value % (most + 1)

    def flag(self) -> bool:
        """True or false."""
        return bool(self._byte() & 1)

    def rarely(self) -> bool:
        """True in one of sixteen cases."""
        return self._byte() % 16 == 15

    def pick(self, options: Sequence[T]) -> T:
        """One of these."""
        return options[self.number(len(options) - 1)]

    def take(self, most: int) -> bytes:
        """Up to so many bytes."""
        size = min(self.number(most), self._end - self._start)
        taken = self._data[self._start : self._start + size]
        self._start += size
        return taken

    def rest(self) -> bytes:
        """All bytes that are left."""
        taken = self._data[self._start : self._end]
        self._start = self._end
        return taken

    def _byte(self) -> int:
        if self._start >= self._end:
            return 0
        self._end -= 1
        return self._data[self._end]
