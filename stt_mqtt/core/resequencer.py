"""Numbered chunks put back into order: duplicates dropped, short reorderings undone."""

from __future__ import annotations

REORDER_WINDOW = 16
"""Chunks that a late one may be overtaken by and still find its place."""

MAX_JUMP = 1500
"""Largest leap in numbers that is believed: 30 s of 20 ms chunks. Beyond, the number is wrong."""


class Resequencer:
    """Orders the chunks of one utterance by their numbers, which count from 0.

    At most `REORDER_WINDOW - 1` chunks are held back.
    """

    def __init__(self) -> None:
        self._expected = 0
        self._held: dict[int, bytes] = {}
        self.held_bytes = 0
        self.lost = 0
        self.dropped = 0

    def push(self, number: int, chunk: bytes, room_bytes: int) -> list[bytes | None]:
        """Take one chunk; return what is in order now, None in the place of each lost chunk.

        `room_bytes`: how much may be held back; a chunk beyond that is dropped.
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
        """End of the utterance: all that is held, with the gaps between marked as lost.

        `sent`: how many chunks the device says it sent; those missing at the end are lost too.
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
