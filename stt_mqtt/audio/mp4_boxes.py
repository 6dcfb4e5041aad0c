"""The boxes that MP4 files are made of: a size, a name of four letters, and what is inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


def number(view: memoryview, at: int, width: int) -> int:
    """Big-endian number of `width` bytes; of bytes that are missing, something smaller."""
    return int.from_bytes(view[at : at + width], "big")


@dataclass(frozen=True, slots=True)
class Box:
    """A box within a file. `start`, `body` and `end` are places in `view`, the file."""

    view: memoryview
    name: bytes
    start: int
    body: int
    end: int

    @classmethod
    def file(cls, data: bytes) -> Box:
        """A whole file, as if it were a box around all of them."""
        return cls(memoryview(data), b"", 0, 0, len(data))

    def number(self, at: int, width: int = 4) -> int:
        """Number at a place of the content."""
        return number(self.view, self.body + at, width)

    def signed(self, at: int) -> int:
        """The same for 4 bytes with a sign."""
        return int.from_bytes(self.raw(at, 4), "big", signed=True)

    def raw(self, at: int, count: int) -> bytes:
        """Bytes at a place of the content, fewer where it ends."""
        return bytes(self.view[self.body + at : min(self.body + at + count, self.end)])

    def room(self, at: int) -> int:
        """Bytes of the content from a place on."""
        return max(self.end - self.body - at, 0)

    def children(self, name: bytes | None = None, at: int = 0) -> Iterator[Box]:
        """The boxes inside from a place of the content on: all, or those with a name.

        One that claims more than there is ends with the box around it.
        """
        start = self.body + at
        while start + 8 <= self.end:
            size, body = number(self.view, start, 4), start + 8
            if size == 1:
                size, body = number(self.view, body, 8), body + 8
            elif size == 0:
                size = self.end - start
            if size < body - start:
                return
            found = bytes(self.view[start + 4 : start + 8])
            if name is None or found == name:
                yield Box(self.view, found, start, min(body, self.end), min(start + size, self.end))
            start += size

    def child(self, *path: bytes) -> Box | None:
        """The first box of a name, in the first of another name, and so on."""
        box: Box | None = self
        for name in path:
            box = None if box is None else next(box.children(name), None)
        return box
