from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from stt_mqtt.doors.web import selfcheck
from stt_mqtt.doors.web.selfcheck import MIN_INTERVAL_S
from stt_mqtt.mqtt.json import Json
from tests.doors.native.peers import Wire
from tests.doors.web.parts import web_parts
from tests.fakes import FakeClock

REPORT: Json = {"version": "1", "date": "now", "checks": []}


class Page:
    """The route with a self-check that the test makes."""

    def __init__(self, check: Callable[[], Awaitable[Json]] | None) -> None:
        self.clock = FakeClock()
        parts = web_parts(Wire(), clock=self.clock, self_check=check)
        application = web.Application()
        application.add_routes(selfcheck.routes(parts))
        self.client = TestClient(TestServer(application))

    async def post(self) -> tuple[int, Any]:
        async with self.client.post("/selfcheck") as response:
            body = await response.json() if response.status != 404 else None
            return response.status, body


async def good() -> Json:
    return REPORT


def test_the_report_is_the_answer() -> None:
    async def scenario() -> None:
        page = Page(good)
        async with page.client:
            assert await page.post() == (200, REPORT)

    asyncio.run(scenario())


def test_the_next_one_has_to_wait() -> None:
    async def scenario() -> None:
        page = Page(good)
        async with page.client:
            assert (await page.post())[0] == 200
            page.clock.advance(MIN_INTERVAL_S - 4)
            async with page.client.post("/selfcheck") as response:
                assert response.status == 429
                assert response.headers["Retry-After"] == "4"
            page.clock.advance(4)
            assert (await page.post())[0] == 200

    asyncio.run(scenario())


def test_only_one_is_made_at_a_time() -> None:
    async def scenario() -> None:
        begun, end = asyncio.Event(), asyncio.Event()

        async def slow() -> Json:
            begun.set()
            await end.wait()
            return REPORT

        page = Page(slow)
        async with page.client:
            first = asyncio.create_task(page.post())
            await begun.wait()
            status, answer = await page.post()
            assert status == 429
            assert "try again" in answer["error"]
            end.set()
            assert await first == (200, REPORT)

    asyncio.run(scenario())


def test_one_that_fails_does_not_block_the_next_one() -> None:
    async def scenario() -> None:
        calls = 0

        async def fails_once() -> Json:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("broken")
            return REPORT

        page = Page(fails_once)
        async with page.client:
            async with page.client.post("/selfcheck") as response:
                assert response.status == 500
            page.clock.advance(MIN_INTERVAL_S)
            assert (await page.post())[0] == 200

    asyncio.run(scenario())


def test_without_a_self_check_there_is_no_route() -> None:
    async def scenario() -> None:
        page = Page(None)
        async with page.client:
            assert (await page.post())[0] == 404

    asyncio.run(scenario())
