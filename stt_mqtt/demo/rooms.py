"""Many rooms that speak at the same time, each its next command when the last one is answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import cycle, islice
from uuid import uuid4

from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.demo.satellite import ANSWER_TIMEOUT_S, BrokerAddress, DemoConnection, Exchange
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Inbound

COMMANDS = 3
"""Commands of each room."""
SECOND_ANSWER_S = 1.0
"""A second result for a command is waited for so long, after the first results of all."""


class Rooms:
    """`rooms` rooms on one connection. Create it inside the event loop and use it once.

    `results`: all results that came, by utterance. `online`: the service has said that it is.
    """

    def __init__(self, broker: BrokerAddress, topics: Topics, rooms: int) -> None:
        self.results: dict[str, list[Mapping[str, object]]] = defaultdict(list)
        self.online = asyncio.Event()
        self._topics = topics
        samples = cycle(SAMPLES)
        self._commands = {
            f"room-{number}": list(islice(samples, COMMANDS)) for number in range(1, rooms + 1)
        }
        self._answers: dict[str, asyncio.Future[float]] = {}
        self._state = topics.of_bridge("state")
        self._connection = DemoConnection(
            broker, (topics.of_device("+", "result"), self._state), None, self._on_message
        )

    @property
    def count(self) -> int:
        """Commands of all rooms."""
        return sum(map(len, self._commands.values()))

    async def open(self) -> None:
        """Connect. Raises `BrokerError`."""
        await self._connection.open()

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def speak(
        self, on_answer: Callable[[str, Exchange], Awaitable[None]]
    ) -> dict[str, Exchange]:
        """Say all commands. `on_answer` is called for each answer, with the id of the utterance.

        Returns the answers by utterance, in bounded time.
        """
        exchanges: dict[str, Exchange] = {}

        async def talk(room: str, samples: list[Sample]) -> None:
            for sample in samples:
                utterance = uuid4().hex
                exchanges[utterance] = await self._say(room, utterance, sample)
                await on_answer(utterance, exchanges[utterance])

        async with asyncio.TaskGroup() as group:
            for room, samples in self._commands.items():
                group.create_task(talk(room, samples))
        await asyncio.sleep(SECOND_ANSWER_S)
        return exchanges

    async def _say(self, room: str, utterance: str, sample: Sample) -> Exchange:
        """Send a recording as it is, faster than somebody speaks; return the answer."""
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._answers[utterance] = answer
        identity = {"id": utterance}
        self._publish(room, "audio/start", json.dumps({**identity, "codec": "flac"}).encode())
        self._publish(room, "audio", sample.read())
        self._publish(room, "audio/stop", json.dumps({**identity, "chunks": 1}).encode())
        stopped_at = time.monotonic()
        try:
            answered_at = await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except TimeoutError:
            return Exchange(room, sample.text, None, None)
        result = self.results[utterance][0]
        return Exchange(room, sample.text, result, max(answered_at - stopped_at, 0.0))

    def _publish(self, room: str, name: str, payload: bytes) -> None:
        self._connection.publish(self._topics.of_device(room, name), payload)

    def _on_message(self, message: Inbound, now: float) -> None:
        if message.topic == self._state:
            if message.payload == b"online":
                self.online.set()
            return
        # Any client may publish anything here.
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            result = json.loads(message.payload)
            answer = self._answers[result["id"]]
            self.results[result["id"]].append(result)
            if not answer.done():
                answer.set_result(now)
