"""Clients of the three doors that take speech: each speaks a recording and waits for its text."""

from __future__ import annotations

import json
import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from stt_mqtt.types import SAMPLE_RATE
from tools.words import words

CONNECT_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0
PEEK_BYTES = 65536
WYOMING_TIMEOUT_S = 180.0
"""A server that hears one after the other lets the last of many rooms wait for all others."""
CHUNK_S = 1.0
"""Of audio that is sent as fast as it is taken."""
REAL_TIME_CHUNK_S = 0.032
MAX_WRONG = 20
"""Wrong answers that are remembered one by one."""

START_TOPIC = "hermes/asr/startListening"
STOP_TOPIC = "hermes/asr/stopListening"
TEXT_TOPIC = "hermes/asr/textCaptured"
WYOMING_AUDIO = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}


class Address(Protocol):
    """Where a broker listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `latency_s`: from the end mark to the answer; `error`: a code, no text.

    `result`: all of the native door's message.
    """

    text: str
    latency_s: float
    error: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


Hear = Callable[[bytes], Answer]
"""Speaks 16-bit mono at `SAMPLE_RATE`. Raises TimeoutError if there is no answer."""


def answer_of(hear: Hear, pcm: bytes) -> Answer:
    """The answer; `no_answer` is the error if none comes."""
    asked = time.perf_counter()
    try:
        return hear(pcm)
    except TimeoutError:
        return Answer("", time.perf_counter() - asked, "no_answer")


class _MqttClient:
    """A connection of its own that queues what comes on one topic."""

    def __init__(self, broker: Address, topic: str) -> None:
        self._arrived: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        subscribed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_socket_open = _send_small_packets_at_once
        client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _client, _data, message: self._arrived.put(
            (time.perf_counter(), bytes(message.payload))
        )
        client.connect(broker.host, broker.port)
        client.loop_start()
        self._client = client
        if not subscribed.wait(CONNECT_TIMEOUT_S):
            self.close()
            raise TimeoutError(f"no subscription to {topic}")

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes | str) -> paho.MQTTMessageInfo:
        """Send with QoS 1."""
        return self._client.publish(topic, payload, qos=1)

    def await_answer(self, key: str, value: str, ended: float) -> tuple[dict[str, Any], float]:
        """The JSON message whose `key` is `value`, and the seconds from `ended` to it."""
        while True:
            left_s = ended + ANSWER_TIMEOUT_S - time.perf_counter()
            try:
                arrived, payload = self._arrived.get(timeout=max(left_s, 0.0))
            except queue.Empty:
                raise TimeoutError(f"no answer to {value}") from None
            message: dict[str, Any] = json.loads(payload)
            if message.get(key) == value:
                return message, arrived - ended


def _send_small_packets_at_once(_client: object, _data: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class NativeClient(_MqttClient):
    """A satellite on `stt/<device>/`; in real time or as fast as the broker takes it."""

    def __init__(
        self, broker: Address, device: str, language: str = "en", *, real_time: bool = False
    ) -> None:
        super().__init__(broker, f"stt/{device}/result")
        self._device = device
        self._language = language
        self._real_time = real_time
        self._spoken = 0

    def hear(self, pcm: bytes) -> Answer:
        """Speak one utterance."""
        self._spoken += 1
        utterance = f"{self._device}-{self._spoken}"
        topic = f"stt/{self._device}/audio"
        self.publish(f"{topic}/start", json.dumps({"id": utterance, "language": self._language}))
        step_s = REAL_TIME_CHUNK_S if self._real_time else CHUNK_S
        size = 2 * int(step_s * SAMPLE_RATE)
        chunks = [pcm[at : at + size] for at in range(0, len(pcm), size)]
        due = time.perf_counter()
        for chunk in chunks:
            if self._real_time:
                due += step_s
                time.sleep(max(due - time.perf_counter(), 0.0))
            sent = self.publish(topic, chunk)
        sent.wait_for_publish(ANSWER_TIMEOUT_S)
        ended = time.perf_counter()
        self.publish(f"{topic}/stop", json.dumps({"id": utterance, "chunks": len(chunks)}))
        result, latency_s = self.await_answer("id", utterance, ended)
        error = result["error"] and result["error"]["code"]
        return Answer(result["text"], latency_s, error, result)


def answers_of_rooms(
    broker: Address, recordings: Sequence[bytes], rooms: int, *, real_time: bool = False
) -> list[Answer]:
    """The answers to recordings that so many native satellites speak at once, in their order.

    Each speaks the next one as soon as it has its answer.
    """
    answers: list[Answer] = [Answer("", 0.0)] * len(recordings)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(recordings)):
        waiting.put(number)

    def speak(room: int) -> None:
        client = NativeClient(broker, f"room-{room}", real_time=real_time)
        with closing(client), suppress(queue.Empty):
            while True:
                number = waiting.get_nowait()
                answers[number] = answer_of(client.hear, recordings[number])

    with ThreadPoolExecutor(rooms) as pool:
        list(pool.map(speak, range(rooms)))
    return answers


class HermesClient(_MqttClient):
    """A Rhasspy satellite with a dialogue manager: one session for each command."""

    def __init__(self, broker: Address, site: str) -> None:
        super().__init__(broker, TEXT_TOPIC)
        self._site = site
        self._spoken = 0

    def hear(self, pcm: bytes) -> Answer:
        """Speak one command."""
        self._spoken += 1
        session = f"{self._site}-{self._spoken}"
        who = {"siteId": self._site, "sessionId": session}
        self.publish(START_TOPIC, json.dumps({**who, "stopOnSilence": False}))
        sent = self.publish(f"hermes/audioServer/{self._site}/audioFrame", wav(pcm))
        sent.wait_for_publish(ANSWER_TIMEOUT_S)
        ended = time.perf_counter()
        self.publish(STOP_TOPIC, json.dumps(who))
        message, latency_s = self.await_answer("sessionId", session, ended)
        return Answer(message["text"], latency_s)


def ask_wyoming(port: int, pcm: bytes, language: str = "en", *, real_time: bool = False) -> Answer:
    """Speak to a Wyoming server on loopback as Home Assistant does: one connection each.

    In real time, it notices an error while it speaks.
    Raises OSError if it cannot be reached, or leaves without an answer.
    """
    step_s = REAL_TIME_CHUNK_S if real_time else CHUNK_S
    size = 2 * int(step_s * SAMPLE_RATE)
    start = wyoming_event("transcribe", {"language": language})
    start += wyoming_event("audio-start", WYOMING_AUDIO)
    with socket.create_connection(("127.0.0.1", port), WYOMING_TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(start)
        due = time.perf_counter()
        for at in range(0, len(pcm), size):
            if real_time:
                due += step_s
                time.sleep(max(due - time.perf_counter(), 0.0))
                if _has_error(sock):
                    break
            sock.sendall(wyoming_event("audio-chunk", WYOMING_AUDIO, pcm[at : at + size]))
        else:
            sock.sendall(wyoming_event("audio-stop", {}))
        ended = time.perf_counter()
        with sock.makefile("rb") as stream:
            while line := stream.readline():
                header = json.loads(line)
                data = stream.read(header.get("data_length") or 0)
                stream.read(header.get("payload_length") or 0)
                if header["type"] not in {"transcript", "error"}:
                    continue
                latency_s = time.perf_counter() - ended
                fields = {**header.get("data", {}), **json.loads(data or b"{}")}
                if header["type"] == "error":
                    return Answer("", latency_s, str(fields.get("code")))
                return Answer(str(fields["text"]), latency_s)
    raise ConnectionError("the server closed the connection without a transcript")


def _has_error(sock: socket.socket) -> bool:
    """Whether the event `error` is among those that wait to be read."""
    readable, _, _ = select.select([sock], [], [], 0.0)
    return bool(readable) and b'"type": "error"' in sock.recv(PEEK_BYTES, socket.MSG_PEEK)


def wyoming_event(kind: str, data: object, payload: bytes = b"") -> bytes:
    """An event as the wyoming library writes it, whatever is in it."""
    body = json.dumps(data).encode()
    header: dict[str, object] = {"type": kind, "version": "1.8.0", "data_length": len(body)}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + body + payload


def wav(pcm: bytes) -> bytes:
    """16-bit mono at `SAMPLE_RATE` with the classic header of 44 bytes."""
    layout = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    return riff(b"fmt " + struct.pack("<I", 16) + layout, b"data", len(pcm)) + pcm


def riff(chunks: bytes, name: bytes, size: int) -> bytes:
    """The head of a WAV file up to the content of its last chunk, `name` with `size` bytes."""
    body = b"WAVE" + chunks + name + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", (len(body) + size) & 0xFFFFFFFF) + body


@contextmanager
def one_client_a_door(broker: Address, wyoming_port: int) -> Iterator[dict[str, Hear]]:
    """A client at each door, by the door's name."""
    native, hermes = NativeClient(broker, "kitchen"), HermesClient(broker, "den")
    try:
        yield {
            "native": native.hear,
            "hermes": hermes.hear,
            "wyoming": lambda pcm: ask_wyoming(wyoming_port, pcm),
        }
    finally:
        native.close()
        hermes.close()


@dataclass(slots=True)
class Tally:
    """What the client of one door got. `right`: answers with the very words."""

    asked: int = 0
    right: int = 0
    latency_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def ask(self, hear: Hear, text: str, pcm: bytes) -> None:
        """Speak a recording of `text` and note what came back."""
        self.asked += 1
        try:
            answer = hear(pcm)
        except OSError as error:
            what = type(error).__name__
        else:
            self.latency_s.append(round(answer.latency_s, 4))
            what = answer.error or answer.text
            if answer.error is None and words(answer.text) == words(text):
                self.right += 1
                return
        self.wrong = [*self.wrong, f"{text}: {what}"][:MAX_WRONG]


@contextmanager
def speaking(
    clients: Mapping[str, Hear], recordings: Sequence[tuple[str, bytes]]
) -> Iterator[dict[str, Tally]]:
    """All clients speak, one recording (text, PCM) after the other, until the block ends."""
    tallies = {name: Tally() for name in clients}
    over = threading.Event()

    def speak(name: str, hear: Hear) -> None:
        while not over.is_set():
            for text, pcm in recordings:
                tallies[name].ask(hear, text, pcm)
                if over.is_set():
                    return

    threads = [threading.Thread(target=speak, args=client) for client in clients.items()]
    for thread in threads:
        thread.start()
    try:
        yield tallies
    finally:
        over.set()
        for thread in threads:
            thread.join()
