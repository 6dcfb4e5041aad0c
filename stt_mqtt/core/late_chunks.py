"""Chunks that come too late must not open an utterance of their own."""

from __future__ import annotations

LATE_CHUNK_WINDOW_S = 0.3
"""How long after a stop or abort chunks are taken for stragglers of what ended."""


class LateChunkFilter:
    """Whether chunks that find no open utterance are dropped. Times are monotonic seconds."""

    __slots__ = ("_pause_s", "_until", "_waiting_for_pause_since")

    def __init__(self) -> None:
        self._until = float("-inf")
        self._pause_s = 0.0
        self._waiting_for_pause_since: float | None = None

    def for_stragglers(self, since: float) -> None:
        """Drop chunks for a moment after a stop or abort."""
        self._until = since + LATE_CHUNK_WINDOW_S
        self._waiting_for_pause_since = None

    def until_pause(self, now: float, pause_s: float) -> None:
        """Drop chunks until none came for `pause_s`: after a cap or a refused start."""
        self._waiting_for_pause_since = now
        self._pause_s = pause_s

    def end(self) -> None:
        """Hear again at once: a start came."""
        self._until = float("-inf")
        self._waiting_for_pause_since = None

    def drops_chunk(self, now: float) -> bool:
        """Whether a chunk that comes now is dropped."""
        if self._waiting_for_pause_since is not None:
            if now - self._waiting_for_pause_since < self._pause_s:
                self._waiting_for_pause_since = now
                return True
            self._waiting_for_pause_since = None
        return now < self._until
