"""What threads hand to the one loop of the satellite."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

MAX_FRAMES = 34
"""Frames that wait, one second; then their source has to wait."""
MAX_CALLS = 1000
"""Everything else that waits; of what comes on top messages are dropped."""

Call: TypeAlias = Callable[[], None]


class Mailbox:
    """Bounded and thread-safe. Calls overtake frames: they are few, and may be a mute."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[bytes] = deque()
        self._calls: deque[Call] = deque()
        self._closed = False

    def put_frame(self, pcm: bytes) -> bool:
        """Hand over a frame, waiting for room; False: nobody takes frames any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._frames) < MAX_FRAMES)
            if self._closed:
                return False
            self._frames.append(pcm)
            self._changed.notify_all()
            return True

    def post(self, call: Call, droppable: bool = False) -> bool:
        """Have the loop make a call; never waits. False: it is `droppable` and there is no room."""
        with self._changed:
            if droppable and len(self._calls) >= MAX_CALLS:
                return False
            self._calls.append(call)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float, frames: bool = True) -> Call | bytes | None:
        """The next call, else the next frame unless `frames` are not wanted; None: nothing came."""
        with self._changed:
            self._changed.wait_for(lambda: self._calls or (frames and self._frames), timeout_s)
            if self._calls:
                return self._calls.popleft()
            if frames and self._frames:
                self._changed.notify_all()
                return self._frames.popleft()
            return None

    @property
    def has_frames(self) -> bool:
        """Whether a frame waits."""
        with self._changed:
            return bool(self._frames)

    def close(self) -> None:
        """Take no more frames: their source must not wait for ever."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
