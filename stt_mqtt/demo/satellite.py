"""Simulated satellites, which send speech in real time and wait for the results."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeAlias
from uuid import uuid4

from stt_mqtt.config import MqttConfig, Protocol
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Inbound, Publication, Will
from stt_mqtt.types import SAMPLE_RATE

CONNECT_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 2.0
CHUNK_S = 0.032
CHUNK_BYTES = int(CHUNK_S * SAMPLE_RATE) * 2
SERVICE_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 60.0
"""Longest wait for the result of one command."""
START = {"codec": "pcm_s16le", "rate": SAMPLE_RATE, "channels": 1}
PAUSE_S = 3.0
"""Pause between an answer and the next command of a room."""
STAGGER_S = 0.9
"""Delay between the first commands of two rooms, so that they overlap but start separately."""

OnMessage: TypeAlias = Callable[[Inbound, float], None]
"""Called on the event loop with a message and its time of arrival (`time.monotonic`)."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Host and port of a broker."""

    host: str
    port: int


class DemoConnection(ClientListener):
    """An MQTT client for an event loop. Create it inside the loop and use it once."""

    def __init__(
        self,
        broker: BrokerAddress,
        filters: tuple[str, ...],
        will: Will | None,
        on_message: OnMessage,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connected = asyncio.Event()
        self._on_message = on_message
        self._client = MqttClient(
            ClientOptions(
                # The embedded broker supports no newer version.
                config=MqttConfig(protocol=Protocol.V311),
                host=broker.host,
                port=broker.port,
                will=will,
                subscriptions=filters,
            )
        )

    async def open(self) -> None:
        """Connect and subscribe. Raises `BrokerError` after `CONNECT_TIMEOUT_S`."""
        self._client.start(self)
        try:
            await asyncio.wait_for(self._connected.wait(), CONNECT_TIMEOUT_S)
        except TimeoutError:
            raise BrokerError(
                f"the broker did not let a client in within {CONNECT_TIMEOUT_S:g} s"
            ) from None

    def publish(self, topic: str, payload: bytes = b"", retain: bool = False) -> None:
        """Publish with QoS 1, so that start, chunks and stop keep their order."""
        self._client.publish(Publication(topic, payload, retain=retain))

    async def close(self) -> None:
        """Send queued messages, then disconnect. Does not raise."""
        await asyncio.to_thread(self._client.flush, CLOSE_TIMEOUT_S)
        await asyncio.to_thread(self._client.stop, CLOSE_TIMEOUT_S)

    # In the network thread -----------------------------------------------------------------

    def connected(self, protocol: str) -> None:  # noqa: ARG002
        """The broker accepted the connection."""
        self._call(self._connected.set)

    def disconnected(self, reason: str) -> None:
        """The connection was lost. The client reconnects by itself."""

    def message(self, message: Inbound) -> None:
        """A message was received."""
        now = time.monotonic()
        self._call(lambda: self._on_message(message, now))

    def _call(self, call: Callable[[], object]) -> None:
        # The event loop may have ended before the network thread.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A command and its result. `latency_s`: from the stop to the result."""

    room: str
    said: str
    result: Mapping[str, object] | None
    """The `result` message; None: there was none in time."""
    latency_s: float | None

    @property
    def transcribed(self) -> bool:
        """Whether the result is a transcript."""
        return self.result is not None and self.result.get("outcome") == "transcript"


class DemoSatellite:
    """The satellite of one room. An asynchronous context manager, which connects on entry."""

    def __init__(self, room: str, broker: BrokerAddress, topics: Topics) -> None:
        self._room = room
        self._topics = topics
        self._service_online = asyncio.Event()
        self._answers: dict[str, asyncio.Future[tuple[Mapping[str, object], float]]] = {}
        self._connection = DemoConnection(
            broker,
            (self._topic("result"), topics.of_bridge("state")),
            Will(self._topic("availability"), b"offline"),
            self._on_message,
        )

    async def __aenter__(self) -> Self:
        """Connect and wait for the service. Raises `BrokerError` without a broker or service."""
        try:
            await self._connection.open()
            await asyncio.wait_for(self._service_online.wait(), SERVICE_TIMEOUT_S)
        except TimeoutError:
            await self._connection.close()
            raise BrokerError("the service has not said that it is online") from None
        except BaseException:
            await self._connection.close()
            raise
        self._connection.publish(self._topic("availability"), b"online", retain=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Publish `offline` and disconnect."""
        self._connection.publish(self._topic("availability"), b"offline", retain=True)
        await self._connection.close()

    async def say(self, text: str, pcm: bytes) -> Exchange:
        """Send `pcm` (16-bit little-endian mono at `SAMPLE_RATE`) in real time; return the answer.

        `text` is its transcript.
        """
        utterance = uuid4().hex
        answer = asyncio.get_running_loop().create_future()
        self._answers[utterance] = answer
        self._publish("audio/start", {"id": utterance, **START})
        chunks = await self._stream(pcm)
        stopped_at = time.monotonic()
        self._publish("audio/stop", {"id": utterance, "chunks": chunks})
        try:
            result, answered_at = await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except TimeoutError:
            return Exchange(self._room, text, None, None)
        finally:
            del self._answers[utterance]
        # A refused start is answered before the command has been sent.
        return Exchange(self._room, text, result, max(answered_at - stopped_at, 0.0))

    async def _stream(self, pcm: bytes) -> int:
        """Send each chunk at the time of its last sample; return the number of chunks."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        chunks = [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]
        for chunk in chunks:
            due += CHUNK_S
            await asyncio.sleep(max(due - loop.time(), 0.0))
            self._connection.publish(self._topic("audio"), chunk)
        return len(chunks)

    def _on_message(self, message: Inbound, now: float) -> None:
        if message.topic == self._topics.of_bridge("state"):
            if message.payload == b"online":
                self._service_online.set()
            return
        # Any client may publish anything here.
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            result = json.loads(message.payload)
            answer = self._answers[result["id"]]
            if not answer.done():
                answer.set_result((result, now))

    def _topic(self, name: str) -> str:
        return self._topics.of_device(self._room, name)

    def _publish(self, name: str, fields: Mapping[str, object]) -> None:
        self._connection.publish(self._topic(name), json.dumps(fields).encode())


async def speak(
    broker: BrokerAddress, topics: Topics, on_answer: Callable[[Exchange], None]
) -> list[Exchange]:
    """Send all samples, with a satellite per room. `on_answer` is called for each answer.

    Returns the answers in the order of the samples, in bounded time. Raises `BrokerError` if a
    satellite finds no broker or no service.
    """
    by_room: dict[str, list[Sample]] = {}
    for sample in SAMPLES:
        by_room.setdefault(sample.room, []).append(sample)

    async def room(number: int, samples: Sequence[Sample]) -> list[Exchange]:
        spoken = [(sample.text, await asyncio.to_thread(sample.pcm)) for sample in samples]
        exchanges: list[Exchange] = []
        async with DemoSatellite(samples[0].room, broker, topics) as satellite:
            await asyncio.sleep(number * STAGGER_S)
            for text, pcm in spoken:
                if exchanges:
                    await asyncio.sleep(PAUSE_S)
                exchange = await satellite.say(text, pcm)
                on_answer(exchange)
                exchanges.append(exchange)
        return exchanges

    rooms = [asyncio.create_task(room(*item)) for item in enumerate(by_room.values())]
    try:
        return [exchange for task in rooms for exchange in await task]
    finally:
        for task in rooms:
            task.cancel()
        await asyncio.gather(*rooms, return_exceptions=True)
