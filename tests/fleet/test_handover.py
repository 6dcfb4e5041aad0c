"""No utterance is lost or doubled, whatever gateways do, unless its own gateway dies."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fleet.gateways import Gateway, House
from tests.thorough import examples
from tests.virtual_time import run_in_virtual_time

GATEWAYS = ("a", "b", "c")
DEVICES = ("attic", "bath", "cellar", "den", "entry", "foyer")
PATIENCE_S = 15.0


@dataclass(frozen=True)
class Event:
    """Something that happens to a gateway, and how long it is until the next one."""

    what: str
    gateway: str
    then_s: float


events = st.builds(
    Event,
    st.sampled_from(["join", "stop", "kill", "lose power", "freeze", "cut", "drop", "lose nats"]),
    st.sampled_from(GATEWAYS),
    st.sampled_from([0.0, 0.02, 0.3, 0.7, 2.0, 4.5]),
)


class Story:
    """A house in which devices speak all the time, while things happen to its gateways."""

    def __init__(self, seed: int) -> None:
        self.house = House(seed)
        self.pace = Random(seed)
        self.excused: set[str] = set()
        """Utterances of a gateway that died, or that nobody could take."""
        self.asked: dict[str, str] = {}
        """The device of each utterance."""
        self._of: defaultdict[str, set[str]] = defaultdict(set)
        """The utterances that each gateway may have."""
        self._stopping: list[asyncio.Task[None]] = []

    async def run(self, happenings: list[Event]) -> None:
        for name in ("a", "b"):
            await self.house.join(name)
        await self.house.settle("a", "b")
        speaking = [asyncio.create_task(self._speak_for_ever(device)) for device in DEVICES]
        for event in happenings:
            await self._happen(event)
            await asyncio.sleep(event.then_s)
        await self._calm_down()
        await asyncio.sleep(PATIENCE_S)
        for task in speaking:
            task.cancel()
        await asyncio.sleep(PATIENCE_S)
        self._check()
        await self.house.close()

    async def _speak_for_ever(self, device: str) -> None:
        number = 0
        while True:
            number += 1
            id = f"{device}-{number}"
            self.asked[id] = device
            owner = self.house.ring.owner(device)
            gateway = self.house.gateways.get(owner or "")
            if gateway is None or not gateway.broker.is_open or self._has_no_name_yet(gateway):
                self.excused.add(id)
            else:
                self._of[gateway.name].add(id)
            await self.house.speak(device, id, self.pace.choice([0.05, 0.4, 1.5]))
            await asyncio.sleep(self.pace.choice([0.0, 0.3, 1.0]))

    def _has_no_name_yet(self, gateway: Gateway) -> bool:
        """Whether it is in the ring only because the process before it was."""
        return not gateway.members.is_member and gateway.clock.now() - gateway.began_at < 4.0

    async def _happen(self, event: Event) -> None:
        house, gateway = self.house, self.house.gateways.get(event.gateway)
        if event.what == "join" and gateway is None:
            await house.join(event.gateway)
        elif event.what == "lose nats":
            house.restore_nats() if house.nats_is_down else house.lose_nats()
        elif gateway is None or gateway.is_stopping:
            return
        elif event.what == "stop" and not gateway.is_frozen:
            gateway.is_stopping = True
            self._stopping.append(asyncio.create_task(gateway.stop()))
        elif event.what in {"kill", "lose power"}:
            self._excuse(event.gateway)
            gateway.kill(says_will=event.what == "kill")
        elif event.what == "freeze":
            gateway.thaw() if gateway.is_frozen else gateway.freeze()
        elif event.what == "cut":
            gateway.reach_nats() if gateway.has_no_nats else gateway.lose_nats()
        elif event.what == "drop" and not gateway.is_frozen:
            self._excuse(event.gateway)
            gateway.lose_broker()
            await asyncio.sleep(0.5)
            gateway.connect()

    def _excuse(self, gateway: str) -> None:
        self.excused |= {id for id in self._of[gateway] if not self.house.results(id)}

    def _was_shut_down(self, id: str) -> bool:
        """Whether the last gateway ended in the middle of an utterance, and said so."""
        said = self.house.said(f"stt/{self.asked[id]}/result")
        return any(json.loads(item)["id"] == id and b"shut" in item for _, item in said)

    async def _calm_down(self) -> None:
        """Everything is repaired, and one gateway at least is there."""
        house = self.house
        for gateway in house.gateways.values():
            if gateway.is_frozen:
                gateway.thaw()
            if gateway.has_no_nats:
                gateway.has_no_nats = False
                if not house.nats_is_down:
                    gateway.reach_nats()
        if house.nats_is_down:
            house.restore_nats()
        await asyncio.gather(*self._stopping)
        if not house.gateways:
            await house.join("a")

    def _check(self) -> None:
        house = self.house
        assert all(gateway.error is None for gateway in house.gateways.values())
        assert house.is_settled(tuple(house.gateways))
        assert house.retained["stt/bridge/state"] == b"online"
        for id in self.asked:
            results = house.results(id)
            assert len(results) <= 1, (id, results)
            assert results or id in self.excused or self._was_shut_down(id), id
        for device in DEVICES:
            assert house.retained[f"stt/{device}/state"] == b"idle"


@example(0, [Event("drop", "b", 0.3), Event("stop", "b", 0.0)])
@given(st.integers(0, 2**20), st.lists(events, max_size=10))
@settings(max_examples=examples(8), deadline=None)
def test_every_utterance_gets_one_result_whatever_happens_to_other_gateways(
    seed: int, happenings: list[Event]
) -> None:
    run_in_virtual_time(Story(seed).run(happenings))
