"""Writes the lines of the log in a thread of its own, so that a reader who stops stops nobody.

A write to a pipe that nobody reads, or to a terminal that is halted, does not return.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable

MAX_LINES = 4096
MAX_BYTES = 1024 * 1024
"""Most that waits, and as much again that is being written."""

_PIECE_BYTES = 64 * 1024


class LogWriter:
    """Lines to a file descriptor, in order. What finds no room is dropped and counted.

    `notice`: the line that stands where so many lines were dropped.
    """

    def __init__(
        self,
        descriptor: int,
        notice: Callable[[int], str],
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        # One of its own: the other one may be closed, and its number given to a socket.
        self._descriptor = os.dup(descriptor)
        self._notice = notice
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._writing = self._ending = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> bool:
        """Have a line written; never blocks. Returns whether nothing was waiting before it."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._changed:
            idle = self._idle
            full = len(self._lines) >= self._max_lines or self._bytes + len(data) > self._max_bytes
            # Not even a short line may stand in front of the notice.
            if full or self._dropped:
                self._dropped += 1
            else:
                self._lines.append(data)
                self._bytes += len(data)
            self._changed.notify_all()
        return idle

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is written; False: it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle, timeout_s)

    def close(self) -> None:
        """Write what waits and nothing more; does not wait for it."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    @property
    def _idle(self) -> bool:
        return not (self._lines or self._dropped or self._writing)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._ending or not self._idle)
                if self._idle:
                    break
                self._writing = True
                lines, self._lines = self._lines, deque()
                dropped, self._dropped = self._dropped, 0
                self._bytes = 0
            # What was dropped found these lines in its way.
            text = b"".join(lines)
            if dropped:
                text += self._notice(dropped).encode() + b"\n"
            self._put(text)
        os.close(self._descriptor)

    def _put(self, text: bytes) -> None:
        left = memoryview(text)
        while left:
            try:
                left = left[os.write(self._descriptor, left[:_PIECE_BYTES]) :]
            except BlockingIOError:
                # Somebody who shares the pipe or the terminal has made it so.
                ready = select.poll()
                ready.register(self._descriptor, select.POLLOUT)
                ready.poll()
            except OSError:
                # The reader has gone for good.
                return
