"""The web door of a service whose broker and model the test plays, on a free port."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from stt_mqtt.doors.web.door import Bounds, Secrets, WebDoor
from stt_mqtt.doors.web.socket_messages import PROTOCOL
from tests.doors.native.peers import Wire
from tests.doors.web.parts import web_parts
from tools.brokers import free_port

TOKEN = "correct-horse-battery-staple"
PATIENCE_S = 60.0


class Site:
    """The web door, with a service behind it."""

    def __init__(
        self,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        bounds: Bounds | None = None,
        **config: Any,
    ) -> None:
        web = {"port": free_port(), **config.pop("web", {})}
        self.port: int = web["port"]
        self.wire = Wire(web=web, **config)
        self.online = asyncio.Event()
        self.online.set()
        self.rearmed = 0
        self.problem: str | None = None
        """Why it is neither alive nor ready."""
        parts = web_parts(
            self.wire,
            online=self.online,
            rearm_timer=self._rearm,
            health=lambda: self.problem,
            readiness=self._readiness,
        )
        self.door = WebDoor(parts, Secrets(token, tls), bounds)
        self.scheme = "http" if tls is None else "https"

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def _readiness(self) -> str | None:
        return self.problem

    def _rearm(self) -> None:
        self.rearmed += 1


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    """The open door, and a browser that keeps cookies and follows no redirect by itself."""
    await site.door.open()
    try:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            yield session
    finally:
        await site.door.close()


class Browser:
    """A WebSocket as a page has it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        """Everything that came, in order."""

    @property
    def transport(self) -> asyncio.Transport:
        """The connection itself."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        return connection.transport

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_json({"type": kind, **fields})

    async def say(self, audio: bytes) -> None:
        await self.socket.send_bytes(audio)

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these types."""
        while True:
            message = await self.socket.receive(PATIENCE_S)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            fields: dict[str, Any] = json.loads(message.data)
            self.told.append(fields)
            if fields["type"] in kinds:
                return fields

    async def state(self, state: str) -> None:
        """Wait until the device is in this state."""
        while (await self.next("state"))["state"] != state:
            pass

    async def end(self) -> tuple[int, str]:
        """Wait for the end of the connection; return the close code and the reason."""
        while True:
            message = await self.socket.receive(PATIENCE_S)
            if message.type is aiohttp.WSMsgType.TEXT:
                self.told.append(json.loads(message.data))
            elif message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            else:
                return self.socket.close_code or 0, ""


@asynccontextmanager
async def browser(
    session: aiohttp.ClientSession, site: Site, room: str = "tablet", **options: Any
) -> AsyncIterator[Browser]:
    """A browser that has connected as a room."""
    async with session.ws_connect(
        site.url(f"/ws?room={room}"), protocols=(PROTOCOL,), autoping=True, **options
    ) as socket:
        yield Browser(socket)


async def until(condition: Any) -> None:
    """Wait for what happens in the service."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
