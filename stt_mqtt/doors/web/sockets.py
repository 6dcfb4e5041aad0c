"""The WebSockets of browsers: which are admitted, and their end when the service stops."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase

from aiohttp import web

from stt_mqtt.doors.native.topics import BRIDGE, is_device
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.doors.web.places import Places, address_of
from stt_mqtt.doors.web.socket import BrowserSocket, SocketBounds, WebSocket
from stt_mqtt.doors.web.socket_messages import (
    BUSY,
    PROTOCOL,
    STARTING,
    STOPPING,
    Farewell,
    room_refused,
)
from stt_mqtt.observe.metrics import DropReason


class Sockets:
    """Serves `/ws?room=<device>`. Runs on the event loop."""

    def __init__(self, parts: WebParts, bounds: SocketBounds) -> None:
        self._parts = parts
        self._bounds = bounds
        self._places = Places(self._bounds.sockets, self._bounds.of_one_address)
        self._open: set[BrowserSocket] = set()
        self._closing = False
        self._empty = asyncio.Event()
        """Set while no browser is connected."""
        self._empty.set()

    @property
    def count(self) -> int:
        """Number of connected browsers."""
        return len(self._open)

    def routes(self) -> list[web.RouteDef]:
        """The address of the WebSocket."""
        return [web.get("/ws", self._connect, allow_head=False)]

    async def close(self) -> None:
        """Send what waits, and close all sockets. Takes a bounded time."""
        self._closing = True
        for browser in list(self._open):
            browser.finish(STOPPING)
        try:
            async with asyncio.timeout(self._bounds.close_s):
                await self._empty.wait()
        except TimeoutError:
            for browser in list(self._open):
                browser.cut()

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        config = self._parts.service.config
        frame_bytes = min(self._bounds.frame_bytes, config.mqtt.max_payload_kib * 1024)
        socket = WebSocket(self._bounds, frame_bytes)
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        if PROTOCOL not in {name.strip() for name in offered.split(",")}:
            raise web.HTTPBadRequest(text=f"The WebSocket sub-protocol {PROTOCOL} is needed.\n")
        if not socket.can_prepare(request):
            raise web.HTTPBadRequest(text="This address is for WebSockets only.\n")
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        room = request.query.get("room", "")
        browser = BrowserSocket(room, socket, transport, self._parts, self._bounds)
        refusal = self._refusal(room)
        address = address_of(transport.get_extra_info("peername"))
        if refusal is None and not self._places.take(
            address, browser, lambda: browser.finish(BUSY)
        ):
            self._parts.service.metrics.drop(DropReason.TOO_MANY_CONNECTIONS)
            refusal = BUSY
        if refusal is not None:
            await browser.refuse(refusal)
            return socket
        self._open.add(browser)
        self._empty.clear()
        try:
            await browser.serve()
        finally:
            self._places.leave(browser)
            self._open.discard(browser)
            if not self._open:
                self._empty.set()
        return socket

    def _refusal(self, room: str) -> Farewell | None:
        """Why a browser may not connect; None: it may."""
        if self._closing:
            return STOPPING
        if not is_device(room) or room == BRIDGE:
            return room_refused("a room has 1 to 64 of A-Z a-z 0-9 _ . -")
        patterns = self._parts.service.config.web.rooms
        if not any(fnmatchcase(room, pattern) for pattern in patterns):
            return room_refused("web.rooms of the service does not list this room")
        return None if self._parts.online.is_set() else STARTING
