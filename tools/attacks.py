"""Hostile bytes on the Wyoming port and the Hermes topics, one thread for each attack.

As a program: prints `ready`, attacks for some seconds after a line on standard input, ends the
Hermes sessions that it opened and prints one line of JSON about what it did. After another line it
closes what it still holds open.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count, cycle
from typing import Any, Protocol, TypeAlias

from stt_mqtt.types import SAMPLE_RATE
from tools import mqtt_frames
from tools.clients import (
    START_TOPIC,
    STOP_TOPIC,
    TEXT_TOPIC,
    WYOMING_AUDIO,
    Address,
    riff,
    wav,
    wyoming_event,
)
from tools.processes import Child, a_child

TIMEOUT_S = 2.0
RETRY_S = 0.5
"""How long after a failure an attack begins again."""
BLOCK = bytes(64 * 1024)
DEPTH = 100_000
LARGE_BYTES = 3_000_000
SILENT_CONNECTIONS = 200
SESSIONS = 2000
MADE_UP_IDS = 200
SESSION_FRAMES = 20
"""Junk frames before a session is ended."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset instead of a farewell."""

Steps: TypeAlias = Generator[int, None, None]
"""An attack as it goes on: the bytes that each step sent."""


@dataclass(slots=True)
class Target:
    """A broker and a Wyoming port, and what one attack has opened there. Raises OSError."""

    host: str
    port: int
    wyoming_port: int
    name: str
    run: str
    sessions: list[tuple[str, str]] = field(default_factory=list)
    """Hermes sessions, each a site and an id."""
    held: list[socket.socket] = field(default_factory=list)
    _mqtt: socket.socket | None = None

    def wyoming(self) -> socket.socket:
        """A new connection to the Wyoming port."""
        return socket.create_connection(("127.0.0.1", self.wyoming_port), TIMEOUT_S)

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish with QoS 0; return the bytes that were sent."""
        if self._mqtt is None:
            name = f"{self.name}-{self.run}"
            self._mqtt = mqtt_frames.open_connection(self.host, self.port, name)
        packet = mqtt_frames.publish(topic, payload)
        try:
            self._mqtt.sendall(packet)
        except OSError:
            self._mqtt.close()
            self._mqtt = None
            raise
        return len(packet)

    def publish_json(self, topic: str, **fields: object) -> int:
        """Publish an object."""
        return self.publish(topic, json.dumps(fields).encode())

    def open_session(self, **fields: object) -> tuple[str, str, int]:
        """Open a Hermes session at a site of its own; its site, its id and the bytes sent."""
        number = len(self.sessions)
        site, session = f"{self.name}-{number}", session_name(self.run, self.name, number)
        self.sessions.append((site, session))
        start = {"siteId": site, "sessionId": session, "stopOnSilence": False, **fields}
        return site, session, self.publish_json(START_TOPIC, **start)

    def stop_session(self, site: str, session: str) -> int:
        """End a session; return the bytes sent."""
        return self.publish_json(STOP_TOPIC, siteId=site, sessionId=session)

    def close(self) -> None:
        """Close everything."""
        for sock in [*self.held, *([self._mqtt] if self._mqtt else [])]:
            sock.close()


def session_name(run: str, attack: str, number: int) -> str:
    """The id of a session that an attack opened."""
    return f"attack-{run}-{attack}-{number}"


# Wyoming ----------------------------------------------------------------------------------------

HEADERS = (
    b"\n", b"\0\n", b"\xff\xfe\xfd\n", b"null\n", b"[]\n", b"7\n", b'"describe"\n', b"{\n", b"{}\n",
    b'{"type": null}\n', b'{"type": 7}\n', b'{"type": ["describe"]}\n',
    b'{"type": "describe", "data": []}\n', b'{"type": "describe", "data": "x"}\n',
    *(b'{"type": "describe", "data_length": ' + length + b"}\n"
      for length in (b"-1", b'"7"', b"1e999", b"NaN", b"true", b"10000000000")),
    b'{"type": "describe", "data_length": 5}\nabcde', b'{"type": "describe", "data_length": 2}\n[]',
    *(b'{"type": "describe", "payload_length": ' + length + b"}\n"
      for length in (b"-10000000000", b"{}", b"9" * 5000)),
    b'{"type": "\\ud800"}\n', b'{"type": "' + b"x" * 60_000 + b'"}\n', b"[" * DEPTH + b"\n",
    b'{"type": "describe", "data": ' + b"[" * DEPTH + b"]" * DEPTH + b"}\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)  # fmt: skip

FORMATS: tuple[dict[str, object], ...] = (
    {"rate": 0, "width": 2, "channels": 1}, {"rate": -1, "width": 2, "channels": 1},
    {"rate": 10**400, "width": 2, "channels": 1}, {"rate": "16000", "width": "2", "channels": "1"},
    {"rate": 16000, "width": 3, "channels": 1}, {"rate": 16000, "width": 0, "channels": 1},
    {"rate": 16000, "width": 2, "channels": 10**9}, {"rate": 1e999, "width": 2, "channels": 1},
    {"rate": None, "width": None, "channels": None}, {},
)  # fmt: skip

TRANSCRIBES: tuple[dict[str, object], ...] = (
    {"language": 7}, {"language": ["en"]}, {"language": "x" * 50_000}, {"language": "\ud800"},
    {"name": {}}, {"context": "x"},
)  # fmt: skip


def claims_10_gb(target: Target) -> Steps:
    """A chunk that claims 10 GB, and zeros until the server has enough."""
    header = {"type": "audio-chunk", "data": WYOMING_AUDIO, "payload_length": 10**10}
    with target.wyoming() as sock:
        start = wyoming_event("audio-start", WYOMING_AUDIO)
        yield _send(sock, start + json.dumps(header).encode() + b"\n")
        while True:
            yield _send(sock, BLOCK)


def no_line_end(target: Target) -> Steps:
    """A header line of a megabyte."""
    with target.wyoming() as sock:
        for _ in range(16):
            yield _send(sock, b"x" * len(BLOCK))


def bad_headers(target: Target) -> Steps:
    """Lines that are no header, each on a connection of its own, with a question behind it."""
    for header in HEADERS:
        with target.wyoming() as sock, suppress(OSError):
            yield _send(sock, header + wyoming_event("describe", {}))


def bad_events(target: Target) -> Steps:
    """Well-formed events whose fields make no sense, and events out of turn."""
    event, pcm = wyoming_event, bytes(3201)
    streams = [
        event("audio-chunk", WYOMING_AUDIO, pcm) + event("audio-stop", {}),
        event("audio-stop", {}) * 100,
        event("audio-start", WYOMING_AUDIO) * 100,
        event("transcribe", {}) * 100,
        event("transcript", {"text": "x"}) + event("info", {"asr": "x"}),
        *(event("transcribe", one) + event("audio-start", WYOMING_AUDIO) for one in TRANSCRIBES),
        *(
            event("audio-start", one)
            + event("audio-chunk", one, pcm)
            + event("audio-stop", {"timestamp": "x"})
            for one in FORMATS
        ),
    ]
    for stream in streams:
        with target.wyoming() as sock, suppress(OSError):
            yield _send(sock, stream)


def half_events(target: Target) -> Steps:
    """A good conversation that breaks off at any byte, every other time with a reset."""
    whole = (
        wyoming_event("transcribe", {"language": "en"})
        + wyoming_event("audio-start", WYOMING_AUDIO)
        + wyoming_event("audio-chunk", WYOMING_AUDIO, bytes(2048)) * 3
        + wyoming_event("audio-stop", {})
    )
    choice = random.Random(0)
    for number in count():
        with target.wyoming() as sock, suppress(OSError):
            yield _send(sock, whole[: choice.randrange(1, len(whole))])
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def silent_connections(target: Target) -> Steps:
    """Connections that say nothing and stay."""
    for _ in range(SILENT_CONNECTIONS):
        target.held.append(target.wyoming())
        yield 0
    while True:
        yield 0


def never_reads(target: Target) -> Steps:
    """Questions without end from somebody who reads none of the answers."""
    with target.wyoming() as sock:
        while True:
            yield _send(sock, wyoming_event("describe", {}) * 100)


def endless_audio(target: Target) -> Steps:
    """A command that nobody ends."""
    start = wyoming_event("audio-start", WYOMING_AUDIO)
    with target.wyoming() as sock:
        yield _send(sock, wyoming_event("transcribe", {"language": "en"}) + start)
        while True:
            yield _send(sock, wyoming_event("audio-chunk", WYOMING_AUDIO, BLOCK))


def _send(sock: socket.socket, data: bytes) -> int:
    sock.sendall(data)
    return len(data)


# Hermes -----------------------------------------------------------------------------------------

TOGGLE_OFF = "hermes/asr/toggleOff"
CONTROL = (
    START_TOPIC, STOP_TOPIC, "hermes/asr/toggleOn", TOGGLE_OFF,
    "hermes/voiceActivity/attacked/vadUp", "hermes/voiceActivity/attacked/vadDown",
)  # fmt: skip

# None of them is empty: that would be a good message for all sites.
JSONS = (
    b"{", b"null", b"[]", b"7", b'"x"', b"\0", b"\xff\xfe", b"NaN", b'{"siteId": "attacked"',
    b"[" * DEPTH,
    b'{"siteId": "attacked", "intentFilter": ' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    b'{"siteId": "attacked", "init": ' + b'{"x":' * DEPTH + b"1" + b"}" * DEPTH + b"}",
    b'{"siteId": "attacked", "sessionId": ' + b"9" * 5000 + b"}",
    b'{"siteId": 7, "sessionId": 7}', b'{"siteId": ["attacked"], "sessionId": {}}',
    b'{"siteId": {"a": 1}, "reason": ["x"]}',
    b'{"siteId": "attacked", "sessionId": true, "stopOnSilence": "no", "reason": 1e999}',
    b'{"siteId": "attacked", "lang": 7, "wakewordId": [], "sendAudioCaptured": "yes"}',
    b'{"siteId": "attacked", "lang": "' + b"x" * 50_000 + b'"}',
    b'{"siteId": "attacked", "reason": "' + b"x" * 1_000_000 + b'"}',
)  # fmt: skip

IDS = (
    "x" * 60_000, "x" * 1_000_000, "", " ", "+", "#", "a/+/#", "/", "$SYS", "../../bridge", "\0",
    "\ud800", "\u202e\u0000\uffff", "e\u0301" * 2000, "🫖" * 100,
)  # fmt: skip


def bad_json(target: Target) -> Steps:
    """What is no message, on each topic, and on topics that are none."""
    for payload in JSONS:
        for topic in CONTROL:
            yield target.publish(topic, payload)
        for site in ("attacked", "a b", "ü", "$x"):
            yield target.publish(f"hermes/audioServer/{site}/audioFrame", payload)
            yield target.publish(f"hermes/audioServer/{site}/{site}/audioSessionFrame", payload)
    for topic in ("hermes/asr/nothing", "hermes/audioServer/audioFrame", "hermes/audioServer//"):
        yield target.publish(topic, b"{}")


def odd_ids(target: Target) -> Steps:
    """Ids that are too long, are no names, or are new each time, in messages and in topics."""
    choice = random.Random()
    for text in IDS:
        for other in ("attacked", text):
            start = {"siteId": text, "sessionId": other, "sendAudioCaptured": True}
            yield target.publish_json(START_TOPIC, **start)
            named = {"siteId": "attacked", "sessionId": "named", "wakewordId": text, "lang": text}
            yield target.publish_json(START_TOPIC, **named)
            yield target.publish_json(STOP_TOPIC, **start)
            yield target.publish_json(TOGGLE_OFF, siteId=text or "attacked", reason=text)
    for site in ("x" * 60_000, "ü" * 20_000):
        yield target.publish(f"hermes/audioServer/{site}/audioFrame", bytes(512))
        yield target.publish(f"hermes/voiceActivity/{site}/vadDown", bytes(512))
    for _ in range(MADE_UP_IDS):
        name = f"site-{choice.getrandbits(64):x}"
        yield target.publish_json(TOGGLE_OFF, siteId=name, reason=name)
        topic = f"hermes/audioServer/{name}/{name}/audioSessionFrame"
        yield target.publish(topic, wav(bytes(512)))


def junk_wav(target: Target) -> Steps:
    """Sessions that hear nothing but broken WAV."""
    choice = random.Random(0)
    kinds = cycle(range(9))
    for _ in count():
        site, session, sent = target.open_session(sendAudioCaptured=True)
        yield sent
        for _ in range(SESSION_FRAMES):
            frame = _junk(next(kinds), choice)
            yield target.publish(f"hermes/audioServer/{site}/audioFrame", frame)
        yield target.stop_session(site, session)


def large_frames(target: Target) -> Steps:
    """A minute and a half of silence in each frame, in sessions and without one."""
    frame = wav(bytes(LARGE_BYTES))
    for _ in count():
        site, session, sent = target.open_session(sendAudioCaptured=True)
        yield sent
        for where in (site, site, "nobody"):
            yield target.publish(f"hermes/audioServer/{where}/audioFrame", frame)
        yield target.stop_session(site, session)


def many_sessions(target: Target) -> Steps:
    """Sessions of so many sites at once, which stay open as long as they may."""
    for _ in range(SESSIONS - len(target.sessions)):
        yield target.open_session()[2]
    while True:
        yield 0


def _junk(kind: int, choice: random.Random) -> bytes:
    """Broken WAV number `kind` of nine."""
    good = wav(choice.randbytes(512))
    layouts = (
        (1, 0, SAMPLE_RATE, 0, 0, 16),
        (1, 65535, SAMPLE_RATE, 1, 65535, 65535),
        (1, 1, 0, 0, 2, 16),
        (1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 2, 16),
        (0x55, 1, SAMPLE_RATE, 16000, 1, 0),
    )
    if kind < len(layouts):
        chunk = b"fmt " + struct.pack("<I", 16) + struct.pack("<HHIIHH", *layouts[kind])
        return riff(chunk, b"data", 512) + bytes(512)
    return {
        5: choice.randbytes(512),
        6: good[: choice.randrange(len(good))],
        7: riff(b"LIST" + struct.pack("<I", 0xFFFFFFF0), b"data", 0xFFFFFFFF),
        8: riff(b"junk\0\0\0\0" * 10_000, b"data", 512) + bytes(512),
    }[kind]


# All of them ------------------------------------------------------------------------------------

ATTACKS: dict[str, tuple[str, Callable[[Target], Steps], float]] = {
    "claim": ("a payload that claims 10 GB, and data for it", claims_10_gb, 0.005),
    "long_line": ("1 MB without a line end", no_line_end, 0.02),
    "bad_json": ("headers that are no event", bad_headers, 0.005),
    "bad_events": ("events with impossible fields", bad_events, 0.005),
    "halves": ("events cut off at any byte", half_events, 0.005),
    "silent": ("200 connections that say nothing", silent_connections, 0.005),
    "deaf": ("questions whose answers are never read", never_reads, 0.002),
    "endless": ("audio without an end", endless_audio, 0.005),
    "hermes_json": ("bad JSON on every Hermes topic", bad_json, 0.005),
    "hermes_ids": ("huge and odd ids", odd_ids, 0.01),
    "hermes_wav": ("junk WAV in open sessions", junk_wav, 0.01),
    "hermes_large": ("frames of 3 MB", large_frames, 0.2),
    "hermes_sessions": ("2,000 sessions of 2,000 sites", many_sessions, 0.001),
}
"""By name: in words, what it does, and the seconds between two steps.

The pauses make it a stream of nonsense, not a contest for the CPU.
"""


@dataclass(slots=True)
class Report:
    """What an attack did.

    `failures`: how often the server closed or refused a connection. `sessions`: Hermes sessions,
    each of which must be answered once.
    """

    steps: int = 0
    bytes: int = 0
    failures: int = 0
    sessions: int = 0


def attack(target: Target, report: Report, until: float) -> None:
    """Go on with an attack until the clock says `until`."""
    _, begin, pause_s = ATTACKS[target.name]
    while time.monotonic() < until:
        try:
            with closing(begin(target)) as steps:
                for sent in steps:
                    report.steps += 1
                    report.bytes += sent
                    if time.monotonic() >= until:
                        return
                    time.sleep(pause_s)
        except OSError:
            report.failures += 1
            time.sleep(RETRY_S)


@dataclass(frozen=True, slots=True)
class Assault:
    """Attacks at once for some seconds, none: all. `run` makes the names of sessions unique."""

    run: str
    seconds: float
    attacks: tuple[str, ...] = ()


@contextmanager
def an_attacker(
    assault: Assault, broker: Address, wyoming_port: int, cores: set[int] | None = None
) -> Iterator[Child]:
    """This program, ready to begin."""
    words = ["--host", broker.host, "--port", broker.port, "--wyoming", wyoming_port]
    words += ["--seconds", assault.seconds, "--run", assault.run, *assault.attacks]
    with a_child(__name__, words, cores) as child:
        yield child


class TextHeard(Protocol):
    """Somebody who hears the texts of Hermes sessions."""

    def payloads(self, topic: str) -> list[bytes]:
        """All messages on a topic so far."""
        ...


def unanswered(
    peer: TextHeard, run: str, report: Mapping[str, Any], timeout_s: float
) -> dict[str, int]:
    """Of the sessions that attackers opened: how many got no text in time, how many several."""
    wanted = {
        session_name(run, name, number)
        for name, did in report.items()
        for number in range(did["sessions"])
    }
    deadline = time.monotonic() + timeout_s
    while True:
        texts = Counter(json.loads(payload)["sessionId"] for payload in peer.payloads(TEXT_TOPIC))
        missing = sum(texts[session] == 0 for session in wanted)
        if not missing or time.monotonic() > deadline:
            several = sum(texts[session] > 1 for session in wanted)
            return {"sessions": len(wanted), "missing": missing, "several": several}
        time.sleep(0.2)


def main(options: argparse.Namespace) -> None:
    """Attack, report, let go."""
    with ExitStack() as held:
        pairs = []
        for name in options.attacks or list(ATTACKS):
            target = Target(options.host, options.port, options.wyoming, name, options.run)
            held.callback(target.close)
            pairs.append((target, Report()))
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.monotonic() + options.seconds
        threads = [threading.Thread(target=attack, args=(*pair, until)) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for target, report in pairs:
            with suppress(OSError):
                for session in target.sessions:
                    target.stop_session(*session)
            report.sessions = len(target.sessions)
        print(json.dumps({target.name: asdict(report) for target, report in pairs}), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--host", required=True, help="of the MQTT broker")
    arguments.add_argument("--port", type=int, required=True, help="of the MQTT broker")
    arguments.add_argument("--wyoming", type=int, required=True, help="port of the Wyoming door")
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--run", required=True, help="makes the names of sessions unique")
    arguments.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    main(arguments.parse_args())
