"""`/events`: the snapshots of the status page as server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from stt_mqtt.core.background import hang_up
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.doors.web.places import Places, address_of
from stt_mqtt.doors.web.snapshot import snapshot
from stt_mqtt.doors.web.status_board import StatusBoard
from stt_mqtt.mqtt.json import encode

log = logging.getLogger(__name__)

MAX_STREAMS, MAX_STREAMS_OF_ONE = 32, 16
"""Most open pages, and most of one address. One more is refused, and tries again."""
MIN_INTERVAL_S = 0.5
"""Shortest time between two snapshots."""
SAMPLE_S = 5.0
"""Time between two samples of the load. Each is a snapshot, so this is also the heartbeat."""
SLOW_S = 20.0
"""Longest time that a reader may take for a snapshot. It is then disconnected."""
RETRY_MS = 2000
"""How long a reader should wait before it connects again."""


class _Page:
    """An open page. `is_displaced`: another address needs its place."""

    def __init__(self) -> None:
        self.is_displaced = False


class StatusPage:
    """Keeps the evidence, and sends a snapshot to every open page when something has changed.

    A slow reader misses snapshots, and then gets the newest one.
    """

    def __init__(self, parts: WebParts) -> None:
        self._board = StatusBoard(parts, self.touch, lambda: self.streams)
        self._touched = asyncio.Event()
        self._fresh = asyncio.Event()
        """Set when there is a new snapshot, and replaced by a new event."""
        self._latest = b""
        self._number = 0
        """Number of the latest snapshot; 0: there is none yet."""
        self._closing = False
        self._places = Places(MAX_STREAMS, MAX_STREAMS_OF_ONE)

    @property
    def streams(self) -> int:
        """Number of open pages."""
        return len(self._places)

    @property
    def routes(self) -> list[web.RouteDef]:
        """The stream of snapshots."""
        # A HEAD would be answered with a stream.
        return [web.get("/events", self._events, allow_head=False)]

    def touch(self) -> None:
        """There is something new to show."""
        self._touched.set()

    async def background(self, _application: web.Application) -> AsyncIterator[None]:
        """Sample and send while the door is open."""
        tasks = [asyncio.create_task(self._sample()), asyncio.create_task(self._publish())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def close(self, _application: web.Application) -> None:
        """End all streams."""
        self._closing = True
        self._fresh.set()

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._closing:
            raise _refusal("The service is stopping.")
        page, transport = _Page(), request.transport
        peername = None if transport is None else transport.get_extra_info("peername")
        if not self._places.take(address_of(peername), page, lambda: self._displace(page)):
            raise _refusal(
                f"Too many status pages are open: at most {MAX_STREAMS}, and {MAX_STREAMS_OF_ONE} "
                "of one address. Close one."
            )
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        try:
            await response.prepare(request)
            await self._stream(response, page)
        except (ConnectionError, TimeoutError):
            # The page was closed, or reads too slowly.
            if request.transport is not None:
                hang_up(request.transport)
        finally:
            self._places.leave(page)
        return response

    async def _stream(self, response: web.StreamResponse, page: _Page) -> None:
        """Send the newest snapshot again and again, each at most once."""
        if self.streams == 1:
            # Nobody looked before, so the latest snapshot is old.
            self._renew()
        await response.write(b"retry: %d\n\n" % RETRY_MS)
        sent = 0
        while not (self._closing or page.is_displaced):
            fresh = self._fresh
            if sent != self._number:
                sent = self._number
                async with asyncio.timeout(SLOW_S):
                    await response.write(self._latest)
            else:
                await fresh.wait()

    async def _sample(self) -> None:
        while True:
            try:
                self._board.sample()
            except Exception:
                log.exception("the load could not be sampled, please report this")
            await asyncio.sleep(SAMPLE_S)

    async def _publish(self) -> None:
        while True:
            await self._touched.wait()
            self._touched.clear()
            if self.streams:
                try:
                    self._renew()
                except Exception:
                    log.exception("the status could not be collected, please report this")
            await asyncio.sleep(MIN_INTERVAL_S)

    def _renew(self) -> None:
        """Collect a new snapshot and wake the streams."""
        self._latest = b"data: %b\n\n" % encode(snapshot(self._board))
        self._number += 1
        self._wake()

    def _displace(self, page: _Page) -> None:
        page.is_displaced = True
        self._wake()

    def _wake(self) -> None:
        self._fresh.set()
        self._fresh = asyncio.Event()


def _refusal(sentence: str) -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(text=f"{sentence}\n", headers={"Retry-After": "10"})
