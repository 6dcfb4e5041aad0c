"""The state of a client that outlives its connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from stt_mqtt.mqtt.outbox import Outbox


class Wakeup:
    """A socket that becomes readable when another thread calls `set`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signalled = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The file descriptor to select on."""
        return self._reader.fileno()

    def set(self) -> None:
        """Wake the waiting thread. Never blocks; does nothing once closed."""
        with self._lock:
            if self._signalled:
                return
            self._signalled = True
            with suppress(OSError):
                self._writer.send(b"!")

    def clear(self) -> None:
        """Make the socket unreadable until the next `set`."""
        with self._lock:
            self._signalled = False
            with suppress(BlockingIOError):
                self._reader.recv(16)

    def close(self) -> None:
        """Close both sockets."""
        with self._lock:
            self._reader.close()
            self._writer.close()


HANG_S = 60.0
"""Time without a sign of life after which the network thread hangs. It gives one every second."""
CONNECT_HANG_S = 300.0
"""The same while it connects. A name look-up that fails can take minutes, and so can an attempt at
each address of the broker."""


class Heartbeat:
    """Signs of life of a thread. Its clock stops while the machine sleeps."""

    def __init__(self) -> None:
        self._due_at = float("inf")

    def beat(self, within_s: float = HANG_S) -> None:
        """The thread lives, and beats again within this time."""
        self._due_at = monotonic() + within_s

    @property
    def is_missing(self) -> bool:
        """Whether the next beat is late."""
        return monotonic() > self._due_at


@dataclass(slots=True)
class ClientState:
    """Everything that the network thread shares with other threads."""

    client_id: str
    outbox: Outbox
    wakeup: Wakeup = field(default_factory=Wakeup)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    stopping: threading.Event = field(default_factory=threading.Event)
    stop_by: float = 0.0
    filters: Mapping[str, int] = field(default_factory=dict)
    """Wanted subscriptions with their QoS. The mapping is replaced, never changed."""
    undecodable: int = 0
    """Messages dropped because a text in them is not UTF-8."""
    too_large: int = 0
    """Messages dropped while they were read, because they are over the limit."""
    reads_asked: int = 0
    """Calls of `MqttClient.read_all`."""
    reads_done: int = 0
    """Number of these calls for which everything has been read."""
