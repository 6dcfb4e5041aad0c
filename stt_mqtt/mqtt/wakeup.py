"""Wakes a thread that waits in a selector."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Wakeup:
    """A socket that becomes readable when another thread calls `set`; one byte at most waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signalled = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._reader.fileno()

    def set(self) -> None:
        """Wake the waiting thread; never blocks, does nothing once closed."""
        with self._lock:
            if self._signalled:
                return
            self._signalled = True
            with suppress(OSError):
                self._writer.send(b"!")

    def clear(self) -> None:
        """Woken: be ready for the next call of `set`."""
        with self._lock:
            self._signalled = False
            with suppress(BlockingIOError):
                self._reader.recv(16)

    def close(self) -> None:
        """Release both sockets."""
        with self._lock:
            self._reader.close()
            self._writer.close()
