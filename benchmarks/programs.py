"""Programs that hear: each a process on the same cores, and how one speaks to it."""

from __future__ import annotations

import json
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import bench, wyoming
from benchmarks.scoring import has_words
from benchmarks.speech import Clip
from stt_mqtt.engine.models import ResolvedModel
from tools.brokers import Broker

THREADS = 2
"""Of the others; ours takes its default, a worker of one thread for each of the two cores."""
LANGUAGE = "en"
ANSWER_TIMEOUT_S = 60.0
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program made of a clip. `latency_s`: from the end mark to the answer.

    `error`: its code, where the answer is that there is none. `told_latency_s`: what the program
    itself says about it.
    """

    text: str
    latency_s: float
    error: str | None = None
    told_latency_s: float | None = None

    @property
    def has_words(self) -> bool:
        """Whether there is anything to read."""
        return has_words(self.text)


Hear = Callable[[Clip], Answer]


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs, and the rooms that speak to it, one utterance at a time each.

    `counters`: what it counts itself. `broker`: the process between it and the rooms.
    """

    process: psutil.Process
    rooms: tuple[Hear, ...]
    counters: Callable[[], dict[str, int]]
    broker: psutil.Process | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that can be started, for so many rooms."""

    name: str
    start: Callable[[int], AbstractContextManager[Program]]


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores for the program, and those for the broker and the rooms; None: any."""

    program: set[int] | None
    others: set[int] | None


def stt_mqtt(
    model: str, cores: Cores, limits: dict[str, Any], language: str = LANGUAGE
) -> Contender:
    """This project with its defaults, behind a broker; each room has a connection of its own."""

    @contextmanager
    def start(rooms: int) -> Iterator[Program]:
        engine = {"model": model}
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            running = stack.enter_context(bench.a_broker(folder, cores.others))
            topics = ("stt/bridge/state", "stt/bridge/response/health_check")
            peer = stack.enter_context(bench.a_peer(running.broker, *topics))
            process = stack.enter_context(
                bench.a_service(
                    folder, running.broker, peer, cores.program, engine=engine, limits=limits
                )
            )
            satellites = [
                stack.enter_context(a_satellite(running.broker, f"room-{number}", language))
                for number in range(rooms)
            ]

            def counters() -> dict[str, int]:
                asked = len(peer.payloads(topics[1])) + 1
                peer.publish("stt/bridge/request/health_check")
                told = peer.json(topics[1], asked)[-1]["data"]["counters"]
                return {name: count for name, count in told.items() if isinstance(count, int)}

            rooms_to_hear = tuple(satellite.hear for satellite in satellites)
            yield Program(process, rooms_to_hear, counters, running.process)

    return Contender(f"stt-mqtt, {model}", start)


def wyoming_faster_whisper(
    program: str, model: ResolvedModel, cores: Cores, language: str = LANGUAGE
) -> Contender:
    """wyoming-faster-whisper; one connection for each utterance."""

    @contextmanager
    def start(rooms: int) -> Iterator[Program]:
        options = wyoming.Options(program, model.folder, cores.program, THREADS, language)
        with (
            tempfile.TemporaryDirectory() as name,
            wyoming.a_wyoming(Path(name), options) as (process, port),
        ):

            def hear(clip: Clip) -> Answer:
                return Answer(*wyoming.speak(port, clip, language))

            yield Program(process, (hear,) * rooms, dict)

    return Contender(f"{wyoming.NAME}, {model.name}", start)


@contextmanager
def a_satellite(broker: Broker, room: str, language: str = LANGUAGE) -> Iterator[Satellite]:
    """A connected satellite."""
    satellite = Satellite(broker, room, language)
    try:
        satellite.await_subscription()
        yield satellite
    finally:
        satellite.close()


class Satellite:
    """One room: sends an utterance as fast as the broker takes it, and waits for its result."""

    def __init__(self, broker: Broker, room: str, language: str) -> None:
        self._room = room
        self._language = language
        self._spoken = 0
        self._results: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_socket_open = _send_small_packets_at_once
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = lambda _client, _data, message: self._results.put(
            (time.perf_counter(), bytes(message.payload))
        )
        client.connect(broker.host, broker.port)
        client.loop_start()
        self._client = client

    def await_subscription(self) -> None:
        """Wait until results can be heard."""
        if not self._subscribed.wait(START_TIMEOUT_S):
            raise TimeoutError(f"{self._room} could not subscribe")

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def hear(self, clip: Clip) -> Answer:
        """Speak `clip`, wait for the result. Raises `TimeoutError` if there is none."""
        self._spoken += 1
        utterance = f"{self._room}-{self._spoken}"
        self._publish("start", json.dumps({"id": utterance, "language": self._language}))
        chunks = clip.chunks
        for chunk in chunks:
            last = self._publish("", chunk)
        last.wait_for_publish(ANSWER_TIMEOUT_S)
        ended = time.perf_counter()
        self._publish("stop", json.dumps({"id": utterance, "chunks": len(chunks)}))
        while True:
            left_s = ended + ANSWER_TIMEOUT_S - time.perf_counter()
            try:
                arrived, payload = self._results.get(timeout=max(left_s, 0.0))
            except queue.Empty:
                raise TimeoutError(f"{self._room} got no result for {clip.id}") from None
            result = json.loads(payload)
            if result["id"] == utterance:
                error = result["error"] and result["error"]["code"]
                return Answer(result["text"], arrived - ended, error, result["latency_s"])

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        client.subscribe(f"stt/{self._room}/result", qos=1)

    def _publish(self, topic: str, payload: bytes | str) -> paho.MQTTMessageInfo:
        return self._client.publish(f"stt/{self._room}/audio/{topic}".rstrip("/"), payload, qos=1)


def _send_small_packets_at_once(_client: object, _data: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
