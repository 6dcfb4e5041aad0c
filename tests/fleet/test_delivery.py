"""Requests for jobs, where a real server does not do what the test wants at the right moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.fleet.delivery import SILENCE_S, WITHDRAWAL_S, Delivery, Pull
from stt_mqtt.fleet.link import ApiError, Server
from stt_mqtt.fleet.stores import Stores
from tests.virtual_time import run_in_virtual_time


class FakeLink:
    """A server of a version, which does nothing by itself."""

    def __init__(self, version: tuple[int, int] = (2, 12)) -> None:
        self.server = Server("nats", version, 1024)
        self.refused = None
        self.sent: list[dict[str, Any]] = []
        self.asked: dict[str, Any] = {}
        self.receive: Callable[[Msg], None] = lambda _: None
        self.drained: Callable[[], Coroutine[Any, Any, None]] = lambda: asyncio.sleep(0)
        """What happens while a subscription is drained."""
        self.ended = 0

    def inbox(self) -> str:
        return "inbox"

    async def subscribe(self, subject: str, handle: Callable[[Msg], None]) -> str:
        self.receive = handle
        return subject

    async def unsubscribe(self, subscription: str) -> None:
        self.ended += 1

    async def drain(self, subscription: str) -> None:
        await self.drained()

    async def publish(self, subject: str, data: bytes, reply: str) -> None:
        self.sent.append(json.loads(data))

    async def api(self, subject: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        self.asked[subject] = fields
        if ".INFO." in subject:
            raise ApiError(10059, "stream not found")
        fields = fields or {}
        return {"created": "now", "config": fields.get("config", fields)}

    def status(self, code: str) -> None:
        self.receive(Msg(Client(), subject="inbox", headers={"Status": code}))

    def deliver(self) -> None:
        reply = "$JS.ACK.STT_home_JOBS.workers.1.7.7.1700000000000000000.0"
        self.receive(Msg(Client(), subject="stt.home.job", reply=reply, data=b"job"))


class Puller:
    """Who pulls, and what it was told."""

    def __init__(self, link: FakeLink, count: int = 1, priorities: bool = True) -> None:
        self.came: list[Delivery] = []
        self.ends: list[float] = []
        self.refusals: list[float] = []
        # It has what a pull needs.
        self.stores = Stores(link, FleetConfig(), 60.0)  # type: ignore[arg-type]
        self.stores.priorities = priorities
        loop = asyncio.get_running_loop()
        self.pull = Pull(
            self.stores,
            count,
            self.came.append,
            lambda: self.ends.append(loop.time()),
            lambda: self.refusals.append(loop.time()),
        )


def run(scenario: Callable[[FakeLink], Coroutine[Any, Any, None]]) -> None:
    run_in_virtual_time(scenario(FakeLink()))


def test_a_request_that_the_server_has_forgotten_is_over() -> None:
    async def scenario(link: FakeLink) -> None:
        puller = Puller(link)
        await puller.pull.send(0)
        await asyncio.sleep(2 * SILENCE_S)
        link.status("100")
        assert not puller.ends
        await asyncio.sleep(10 * SILENCE_S)
        assert len(puller.ends) == len(puller.refusals) == 1
        assert puller.ends[0] <= 6 * SILENCE_S
        assert link.ended == 1

    run(scenario)


def test_a_refused_request_is_over_a_little_later() -> None:
    async def scenario(link: FakeLink) -> None:
        puller = Puller(link)
        await puller.pull.send(0)
        link.status("409")
        assert puller.refusals == [0.0]
        assert not puller.ends
        await asyncio.sleep(1.0)
        assert puller.ends == [0.5]

    run(scenario)


@pytest.mark.parametrize("status", ["404", "408"])
def test_a_request_whose_life_is_over_was_not_refused(status: str) -> None:
    async def scenario(link: FakeLink) -> None:
        puller = Puller(link)
        await puller.pull.send(0)
        link.status(status)
        link.status("409")
        link.deliver()
        assert (puller.ends, puller.refusals, puller.came) == ([0.0], [], [])

    run(scenario)


def test_who_wants_several_asks_first_for_what_waits_and_then_for_the_next_one() -> None:
    async def scenario(link: FakeLink) -> None:
        puller = Puller(link, count=4)
        await puller.pull.send(99)
        assert link.sent == [{"batch": 4, "no_wait": True, "group": "jobs", "priority": 9}]
        link.status("404")
        await asyncio.sleep(0.0)
        assert link.sent[1]["batch"] == 1
        assert link.sent[1]["expires"] == 30_000_000_000
        link.deliver()
        assert (len(puller.came), len(puller.ends)) == (1, 1)

    run(scenario)


def test_who_got_some_of_several_asks_for_no_more() -> None:
    async def scenario(link: FakeLink) -> None:
        puller = Puller(link, count=4)
        await puller.pull.send(0)
        link.deliver()
        link.status("404")
        await asyncio.sleep(0.0)
        assert (len(puller.came), len(puller.ends), len(link.sent)) == (1, 1, 1)

    run(scenario)


def test_what_was_sent_to_a_request_before_it_is_withdrawn_still_comes() -> None:
    async def scenario(link: FakeLink) -> None:
        async def late() -> None:
            link.deliver()
            link.status("404")

        puller = Puller(link, count=4)
        await puller.pull.send(0)
        link.drained = late
        await puller.pull.withdraw()
        await puller.pull.withdraw()
        link.deliver()
        assert (len(puller.came), len(puller.ends), len(link.sent)) == (1, 1, 1)

    run(scenario)


def test_a_request_for_several_that_is_withdrawn_does_not_wait_for_the_next_one() -> None:
    async def scenario(link: FakeLink) -> None:
        async def late() -> None:
            link.status("404")

        puller = Puller(link, count=4)
        await puller.pull.send(0)
        link.drained = late
        await puller.pull.withdraw()
        await asyncio.sleep(1.0)
        assert (puller.ends, len(link.sent)) == ([0.0], 1)

    run(scenario)


def test_a_request_ends_even_if_its_withdrawal_does_not() -> None:
    async def scenario(link: FakeLink) -> None:
        puller = Puller(link)
        await puller.pull.send(0)
        link.drained = asyncio.Event().wait  # type: ignore[assignment]
        await puller.pull.withdraw()
        assert puller.ends == [WITHDRAWAL_S]

    run(scenario)


def test_a_server_without_priorities_is_asked_for_none() -> None:
    async def scenario(link: FakeLink) -> None:
        await Puller(link, priorities=False).pull.send(3)
        assert link.sent[0].keys() == {"batch", "expires", "idle_heartbeat"}

    run(scenario)


@pytest.mark.parametrize(("version", "knows"), [((2, 11), False), ((2, 12), True), ((3, 0), True)])
def test_only_new_servers_are_given_priorities(version: tuple[int, int], knows: bool) -> None:
    async def scenario() -> None:
        link = FakeLink(version)
        stores = Stores(link, FleetConfig(), 60.0)  # type: ignore[arg-type]
        await stores.make()
        consumer = link.asked["CONSUMER.CREATE.STT_home_JOBS.workers"]["config"]
        assert ("priority_groups" in consumer) is stores.priorities is knows

    run_in_virtual_time(scenario())
