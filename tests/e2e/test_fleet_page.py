"""The fleet on the status page, in a real browser. The fleet itself is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Page, async_playwright, expect

from stt_mqtt.nodes import FleetStatus
from tests.browser import CHROMIUM, PHONE, QUIET_ARGUMENTS, TIMEOUT_MS, needs_chromium
from tests.doors.web.status_bench import StatusBench
from tests.fleets import WORKER, fleet_of, worker

pytestmark = needs_chromium

expect.set_options(timeout=TIMEOUT_MS)
ALONE = "No worker of the fleet is there. "


class Shown(StatusBench):
    """A service in a fleet, and its page in a browser."""

    page: Page

    def __init__(self, role: str, fleet: FleetStatus) -> None:
        super().__init__(fleet={"role": role})
        self.fleet = fleet

    def becomes(self, fleet: FleetStatus) -> None:
        """The fleet changes, and the door is told."""
        self.fleet = fleet
        self.web.changed()

    async def reads(self, *sentences: str) -> None:
        """Wait until the section of the fleet has these sentences."""
        for sentence in sentences:
            await expect(self.page.locator("#fleet")).to_contain_text(sentence)

    def look(self, test: Callable[[], Awaitable[None]], **screen: Any) -> None:
        """Open the page, run the test, and check that nothing is wider than the screen."""

        async def scenario() -> None:
            async with async_playwright() as playwright, self.serving() as url:
                browser = await playwright.chromium.launch(
                    executable_path=CHROMIUM, args=list(QUIET_ARGUMENTS)
                )
                self.page = await browser.new_page(**screen)
                self.page.set_default_timeout(TIMEOUT_MS)
                troubles: list[str] = []
                self.page.on("pageerror", lambda error: troubles.append(str(error)))
                await self.page.goto(url)
                await test()
                wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
                assert not await self.page.evaluate(wide)
                assert troubles == []
                await browser.close()

        asyncio.run(scenario())


def test_workers_come_and_go_on_the_page_of_a_gateway() -> None:
    shown = Shown("gateway", fleet_of())

    async def test() -> None:
        service = shown.page.locator("#service")
        await expect(service).to_have_text(f"{ALONE}What is said now waits.")
        await shown.reads("Fleet home: 0 workers", "Gateways: hall (this one).")
        attic = worker("attic", threads=0, busy=0, cost=0.0, model="base")
        shown.becomes(fleet_of(attic, WORKER, gateways=("hall", "office"), late=2))
        await expect(service).to_have_text("Listening")
        await shown.reads(
            "2 workers, 1 of 4 threads busy",
            "hall (this one, which speaks for all), office",
            "2 results came too late or twice",
        )
        rows = shown.page.locator("#fleet tbody tr")
        await expect(rows).to_have_count(2)
        cells = rows.nth(0).locator("th, td")
        assert await cells.all_inner_texts() == [
            "attic", "Loads its model", "", "base", "", "812 done"
        ]  # fmt: skip
        cells = rows.nth(1).locator("th, td")
        assert await cells.all_inner_texts() == [
            "cellar", "Works", "1 of 4 busy", "small.en", "8.0\u00d7 real time", "812 done"
        ]  # fmt: skip
        await expect(shown.page.locator("#figures")).to_contain_text("Nothing waits.")

    shown.look(test)


def test_on_a_phone_every_worker_fits_into_the_width() -> None:
    names = [f"worker-with-a-long-name-{number:02}" for number in range(20)]
    shown = Shown("both", fleet_of(*(worker(name, model="large-v3-turbo") for name in names)))

    async def test() -> None:
        await expect(shown.page.locator("#fleet tbody tr")).to_have_count(len(names))
        table = shown.page.locator("#fleet .scroll")
        assert await table.evaluate("table => table.scrollWidth <= table.clientWidth")

    shown.look(test, **PHONE)


def test_the_section_is_there_only_with_a_fleet_and_says_that_own_threads_do_the_work() -> None:
    shown = Shown("both", fleet_of())
    shown.fleet = None

    async def test() -> None:
        service = shown.page.locator("#service")
        await expect(service).to_have_text("Listening")
        await expect(shown.page.locator("#fleet-section")).to_be_hidden()
        shown.becomes(fleet_of())
        await shown.reads(f"{ALONE}The threads of this machine do all the work.")
        await expect(service).to_have_text("Listening")
        await expect(shown.page.locator("#figures")).to_contain_text("Model and queue")

    shown.look(test)
