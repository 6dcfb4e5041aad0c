"""A service without a model: says that it is online and answers every stop."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from stt_mqtt.demo.satellite import BrokerAddress, DemoConnection
from stt_mqtt.mqtt.messages import Inbound, Will

Answer = Callable[[str, str], list[bytes]]
"""The payloads on `result` for the stop of an utterance, by room and id."""


def words(_room: str, utterance: str) -> list[bytes]:
    result = {"id": utterance, "outcome": "transcript", "text": "yes", "latency_s": 0.5}
    return [json.dumps({**result, "audio_s": 1.0}).encode()]


class FakeService:
    """Hears the satellites; `heard` has the audio, `stops` what the stops said, by room."""

    def __init__(self, broker: BrokerAddress, answer: Answer) -> None:
        self.heard: dict[str, bytes] = defaultdict(bytes)
        self.chunks: dict[str, int] = defaultdict(int)
        self.starts: list[Any] = []
        self.stops: list[Any] = []
        self.availability: list[tuple[str, bytes]] = []
        self.left = asyncio.Event()
        """Set when a satellite has said that it goes."""
        self._answer = answer
        filters = ("stt/+/audio/#", "stt/+/availability")
        self._connection = DemoConnection(
            broker, filters, Will("stt/bridge/state", b""), self._hear
        )

    async def __aenter__(self) -> FakeService:
        await self._connection.open()
        self._connection.publish("stt/bridge/state", b"online", retain=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    def _hear(self, message: Inbound, _now: float) -> None:
        room, _, name = message.topic.removeprefix("stt/").partition("/")
        if name == "availability":
            self.availability.append((room, message.payload))
            if message.payload == b"offline":
                self.left.set()
        elif name == "audio":
            self.heard[room] += message.payload
            self.chunks[room] += 1
        elif name == "audio/start":
            self.starts.append(json.loads(message.payload))
        elif name == "audio/stop":
            stop = json.loads(message.payload)
            self.stops.append(stop)
            for payload in self._answer(room, stop["id"]):
                self._connection.publish(f"stt/{room}/result", payload)
