"""What programs ask: `/metrics` for Prometheus, `/healthz` and `/readyz` for supervisors."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from stt_mqtt.doors.web.parts import WebParts
from stt_mqtt.observe.prometheus import CONTENT_TYPE

NO_STORE = {"Cache-Control": "no-store"}


def routes(parts: WebParts) -> list[web.RouteDef]:
    """The routes. A problem is status 503 with one sentence."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=parts.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_request: web.Request) -> web.Response:
        return _told(parts.health(), "The service is alive.")

    async def readyz(_request: web.Request) -> web.Response:
        return _told(await parts.readiness(), "The service is ready.")

    return [
        web.get("/metrics", metrics),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
    ]


def _told(problem: str | None, otherwise: str) -> web.Response:
    status = HTTPStatus.OK if problem is None else HTTPStatus.SERVICE_UNAVAILABLE
    return web.Response(text=f"{problem or otherwise}\n", status=status, headers=NO_STORE)
