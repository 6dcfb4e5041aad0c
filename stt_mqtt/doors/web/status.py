"""`/events`: the snapshots of the status page as server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.doors.web.snapshot import snapshot
from stt_mqtt.doors.web.status_board import StatusBoard
from stt_mqtt.mqtt.json import encode

log = logging.getLogger(__name__)

MAX_STREAMS = 32
"""Most open pages. One more is refused, and tries again."""
MIN_INTERVAL_S = 0.5
"""Shortest time between two snapshots."""
SAMPLE_S = 5.0
"""Time between two samples of the load. Each is a snapshot, so this is also the heartbeat."""
SLOW_S = 20.0
"""Longest time that a reader may take for a snapshot. It is then disconnected."""
RETRY_MS = 2000
"""How long a browser waits before it connects again."""


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
        self.streams = 0
        """Number of open pages."""

    @property
    def routes(self) -> list[web.RouteDef]:
        """The stream of snapshots."""
        return [web.get("/events", self._events)]

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
        if self.streams >= MAX_STREAMS or self._closing:
            raise web.HTTPServiceUnavailable(
                text=f"{MAX_STREAMS} status pages are open; close one",
                headers={"Retry-After": "10"},
            )
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        self.streams += 1
        try:
            await response.prepare(request)
            await self._stream(response)
        except (ConnectionError, TimeoutError):
            # The page was closed, or reads too slowly.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.streams -= 1
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        """Send the newest snapshot again and again, each at most once."""
        if self.streams == 1:
            # Nobody looked before, so the latest snapshot is old.
            self._renew()
        await response.write(b"retry: %d\n\n" % RETRY_MS)
        sent = 0
        while not self._closing:
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
        self._fresh.set()
        self._fresh = asyncio.Event()
