"""Several gateways with real doors, a broker and a bucket whose order the test knows.

Everything runs in virtual time. Each gateway gets the messages of the broker in one order, but at
its own pace.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from stt_mqtt.config import Config
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.bridge import Bridge
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.doors.native.instances import Instance
from stt_mqtt.fleet.members import Members, MembersCallbacks
from stt_mqtt.fleet.ring import Ring, decode_message
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.types import Batch
from tests.doors.native.peers import CALLBACKS
from tests.fakes import engine_facts, heard

RING = "stt/bridge/fleet"
CHUNK = bytes(320)
INFER_S = 0.2
TICK_S = 0.05


async def until(happened: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait, in virtual time."""
    async with asyncio.timeout(within_s):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)


class LoopClock:
    """The clock of the virtual loop, as a process sees it that may stand still."""

    stopped_at: float | None = None

    def now(self) -> float:
        return (
            1000.0 + asyncio.get_running_loop().time()
            if self.stopped_at is None
            else self.stopped_at
        )

    def epoch(self) -> float:
        return 1_795_000_000.0 + self.now()


@dataclass
class Link:
    """Hands over messages in order, each after a while. It can stand still."""

    handle: Callable[[Any], None]
    pace: Random
    slowest_s: float
    waiting: deque[Any] = field(default_factory=deque)
    is_open: bool = True
    stands_still: bool = False
    drops: int = 0
    """So many of the next messages are lost, as where a queue is full."""

    def put(self, item: Any) -> None:
        if self.drops:
            self.drops -= 1
        elif self.is_open:
            self.waiting.append(item)
            self._later()

    def _later(self) -> None:
        delay_s = self.pace.uniform(0.0, self.slowest_s)
        asyncio.get_running_loop().call_later(delay_s, self.pump)

    def pump(self) -> None:
        while self.waiting and self.is_open and not self.stands_still:
            self.handle(self.waiting.popleft())

    def thaw(self) -> None:
        self.stands_still = False
        self._later()

    def close(self) -> None:
        self.is_open = False
        self.waiting.clear()


class Gateway:
    """One gateway: its members, service and native door."""

    def __init__(self, house: House, name: str) -> None:
        self.name = name
        self.house = house
        self.is_dead = self.is_frozen = self.has_no_nats = self.is_stopping = False
        self.error: Exception | None = None
        self.clock = LoopClock()
        self.members = Members("home", name, self, self.clock)
        config = Config.model_validate(house.config)
        self.service = SpeechService(config, engine_facts(), self.clock, house.new_id)
        self.service.attach_pool(self, Capacity(workers=2, max_batch=1))
        self.bridge = Bridge(
            self.service, self.clock, self.publish, CALLBACKS, Instance("ours", self.members)
        )
        self.door = NativeDoor(
            self.service, self.bridge, self.publish, self.clock.now, self.members
        )
        self.members.observe(self, MembersCallbacks(self.say, lambda: None, self._stop_with_error))
        self.broker = Link(self.door.handle, house.pace, house.slowest_s)
        self.bucket = Link(self._entered, house.pace, house.slowest_s)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.house.gateways[self.name] = self
        self.began_at = self.clock.now()
        await self.members.open()
        self._tasks.append(asyncio.create_task(self._tick()))
        if not self.has_no_nats and not self.house.nats_is_down:
            self.reach_nats()
        self.connect()

    # The broker.

    def connect(self) -> None:
        self.broker.is_open = True
        for topic, payload in self.house.retained.items():
            self.broker.put(Inbound(topic, payload, qos=1, retain=True))
        self.door.on_connected()

    def lose_broker(self) -> None:
        self.broker.close()
        self.house.wills.append(self.name)
        self.door.on_disconnected()
        self.house.publish("stt/bridge/state", b"offline", retain=True)

    def publish(self, item: Publication) -> None:
        if self.broker.is_open and not self.is_dead:
            self.house.publish(item.topic, item.payload, item.retain, self.name)

    def say(self, payload: bytes, retain: bool) -> None:
        self.publish(Publication(RING, payload, retain=retain))

    def ownership_changed(self, lost: bool) -> None:
        self.door.ownership_changed(lost)

    def speak(self) -> None:
        self.bridge.announce()

    # The bucket.

    def reach_nats(self) -> None:
        self.has_no_nats = False
        self.bucket.is_open = True
        for name, data in self.house.entries.items():
            self.bucket.put((name, data))
        self.bucket.put(None)

    def lose_nats(self) -> None:
        self.has_no_nats = True
        self.bucket.close()

    def _entered(self, item: tuple[str, bytes | None] | None) -> None:
        if item is None:
            self.members.reached()
        else:
            self._handle_entry(*item)

    async def say_gateway(self, data: bytes) -> None:
        await until(lambda: not self.is_frozen, 1000.0)
        if not self.is_dead and not self.has_no_nats and not self.house.nats_is_down:
            self.house.put(self.name, data)

    async def leave_gateway(self) -> None:
        if not self.has_no_nats and not self.house.nats_is_down:
            self.house.put(self.name, None)

    async def watch_gateways(self, handle: Callable[[str, bytes | None], None]) -> None:
        self._handle_entry = handle

    # The model.

    def submit(self, batch: Batch) -> None:
        asyncio.get_running_loop().call_later(INFER_S, self._answer, batch)

    def _answer(self, batch: Batch) -> None:
        if self.is_dead:
            return
        if self.is_frozen:
            asyncio.get_running_loop().call_later(TICK_S, self._answer, batch)
            return
        for index in range(len(batch.utterances)):
            self.service.verdict(batch.number, index, heard())
        self.service.finished(batch.number)

    # Life and death.

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if not self.is_frozen:
                self.service.tick()
                self.members.tick()

    def freeze(self) -> None:
        self.clock.stopped_at = self.clock.now()
        self.is_frozen = self.broker.stands_still = self.bucket.stands_still = True

    def thaw(self) -> None:
        self.is_frozen, self.clock.stopped_at = False, None
        self.broker.thaw()
        self.bucket.thaw()

    def kill(self, says_will: bool = True) -> None:
        self.is_dead = True
        self.broker.close()
        self.bucket.close()
        self.house.remove(self)
        for task in self._tasks:
            task.cancel()
        asyncio.get_running_loop().create_task(self.members.close())
        if says_will:
            self.house.publish("stt/bridge/state", b"offline", retain=True)

    async def stop(self) -> None:
        """As `Application` does on SIGTERM."""
        if await self.members.leave(2.0):
            with suppress(TimeoutError):
                await until(lambda: not any(one.listening for one in self.service.registry), 10.0)
        self.service.shut_down()
        await until(lambda: self.service.scheduler.drained)
        self.broker.pump()
        self.service.abandon()
        self.bridge.say_offline()
        await self.members.close()
        self.kill(says_will=False)

    def _stop_with_error(self, error: Exception) -> None:
        self.error = error


class House:
    """The broker, the bucket, the gateways and the satellites."""

    def __init__(self, pace: int = 0, slowest_s: float = 0.03) -> None:
        self.pace = Random(pace)
        self.slowest_s = slowest_s
        self.config: dict[str, Any] = {"limits": {"max_utterance_s": 30}}
        self.gateways: dict[str, Gateway] = {}
        self.others: list[Gateway] = []
        """Processes whose name another one has taken."""
        self.parts: tuple[tuple[str, ...], ...] = ()
        """The gateways that see each other in the bucket. Empty: all."""
        self.entries: dict[str, bytes] = {}
        self.retained: dict[str, bytes] = {}
        self.published: list[tuple[str | None, str, bytes]] = []
        """Who published what, in the order of the broker. None: a satellite or the broker."""
        self.wills: list[str] = []
        self.nats_is_down = False
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"made-{self._ids}"

    async def join(self, name: str, **state: bool) -> Gateway:
        gateway = Gateway(self, name)
        if name in self.gateways:
            self.others.append(self.gateways[name])
        gateway.has_no_nats = state.get("has_no_nats", False)
        await gateway.start()
        return gateway

    def remove(self, gateway: Gateway) -> None:
        if gateway in self.others:
            self.others.remove(gateway)
        elif self.gateways.get(gateway.name) is gateway:
            del self.gateways[gateway.name]

    def publish(
        self, topic: str, payload: bytes, retain: bool = False, by: str | None = None
    ) -> None:
        self.published.append((by, topic, payload))
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        if not topic.startswith("homeassistant"):
            for gateway in (*self.gateways.values(), *self.others):
                gateway.broker.put(Inbound(topic, payload, qos=1))

    def put(self, name: str, data: bytes | None) -> None:
        if data is None:
            self.entries.pop(name, None)
        else:
            self.entries[name] = data
        for gateway in (*self.gateways.values(), *self.others):
            if not gateway.has_no_nats and self._sees(gateway.name, name):
                gateway.bucket.put((name, data))

    def _sees(self, one: str, other: str) -> bool:
        return not self.parts or any(one in part and other in part for part in self.parts)

    def divide(self, *parts: tuple[str, ...]) -> None:
        """Divide the servers of the bucket. Without parts they are one again."""
        self.parts = parts

    def lose_nats(self) -> None:
        self.nats_is_down = True
        for gateway in self.gateways.values():
            gateway.bucket.close()

    def restore_nats(self) -> None:
        """The server comes back without a memory."""
        self.nats_is_down = False
        self.entries.clear()
        for gateway in self.gateways.values():
            if not gateway.has_no_nats:
                gateway.reach_nats()

    # What satellites do.

    def start(self, device: str, id: str) -> None:
        self.publish(f"stt/{device}/audio/start", json.dumps({"id": id}).encode())

    def chunk(self, device: str) -> None:
        self.publish(f"stt/{device}/audio", CHUNK)

    def stop(self, device: str, id: str) -> None:
        self.publish(f"stt/{device}/audio/stop", json.dumps({"id": id}).encode())

    async def speak(self, device: str, id: str, seconds: float = 0.4) -> None:
        self.start(device, id)
        for _ in range(4):
            await asyncio.sleep(seconds / 4)
            self.chunk(device)
        self.stop(device, id)

    # What can be seen.

    @property
    def ring(self) -> Ring:
        message = decode_message(self.retained[RING])
        assert isinstance(message, Ring)
        return message

    @property
    def rings(self) -> list[Ring]:
        found = [decode_message(item) for _, topic, item in self.published if topic == RING]
        return [message for message in found if isinstance(message, Ring)]

    @property
    def leaders(self) -> list[str]:
        return sorted(name for name, one in self.gateways.items() if one.members.leads)

    def results(self, id: str) -> list[dict[str, Any]]:
        """The results of an utterance, without those that a satellite does not act upon."""
        found = [
            {**json.loads(item), "by": by}
            for by, topic, item in self.published
            if topic.endswith("/result")
        ]
        return [
            one
            for one in found
            if one["id"] == id and not one["incomplete"] and not one["repeated"]
        ]

    def said(self, topic: str) -> list[tuple[str | None, bytes]]:
        return [(by, payload) for by, name, payload in self.published if name == topic]

    async def settle(self, *names: str, within_s: float = 15.0) -> None:
        """Wait until these gateways, and no others, share the names."""
        await until(lambda: self.is_settled(names), within_s)

    async def settle_without(self, absent: str, *names: str) -> None:
        """Wait until these gateways share the names, whatever one that stands still believes."""
        others = [one for name, one in self.gateways.items() if name != absent]
        await until(lambda: self.ring.gateways == names and self.ring.leaving == ())
        await until(lambda: all(one.members.gateways == names for one in others))

    def is_settled(self, names: tuple[str, ...]) -> bool:
        wanted = tuple(sorted(names))
        rings = {one.members.gateways for one in self.gateways.values()}
        is_said = RING in self.retained and self.ring.leaving == ()
        return rings == {wanted} and is_said and len(self.leaders) == 1

    async def close(self) -> None:
        for gateway in list(self.gateways.values()):
            gateway.kill(says_will=False)
        await asyncio.sleep(0)
