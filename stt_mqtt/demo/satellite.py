"""A simulated satellite: speaks in real time, as a microphone would, and waits for the words."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

from stt_mqtt.demo.connection import BrokerAddress, DemoConnection
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import BrokerError
from stt_mqtt.mqtt.messages import Inbound, Will
from stt_mqtt.types import SAMPLE_RATE

CHUNK_S = 0.032
CHUNK_BYTES = int(CHUNK_S * SAMPLE_RATE) * 2
SERVICE_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 60.0
"""Longest wait for the result of one command."""

START = {"codec": "pcm_s16le", "rate": SAMPLE_RATE, "channels": 1}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command and what came back. `latency_s`: from sending the stop to having the result."""

    room: str
    said: str
    result: Mapping[str, object] | None
    """The `result` message; None: none came in time."""
    latency_s: float | None

    @property
    def transcribed(self) -> bool:
        """Whether words came back."""
        return self.result is not None and self.result.get("outcome") == "transcript"


class DemoSatellite:
    """One room, as an asynchronous context manager: inside it is connected."""

    def __init__(self, room: str, broker: BrokerAddress, topics: Topics) -> None:
        self._room = room
        self._topics = topics
        self._service_online = asyncio.Event()
        self._answers: dict[str, asyncio.Future[tuple[Mapping[str, object], float]]] = {}
        self._connection = DemoConnection(
            broker,
            (self._topic("result"), topics.of_bridge("state")),
            Will(self._topic("availability"), b"offline"),
            self._hear,
        )

    async def __aenter__(self) -> Self:
        """Connect and wait for the service. Raises `BrokerError` if one of them is not there."""
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
        """Say goodbye and disconnect."""
        self._connection.publish(self._topic("availability"), b"offline", retain=True)
        await self._connection.close()

    async def say(self, text: str, pcm: bytes) -> Exchange:
        """Speak `pcm` (16-bit little-endian, mono, `SAMPLE_RATE`) in real time; return the answer.

        `text` is what is said in it.
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
        # A refused start is answered while the command is still being spoken.
        return Exchange(self._room, text, result, max(answered_at - stopped_at, 0.0))

    async def _stream(self, pcm: bytes) -> int:
        """Send every chunk when its last sample has been spoken; return how many there were."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        chunks = [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]
        for chunk in chunks:
            due += CHUNK_S
            await asyncio.sleep(max(due - loop.time(), 0.0))
            self._connection.publish(self._topic("audio"), chunk)
        return len(chunks)

    def _hear(self, message: Inbound, now: float) -> None:
        if message.topic == self._topics.of_bridge("state"):
            if message.payload == b"online":
                self._service_online.set()
            return
        # Others may publish here too, and anything.
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            result = json.loads(message.payload)
            answer = self._answers[result["id"]]
            if not answer.done():
                answer.set_result((result, now))

    def _topic(self, name: str) -> str:
        return self._topics.of_device(self._room, name)

    def _publish(self, name: str, fields: Mapping[str, object]) -> None:
        self._connection.publish(self._topic(name), json.dumps(fields).encode())
