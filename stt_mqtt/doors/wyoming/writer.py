"""Sends answers to one client without waiting, bounded in bytes and time."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from stt_mqtt.doors.wyoming.reader import Bounds


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. `name` is the device name; `hang_up` closes both directions.

    `finishes`: the end of its input does not mean that it disconnected (stdio).
    """

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    hang_up: Callable[[], None]
    finishes: bool = False


class EventWriter:
    """Sends encoded events. Disconnects a client that does not read them in time."""

    def __init__(self, peer: Peer, bounds: Bounds) -> None:
        self._writer = peer.writer
        self._transport = peer.writer.transport
        self._hang_up = peer.hang_up
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._written_bytes = 0
        self._finished = False
        self._timer: asyncio.TimerHandle | None = None

    def send(self, encoded: bytes) -> None:
        """Send encoded events, unless the connection is ending."""
        if self._finished or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() + len(encoded) > self._bounds.outgoing_bytes:
            self._hang_up()
            return
        self._writer.write(encoded)
        self._written_bytes += len(encoded)
        self._start_timer()

    @property
    def gone(self) -> bool:
        """Whether the client is known to have closed both directions.

        Over TCP this shows only after something was sent, unless the client reset the connection.
        """
        if self._transport.is_closing():
            return True
        sock = self._transport.get_extra_info("socket")
        if sock is None:
            return False
        poll = select.poll()
        # Errors and hang-ups are reported even for an empty event mask.
        poll.register(sock.fileno(), 0)
        return bool(poll.poll(0))

    async def drain(self) -> None:
        """Wait while too many answers are unread, so that no more input is taken."""
        with suppress(OSError):
            await self._writer.drain()

    def finish(self) -> None:
        """Close the sending direction. The client has `linger_s` to disconnect.

        Closing both directions at once would lose what the client has not read yet.
        """
        if self._finished or self._transport.is_closing():
            return
        self._finished = True
        with suppress(OSError):
            self._writer.write_eof()
        self._loop.call_later(self._bounds.linger_s, self._hang_up)

    def close(self) -> None:
        """Close as soon as everything is sent."""
        self._finished = True
        if self._transport.get_write_buffer_size():
            self._transport.close()
        else:
            self._hang_up()

    def _start_timer(self) -> None:
        if self._timer is None and self._transport.get_write_buffer_size():
            self._timer = self._loop.call_later(
                self._bounds.write_s, self._check_progress, self._written_bytes
            )

    def _check_progress(self, due_bytes: int) -> None:
        self._timer = None
        if self._written_bytes - self._transport.get_write_buffer_size() < due_bytes:
            self._hang_up()
        else:
            self._start_timer()
