"""The web door: listens on one address and serves the routes of all route modules."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web

from stt_mqtt.doors.web import assets, machines, selfcheck
from stt_mqtt.doors.web.access import Access, answer_defects
from stt_mqtt.doors.web.listener import (
    ConnectionBounds,
    WebListener,
    listening_socket,
    note_request,
)
from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.doors.web.socket import SocketBounds
from stt_mqtt.doors.web.sockets import Sockets
from stt_mqtt.doors.web.status import StatusPage

log = logging.getLogger(__name__)

Routes: TypeAlias = Callable[[WebParts], list[web.RouteDef]]

ROUTE_MODULES: tuple[Routes, ...] = (assets.routes, machines.routes, selfcheck.routes)
"""The routes of each module."""

MAX_BODY_BYTES = 16 * 1024
"""Largest body of a request. No form has more."""
SHUTDOWN_S = 1.0
"""Time for open requests to end when the door closes."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of connections, and of those that are WebSockets."""

    connections: ConnectionBounds = field(default_factory=ConnectionBounds)
    sockets: SocketBounds = field(default_factory=SocketBounds)


@dataclass(frozen=True, slots=True)
class Secrets:
    """`token`: opens the pages; None: nobody is asked for one. `tls`: the certificate; or None."""

    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None


class WebDoor:
    """Serves the pages on `web.host` and `web.port`. Runs on the event loop.

    It can be opened before a model is loaded.
    """

    def __init__(self, parts: WebParts, secrets: Secrets, bounds: Bounds | None = None) -> None:
        self._config = parts.service.config.web
        self._tls = secrets.tls
        bounds = Bounds() if bounds is None else bounds
        self._bounds = bounds.connections
        self._listener: WebListener | None = None
        """None: it does not listen."""
        self._retrying: asyncio.Task[None] | None = None
        access = Access(self._config, secrets.token, parts.clock)
        application = web.Application(
            middlewares=[note_request, answer_defects, access.guard],
            client_max_size=MAX_BODY_BYTES,
        )
        application.on_response_prepare.append(access.prepare)
        self._sockets = Sockets(parts, bounds.sockets)
        application.add_routes(access.routes())
        application.add_routes(self._sockets.routes())
        for routes in ROUTE_MODULES:
            application.add_routes(routes(parts))
        self._status = StatusPage(parts)
        application.add_routes(self._status.routes)
        application.cleanup_ctx.append(self._status.background)
        application.on_shutdown.append(self._status.close)
        self._runner = web.AppRunner(application, shutdown_timeout=SHUTDOWN_S)

    @property
    def browsers(self) -> int:
        """Number of browsers that are connected as satellites."""
        return self._sockets.count

    def changed(self) -> None:
        """Have the status page show what no observer of the service sees, such as the fleet."""
        self._status.touch()

    async def open(self) -> None:
        """Start to listen. An address that is not available is logged and tried again."""
        await self._runner.setup()
        problem = self._listen()
        if problem is not None:
            log.error(
                "the pages cannot be served on %s port %d: %s; free it, choose another web.port, "
                "or set web.enabled: false. It is tried again every %g s",
                self._config.host,
                self._config.port,
                problem,
                self._bounds.retry_s,
            )
            self._retrying = asyncio.create_task(self._retry())

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.wait({self._retrying})
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        await self._sockets.close()
        await self._runner.cleanup()
        if listener is not None:
            await listener.hang_up()

    def _listen(self) -> str | None:
        """Listen on the address. Returns why that is not possible; None: it is."""
        try:
            listening = listening_socket(self._config)
        except OSError as error:
            return error.strerror or str(error)
        assert self._runner.server is not None
        self._listener = WebListener(listening, self._tls, self._bounds)
        self._listener.open(self._runner.server)
        log.info("the pages are at %s", self._config.url)
        return None

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.retry_s)
            if self._listen() is None:
                return
