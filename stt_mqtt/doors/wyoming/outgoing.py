"""What goes to one client: never waits for it, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from wyoming.event import Event, write_event

from stt_mqtt.doors.wyoming.bounds import Bounds


@dataclass(frozen=True, slots=True)
class Peer:
    """A client at the other end. `name` selects its settings; `hang_up` ends both directions."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    hang_up: Callable[[], None]
    finishes: bool = False
    """Whether the end of its input only means that it has said everything (stdio)."""


class Outgoing:
    """Answers to one client. One that does not take them in time is cut off."""

    def __init__(self, peer: Peer, bounds: Bounds) -> None:
        self._writer = peer.writer
        self._transport = peer.writer.transport
        self._hang_up = peer.hang_up
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._written_bytes = 0
        self._finished = False
        self._stalled: asyncio.TimerHandle | None = None

    def send(self, encoded: bytes) -> None:
        """Send encoded events, unless nobody is there any more."""
        if self._finished or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() + len(encoded) > self._bounds.outgoing_bytes:
            self._hang_up()
            return
        self._writer.write(encoded)
        self._written_bytes += len(encoded)
        self._watch()

    @property
    def gone(self) -> bool:
        """Whether the client is known to have hung up in both directions.

        Over TCP that does not show before something is sent, unless it broke the connection off.
        """
        if self._transport.is_closing():
            return True
        sock = self._transport.get_extra_info("socket")
        if sock is None:
            return False
        poll = select.poll()
        # Whatever is asked for, errors and hang-ups are told.
        poll.register(sock.fileno(), 0)
        return bool(poll.poll(0))

    async def drained(self) -> None:
        """Wait while the client lags behind so far that it should not be asked for more."""
        with suppress(OSError):
            await self._writer.drain()

    def finish(self) -> None:
        """Nothing more will be sent. The client sees the end and has `linger_s` to hang up.

        Hanging up at once would take from it what it has not read yet.
        """
        if self._finished or self._transport.is_closing():
            return
        self._finished = True
        with suppress(OSError):
            self._writer.write_eof()
        self._loop.call_later(self._bounds.linger_s, self._hang_up)

    def close(self) -> None:
        """Hang up as soon as everything is sent."""
        self._finished = True
        if self._transport.get_write_buffer_size():
            self._transport.close()
        else:
            self._hang_up()

    def _watch(self) -> None:
        if self._stalled is None and self._transport.get_write_buffer_size():
            self._stalled = self._loop.call_later(
                self._bounds.write_s, self._look, self._written_bytes
            )

    def _look(self, due_bytes: int) -> None:
        self._stalled = None
        if self._written_bytes - self._transport.get_write_buffer_size() < due_bytes:
            self._hang_up()
        else:
            self._watch()


def encode(*events: Event) -> bytes:
    """Events as they go over the wire."""
    buffer = BytesIO()
    for event in events:
        write_event(event, buffer)
    return buffer.getvalue()
