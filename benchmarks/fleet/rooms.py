"""Many rooms that speak, over a few connections to the broker, and somebody who hears all results.

A room sends `start`, the audio in one or more chunks, and `stop`, all with QoS 1.
"""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle
from socket import socket

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.fleet.ledger import Answer, Ledger, Said
from benchmarks.harness import percentile, seconds_of
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE, Codec
from tools import mqtt_frames
from tools.clients import Address

CONNECTIONS = 8
MAX_PACKET_ID = 65_535
OPUS_KBPS = 24
READ_BYTES = 65_536
KEEP_ALIVE_S = 60
CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Speech:
    """A recording as a room sends it: chunks, each with its seconds after the start."""

    codec: Codec
    seconds: float
    chunks: tuple[tuple[float, bytes], ...]


def speeches(
    codec: Codec, chunk_s: float | None = None, recordings: Iterable[bytes] | None = None
) -> list[Speech]:
    """Recordings in real time in chunks of `chunk_s`; None: in one chunk, at once.

    `recordings`: 16-bit mono at `SAMPLE_RATE`; by default the commands of the demo.
    """
    made = []
    for pcm in recordings or [sample.pcm() for sample in SAMPLES]:
        size = 2 * int((chunk_s or seconds_of(pcm)) * SAMPLE_RATE)
        encoder = make_encoder(codec, OPUS_KBPS)
        pieces = [encoder.push(pcm[at : at + size]) for at in range(0, len(pcm), size)]
        pieces[-1] += encoder.finish()
        # A chunk is complete at its end.
        chunks = [
            ((number + 1) * chunk_s if chunk_s else 0.0, piece)
            for number, piece in enumerate(pieces)
            if piece
        ]
        made.append(Speech(codec, seconds_of(pcm), tuple(chunks)))
    return made


def mean_s(spoken: Sequence[Speech]) -> float:
    """Mean length in seconds."""
    return sum(one.seconds for one in spoken) / len(spoken)


class Rooms:
    """Speaks for rooms, on time, in a thread of its own. `base`: the base topic of the service."""

    def __init__(
        self, broker: Address, ledger: Ledger, spoken: Sequence[Speech], base: str = "stt"
    ) -> None:
        self._broker = broker
        self._ledger = ledger
        self._spoken = cycle(spoken)
        self._base = base
        self._late_s: list[float] = []
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        """Time, order, and what to do, which is told the time."""
        self._busy: set[str] = set()
        """Rooms that speak again as soon as they are answered."""
        self._orders = count()
        self._packet_ids = cycle(range(1, MAX_PACKET_ID + 1))
        self._changed = threading.Condition()
        self._over = False
        self._sockets: list[socket] = []
        self._thread = threading.Thread(target=self._run, name="rooms")
        self._subscribed = threading.Event()
        self._listener = paho.Client(CallbackAPIVersion.VERSION2)
        self._listener.on_connect = lambda client, *_: client.subscribe(f"{base}/+/result", 1)
        self._listener.on_subscribe = lambda *_: self._subscribed.set()
        self._listener.on_message = self._received

    def open(self) -> None:
        """Connect. Raises OSError or TimeoutError."""
        for number in range(CONNECTIONS):
            name = f"rooms-{self._base}-{number}"
            sock = mqtt_frames.open_connection(self._broker.host, self._broker.port, name)
            self._sockets.append(sock)
        self._listener.connect(self._broker.host, self._broker.port, KEEP_ALIVE_S)
        self._listener.loop_start()
        if not self._subscribed.wait(CONNECT_S):
            raise TimeoutError("no subscription to the results")
        self._thread.start()

    def close(self) -> None:
        """Say no more and leave the broker."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        for sock in self._sockets:
            sock.close()
        self._listener.disconnect()
        self._listener.loop_stop()

    @property
    def late_ms(self) -> float | None:
        """99 % of the packets were sent with less delay. Begins anew."""
        late_s, self._late_s = self._late_s, []
        late = percentile(late_s, 0.99)
        return None if late is None else round(1e3 * late, 1)

    def say(self, room: str, at: float | None = None, speech: Speech | None = None) -> Said:
        """Have a room speak from `at` on, now by default."""
        speech = speech or next(self._spoken)
        start_at = time.monotonic() if at is None else at
        said = self._ledger.open(room, speech.seconds)
        start = json.dumps({"id": said.id, "codec": speech.codec.value, "language": "en"}).encode()
        stop = json.dumps({"id": said.id, "chunks": len(speech.chunks)}).encode()
        pieces = [(0.0, "/start", start), *((after, "", data) for after, data in speech.chunks)]
        pieces.append((speech.chunks[-1][0], "/stop", stop))
        for after, verb, data in pieces:
            self._at(start_at + after, partial(self._send, room, verb, data))
        return said

    def keep_busy(self, rooms: Iterable[str]) -> None:
        """Have rooms speak again whenever they are answered, until `rest`."""
        new = [room for room in rooms if room not in self._busy]
        self._busy.update(new)
        for room in new:
            self.say(room)

    def rest(self) -> None:
        """Let rooms that are kept busy end what they say."""
        self._busy.clear()

    def speak(self, rooms: Sequence[str], per_s: float, seconds: float) -> float:
        """Have rooms speak by turns, so many utterances a second; when the last one begins."""
        numbers = iter(range(round(per_s * seconds)))
        begin_at = time.monotonic()

        def say_next(at: float) -> None:
            if (number := next(numbers, None)) is not None:
                self.say(rooms[number % len(rooms)], at)
                self._at(begin_at + (number + 1) / per_s, say_next)

        self._at(begin_at, say_next)
        return begin_at + seconds

    def _at(self, due_at: float, act: Callable[[float], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (due_at, next(self._orders), act))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._over and (wait_s := self._wait_s()) != 0:
                    self._changed.wait(wait_s)
                if self._over:
                    return
                due_at, _, act = heapq.heappop(self._due)
            act(due_at)

    def _wait_s(self) -> float | None:
        """Seconds until something is due; None: nothing is to come."""
        return max(self._due[0][0] - time.monotonic(), 0.0) if self._due else None

    def _send(self, room: str, verb: str, data: bytes, due_at: float) -> None:
        topic = f"{self._base}/{room}/audio{verb}"
        # Of one device all packets take one way, so that they stay in order.
        sock = self._sockets[hash(room) % len(self._sockets)]
        sock.sendall(mqtt_frames.publish(topic, data, next(self._packet_ids)))
        now = time.monotonic()
        self._late_s.append(now - due_at)
        if verb == "/stop":
            self._ledger.ended(json.loads(data)["id"], now)
            _drop_acknowledgements(sock)

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        now = time.monotonic()
        result = json.loads(message.payload)
        error = result["error"]
        kind = error["code"] if error else result["outcome"]
        answer = Answer(now, kind, result["infer_s"], result["repeated"])
        is_first = self._ledger.answered(result["id"] or "", answer)
        room = message.topic.split("/")[-2]
        if is_first and room in self._busy:
            self.say(room)


def _drop_acknowledgements(sock: socket) -> None:
    with suppress(BlockingIOError):
        sock.setblocking(False)
        while sock.recv(READ_BYTES):
            pass
    sock.settimeout(mqtt_frames.SEND_TIMEOUT_S)
