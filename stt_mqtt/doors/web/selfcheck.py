"""The self-check: the same report as `stt-mqtt doctor`, about the service that runs."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil, inf

from aiohttp import web

from stt_mqtt.doors.web.parts import WebParts

PATH = "/selfcheck"
MIN_INTERVAL_S = 10.0
"""Shortest time from the end of a self-check to the next one. Each takes 0.5 s of CPU time."""


def routes(parts: WebParts) -> list[web.RouteDef]:
    """`POST selfcheck`, unless the application has no self-check."""
    return [] if parts.self_check is None else [web.post(PATH, _SelfCheck(parts).answer)]


class _SelfCheck:
    """Makes one self-check at a time. Runs on the event loop."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._is_running = False
        self._ended_at = -inf

    async def answer(self, _request: web.Request) -> web.Response:
        """The report as JSON, or 429 if one is being made or was made a moment ago."""
        check, now = self._parts.self_check, self._parts.clock.now
        assert check is not None
        wait_s = MIN_INTERVAL_S if self._is_running else self._ended_at + MIN_INTERVAL_S - now()
        if wait_s > 0:
            return web.json_response(
                {"error": f"a self-check was made a moment ago; try again in {wait_s:.0f} s"},
                status=HTTPStatus.TOO_MANY_REQUESTS,
                headers={"Retry-After": str(ceil(wait_s))},
            )
        self._is_running = True
        try:
            return web.json_response(await check())
        finally:
            self._is_running = False
            self._ended_at = now()
