"""Puts numbered chunks back into order and drops duplicates."""

from __future__ import annotations

REORDER_WINDOW = 16
"""How many later chunks may arrive before a chunk that still finds its place."""

MAX_JUMP = 1500
"""Largest gap in numbers that counts as loss: 30 s of 20 ms chunks. A larger one is an error."""


class Resequencer:
    """Orders the chunks of one utterance by their numbers, which start at 0.

    At most `REORDER_WINDOW - 1` chunks are held back.
    """

    def __init__(self) -> None:
        self._expected = 0
        self._held: dict[int, bytes] = {}
        self.held_bytes = 0
        self.lost = 0
        self.dropped = 0

    def push(self, number: int, chunk: bytes, room_bytes: int) -> list[bytes | None]:
        """Add one chunk. Return the chunks that are now in order, with None for each lost one.

        `room_bytes`: most bytes that may be held back. A chunk beyond that is dropped.
        """
        ahead = number - self._expected
        if ahead < 0 or number in self._held or ahead > MAX_JUMP:
            self.dropped += 1
            return []
        if ahead == 0:
            self._expected += 1
            return [chunk, *self._drain()]
        ready: list[bytes | None] = []
        while number - self._expected >= REORDER_WINDOW:
            ready.append(self._take_next())
        ready.extend(self._drain())
        if number == self._expected:
            self._expected += 1
            return [*ready, chunk, *self._drain()]
        if self.held_bytes + len(chunk) > room_bytes:
            self.dropped += 1
            return ready
        self._held[number] = chunk
        self.held_bytes += len(chunk)
        return ready

    def flush(self, sent: int | None = None) -> list[bytes | None]:
        """Return all chunks that are held back, with None for each lost one.

        `sent`: number of chunks that the device sent. Those missing at the end count as lost.
        """
        ready: list[bytes | None] = []
        while self._held:
            ready.append(self._take_next())
        missing_at_end = min(max((sent or 0) - self._expected, 0), MAX_JUMP)
        self.lost += missing_at_end
        self._expected += missing_at_end
        return ready + [None] * missing_at_end

    def _take_next(self) -> bytes | None:
        chunk = self._held.pop(self._expected, None)
        self._expected += 1
        if chunk is None:
            self.lost += 1
        else:
            self.held_bytes -= len(chunk)
        return chunk

    def _drain(self) -> list[bytes | None]:
        ready: list[bytes | None] = []
        while self._expected in self._held:
            ready.append(self._take_next())
        return ready
