"""Rooms that speak without a pause."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.faults.ledger import Heard, Ledger, Recording, Spoken
from stt_mqtt.audio.encode import make_encoder
from stt_mqtt.types import SAMPLE_RATE, Codec
from tools.clients import Address, ask_wyoming

CHUNK_S = 0.06
"""A packet of Opus."""
OPUS_KBPS = 32
KEEP_ALIVE_S = 10
PAUSE_S = 0.3
"""Between an answer and the next utterance."""
ANSWER_S = 5.0
"""Without an answer for so long, a room says the same again under the same id."""
MAX_SAID = 40
"""So often a room says something under one id before it gives up."""
MAX_REPEATS = 20
"""Under other ids, of what was heard in part."""
RETRY_S = 1.0
CONNECT_S = 10.0
RETRY_WYOMING_S = 0.5


class Room:
    """Somebody who speaks one recording after the other, in real time, in a thread of its own."""

    over_mqtt = True

    def __init__(self, name: str, recordings: Sequence[Recording], ledger: Ledger) -> None:
        self.name = name
        self.ledger = ledger
        self._recordings = recordings
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._speak, name=name)
        self._count = 0

    def start(self) -> None:
        """Begin to speak."""
        self._thread.start()

    def stop(self) -> None:
        """Say no more. Returns at once; `join` waits for the end."""
        self._over.set()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _speak(self) -> None:
        while not self._over.wait(PAUSE_S):
            recording = self._recordings[self._count % len(self._recordings)]
            self._count += 1
            self._say(recording, f"{self.name}-{self._count}")
        self._leave()

    def _say(self, recording: Recording, id: str) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        """Called at the end."""


class NativeRoom(Room):
    """A satellite that follows docs/satellites.md, with a connection that it makes anew.

    Without an answer it says the same again under the same id. What was heard in part it says again
    under another one. `device`: its name on the broker, if it is not `name`.
    """

    codec = Codec.OPUS

    def __init__(
        self,
        name: str,
        broker: Address,
        recordings: Sequence[Recording],
        ledger: Ledger,
        device: str | None = None,
    ) -> None:
        super().__init__(name, recordings, ledger)
        self.device = device or name
        self._broker = broker
        self._idle = threading.Event()
        """The service has answered all that it has of this room."""
        self._link: _Link | None = None

    def _say(self, recording: Recording, id: str) -> None:
        if self._connected() is None:
            return
        chunks = encoded(recording.pcm, self.codec)
        spoken = self.ledger.open(self.name, id, recording)
        self._send(spoken, chunks, real_time=True)
        for number in range(1, MAX_REPEATS):
            while not self._await_answer(spoken):
                if self._connected() is None:
                    return
                if spoken.said == MAX_SAID:
                    self.ledger.lose(spoken, "no answer")
                    return
                self._send(spoken, chunks, real_time=False)
            if not spoken.answers[-1].cut or self._connected() is None:
                return
            again = self.ledger.open(self.name, f"{id}-{number}", recording, first=False)
            again.ended_at = spoken.ended_at
            spoken = again
            self._send(spoken, chunks, real_time=False)

    def _await_answer(self, spoken: Spoken) -> bool:
        """Until there is one to the whole. False: it is to be said again, or nobody answers."""
        self.ledger.await_(
            lambda: spoken.settled_at or self._idle.is_set() or not self._link_is_up(), ANSWER_S
        )
        return spoken.settled_at is not None

    def _send(self, spoken: Spoken, chunks: Sequence[tuple[float, bytes]], real_time: bool) -> None:
        link, spoken.said, began = self._link, spoken.said + 1, time.monotonic()
        self._idle.clear()
        start: dict[str, object] = {"id": spoken.id, "codec": self.codec.value}
        start |= {"rate": SAMPLE_RATE, "channels": 1, "framing": "seq32"}
        if spoken.ended_at is not None:
            start["age_ms"] = round((began - spoken.ended_at) * 1000)
        assert link is not None
        link.publish("audio/start", json.dumps(start))
        for number, (at_s, chunk) in enumerate(chunks):
            if real_time:
                # Who speaks does not notice that the connection is gone.
                time.sleep(max(began + at_s - time.monotonic(), 0.0))
            link.publish("audio", number.to_bytes(4, "little") + chunk)
        spoken.ended_at = spoken.ended_at or time.monotonic()
        link.publish("audio/stop", json.dumps({"id": spoken.id, "chunks": len(chunks)}))

    def _link_is_up(self) -> bool:
        return self._link is not None and self._link.up.is_set()

    def _connected(self) -> _Link | None:
        """The connection, made anew where needed; None: the room is to end."""
        while not self._link_is_up():
            if self._link is not None:
                self._link.close()
            self._link = None
            if self._over.is_set():
                return None
            self._link = _Link(self._broker, self.device, self._received)
            if not self._link.open():
                self._over.wait(RETRY_S)
        return self._link

    def _received(self, name: str, payload: bytes) -> None:
        if name == "state":
            if payload == b"idle":
                self._idle.set()
            return
        result = json.loads(payload)
        error = result["error"]
        heard = Heard(
            time.monotonic(),
            result["outcome"],
            result["text"],
            error and error["code"],
            result["repeated"],
            result["incomplete"],
            result["end"] == "gap",
            payload,
        )
        self.ledger.heard(self.name, result["id"], heard)

    def _leave(self) -> None:
        if self._link is not None:
            self._link.close()


class PlainRoom(NativeRoom):
    """A satellite that sends its samples as they are."""

    codec = Codec.PCM_S16LE


class _Link:
    """One connection of a satellite. Nothing of it is sent on another one."""

    def __init__(
        self, broker: Address, device: str, received: Callable[[str, bytes], None]
    ) -> None:
        self.up = threading.Event()
        self._broker = broker
        self._base = f"stt/{device}"
        client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = CONNECT_S
        client.will_set(f"{self._base}/availability", "offline", qos=1, retain=True)
        client.on_connect = self._subscribe
        client.on_subscribe = lambda *_: self.up.set()
        client.on_disconnect = lambda *_: self.up.clear()
        client.on_message = lambda _client, _data, message: received(
            message.topic.rpartition("/")[2], bytes(message.payload)
        )
        self._client = client

    def open(self) -> bool:
        """Connect; return whether the subscription was accepted in time."""
        try:
            self._client.connect(self._broker.host, self._broker.port, KEEP_ALIVE_S)
        except OSError:
            return False
        self._client.loop_start()
        if not self.up.wait(CONNECT_S):
            return False
        self.publish("availability", "online", retain=True)
        return True

    def publish(self, name: str, payload: bytes | str, retain: bool = False) -> None:
        """Send with QoS 1 while the connection is up."""
        if self.up.is_set():
            self._client.publish(f"{self._base}/{name}", payload, qos=1, retain=retain)

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        client.subscribe([(f"{self._base}/result", 1), (f"{self._base}/state", 1)])

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()
        # Without them no cycle keeps its sockets until the garbage is collected.
        self._client.on_connect = self._client.on_subscribe = None
        self._client.on_disconnect = self._client.on_message = None


class WyomingRoom(Room):
    """Home Assistant, which makes a connection for each utterance and says nothing twice."""

    over_mqtt = False

    def __init__(
        self, name: str, port: int, recordings: Sequence[Recording], ledger: Ledger
    ) -> None:
        super().__init__(name, recordings, ledger)
        self._port = port

    def _say(self, recording: Recording, id: str) -> None:
        spoken = self.ledger.open(self.name, id, recording)
        spoken.said = 1
        try:
            answer = ask_wyoming(self._port, recording.pcm, real_time=True)
        except ConnectionRefusedError:
            self.ledger.refused += 1
            self.ledger.lose(spoken, "refused")
            self._over.wait(RETRY_WYOMING_S)
            return
        except OSError as error:
            self.ledger.lose(spoken, type(error).__name__)
            return
        at = time.monotonic()
        spoken.ended_at = at - answer.latency_s
        kind = "error" if answer.error else "transcript"
        self.ledger.heard(self.name, id, Heard(at, kind, answer.text, answer.error))


@lru_cache(maxsize=256)
def encoded(pcm: bytes, codec: Codec) -> tuple[tuple[float, bytes], ...]:
    """The chunks of a recording, each with the seconds after the start at which it is sent."""
    return tuple(_chunks(pcm, codec))


def _chunks(pcm: bytes, codec: Codec) -> Iterator[tuple[float, bytes]]:
    encoder, size, at_s = make_encoder(codec, OPUS_KBPS), 2 * int(CHUNK_S * SAMPLE_RATE), 0.0
    for at in range(0, len(pcm), size):
        if data := encoder.push(pcm[at : at + size]):
            yield at_s, data
        at_s += CHUNK_S
    if data := encoder.finish():
        yield at_s, data
