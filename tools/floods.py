"""Floods of good messages: more satellites, starts, audio and connections than a home has.

As a program: prints `ready`, floods for some seconds after a line on standard input, waits for the
answers to its Wyoming connections, and prints one line of JSON about what it did.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, TypeAlias

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE
from tools import mqtt_frames
from tools.clients import WYOMING_AUDIO, Address, wyoming_event
from tools.processes import Child, a_child

TIMEOUT_S = 5.0
RETRY_S = 0.2
PAUSE_S = 0.1
ANSWER_TIMEOUT_S = 40.0
"""How long the connections wait for their answers after the flood."""
ANOTHER_HOST = "127.0.0.2"
"""The address that the connections come from. The rooms of others have another one."""
SATELLITES = 1000
STARTS = 10_000
CONNECTIONS = 300
NOISY = 200
LARGE_BYTES = 1_000_000
RECEIVE_BYTES = 65_536
_SECOND = 2 * SAMPLE_RATE
_NOISE = random.Random(0).randbytes(30 * _SECOND)
_LONGEST_S = 30

Steps: TypeAlias = Generator[int, None, None]
"""A flood as it goes on: the bytes that each step sent."""


@dataclass(slots=True)
class Did:
    """What a flood did. `opened`: utterances of satellites; `answers`: of connections, by code."""

    steps: int = 0
    bytes: int = 0
    failures: int = 0
    opened: int = 0
    connections: int = 0
    answers: dict[str, int] = field(default_factory=dict)

    def note(self, answer: str, times: int = 1) -> None:
        """Count the answers to connections."""
        self.answers[answer] = self.answers.get(answer, 0) + times


@dataclass(slots=True)
class Crowd:
    """Who floods: clients of a broker and of a Wyoming port. Raises OSError."""

    host: str
    port: int
    wyoming_port: int
    name: str
    run: str
    did: Did = field(default_factory=Did)
    rooms: list[Room] = field(default_factory=list)
    held: list[socket.socket] = field(default_factory=list)
    _mqtt: socket.socket | None = None

    def publish(self, topic: str | bytes, payload: bytes = b"") -> int:
        """Publish with QoS 0; return the bytes that were sent."""
        if self._mqtt is None:
            self._mqtt = mqtt_frames.open_connection(
                self.host, self.port, f"{self.name}-{self.run}"
            )
        packet = mqtt_frames.publish(topic, payload)
        try:
            self._mqtt.sendall(packet)
        except OSError:
            self._mqtt.close()
            self._mqtt = None
            raise
        return len(packet)

    def start(self, number: int) -> int:
        """Open an utterance of a satellite; return the bytes that were sent."""
        sent = self.publish(
            f"stt/{self.satellite(number)}/audio/start",
            json.dumps({"id": utterance_id(self.run, self.name, self.did.opened)}).encode(),
        )
        self.did.opened += 1
        return sent

    def chunk(self, number: int, pcm: bytes) -> int:
        """Send audio of a satellite."""
        return self.publish(f"stt/{self.satellite(number)}/audio", pcm)

    def stop(self, number: int) -> int:
        """End the utterance of a satellite."""
        return self.publish(f"stt/{self.satellite(number)}/audio/stop")

    def satellite(self, number: int) -> str:
        """The name of a satellite."""
        return f"{satellites_of(self.name)}{number}"

    def close(self) -> None:
        """Close everything."""
        for sock in [*self.held, *([self._mqtt] if self._mqtt else [])]:
            sock.close()
        for room in self.rooms:
            room.close()


def utterance_id(run: str, flood: str, number: int) -> str:
    """The id of an utterance that a satellite of a flood opened."""
    return f"{run}:{flood}:{number}"


def satellites_of(flood: str) -> str:
    """How the names of a flood's satellites begin."""
    return f"flood-{flood}-"


class Room:
    """A connection of Wyoming: it speaks, and again when it has its answer."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._sock: socket.socket | None = None
        self._heard = b""

    def send(self, data: bytes) -> int:
        """Send, over a new connection if there is none; return the bytes that were sent."""
        if self._sock is None:
            source = (ANOTHER_HOST, 0)
            address = ("127.0.0.1", self._crowd.wyoming_port)
            self._sock = socket.create_connection(address, TIMEOUT_S, source)
            self._heard = b""
            self._crowd.did.connections += 1
        try:
            self._sock.sendall(data)
        except OSError:
            # It was closed, with or without an answer.
            self.read()
            return 0
        return len(data)

    @property
    def waits(self) -> bool:
        """Whether it has a connection."""
        return self._sock is not None

    def read(self) -> None:
        """Read what has come, without waiting, and note the answer."""
        if self._sock is None:
            return
        self._sock.settimeout(0)
        try:
            while data := self._sock.recv(RECEIVE_BYTES):
                self._heard += data
        except BlockingIOError:
            self._sock.settimeout(TIMEOUT_S)
            if (answer := wyoming_answer(self._heard)) is not None:
                self._end(answer)
        except OSError:
            self._end(wyoming_answer(self._heard) or "reset")
        else:
            self._end(wyoming_answer(self._heard) or "closed")

    def _end(self, answer: str) -> None:
        self._crowd.did.note(answer)
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def wyoming_answer(heard: bytes) -> str | None:
    """The answer among encoded events: `text`, `no_speech`, or the code of an error."""
    while b"\n" in heard:
        line, _, heard = heard.partition(b"\n")
        header = json.loads(line)
        size = header.get("data_length") or 0
        if len(heard) < size:
            return None
        data = json.loads(heard[:size] or b"{}")
        heard = heard[size:]
        if header["type"] == "transcript":
            return "text" if data.get("text") else "no_speech"
        if header["type"] == "error":
            return str(data.get("code"))
    return None


# Floods -----------------------------------------------------------------------------------------


def satellites(crowd: Crowd) -> Steps:
    """1,000 satellites, each with one command after the other."""
    recordings = [sample.pcm() for sample in SAMPLES]
    for number in count():
        who, pcm = number % SATELLITES, recordings[number % len(recordings)]
        yield crowd.start(who) + crowd.chunk(who, pcm) + crowd.stop(who)


def too_fast(crowd: Crowd) -> Steps:
    """One satellite with 100 seconds of noise per second."""
    for second in count():
        if second % _LONGEST_S == 0:
            yield crowd.stop(0) + crowd.start(0)
        at = second % _LONGEST_S * _SECOND
        yield crowd.chunk(0, _NOISE[at : at + _SECOND])


def empty_starts(crowd: Crowd) -> Steps:
    """10,000 starts of 2,000 satellites, and not one chunk."""
    for number in range(STARTS):
        yield crowd.start(number % (2 * SATELLITES))
    while True:
        time.sleep(PAUSE_S)
        yield 0


def large_chunks(crowd: Crowd) -> Steps:
    """Chunks of 1 MB from 20 satellites and 20 connections."""
    chunk = wyoming_event("audio-chunk", WYOMING_AUDIO, _NOISE[:LARGE_BYTES])
    begin = wyoming_event("audio-start", WYOMING_AUDIO)
    crowd.rooms += [Room(crowd) for _ in range(20)]
    for number in count():
        who, room = number % 20, crowd.rooms[number % 20]
        yield crowd.start(who) + crowd.chunk(who, _NOISE[:LARGE_BYTES]) + crowd.stop(who)
        room.read()
        yield room.send((b"" if room.waits else begin) + chunk)


def noise(crowd: Crowd) -> Steps:
    """200 satellites with noise that comes ten times as fast as it was spoken."""
    for second in count():
        for number in range(NOISY):
            if second % _LONGEST_S == 0:
                yield crowd.stop(number) + crowd.start(number)
            at = second % _LONGEST_S * _SECOND
            yield crowd.chunk(number, _NOISE[at : at + _SECOND])


def connections(crowd: Crowd) -> Steps:
    """300 connections from one host, each with one command after the other."""
    whole = (
        wyoming_event("transcribe", {"language": "en"})
        + wyoming_event("audio-start", WYOMING_AUDIO)
        + wyoming_event("audio-chunk", WYOMING_AUDIO, SAMPLES[0].pcm())
        + wyoming_event("audio-stop", {})
    )
    crowd.rooms += [Room(crowd) for _ in range(CONNECTIONS)]
    while True:
        for room in crowd.rooms:
            room.read()
            yield 0 if room.waits else room.send(whole)


def hoards(crowd: Crowd) -> Steps:
    """300 connections from one host, each with half a minute of audio that is not ended."""
    begin = wyoming_event("audio-start", WYOMING_AUDIO)
    chunk = wyoming_event("audio-chunk", WYOMING_AUDIO, _NOISE[:_SECOND])
    crowd.rooms += [Room(crowd) for _ in range(CONNECTIONS)]
    while True:
        for room in crowd.rooms:
            room.read()
            yield room.send((b"" if room.waits else begin) + chunk)


TOPICS: tuple[str | bytes, ...] = (
    f"stt/{'x' * 60_000}/audio", f"stt/{'ü' * 30_000}/audio/start", "stt/" * 15_000,
    b"stt/\xff\xfe/audio", b"stt/\xed\xa0\x80/audio/start", b"\xc0\x80", b"",
    "$SYS/stt/audio", "$share/a/stt/audio", "stt/$SYS/audio/start", "stt/+/audio", "stt/#",
    "stt/a\0b/audio", "stt//audio/start", "/stt/a/audio", "stt/a/audio/start/",
    "stt/bridge/audio/start", "stt/bridge/request/" + "x" * 60_000, "stt/a b/audio/start",
)  # fmt: skip


def odd_topics(crowd: Crowd) -> Steps:
    """Topics of 60,000 characters, without UTF-8, with `$`, `+` and NUL."""
    while True:
        for topic in TOPICS:
            # A broker that refuses one of them closes the connection.
            with suppress(OSError):
                yield crowd.publish(topic, bytes(512))


def deaf_subscriber(crowd: Crowd) -> Steps:
    """One who subscribes to all results and acknowledges none, while 100 satellites speak."""
    sock = mqtt_frames.open_connection(crowd.host, crowd.port, f"deaf-{crowd.run}")
    crowd.held.append(sock)
    sock.sendall(mqtt_frames.subscribe("stt/#", 1))
    pcm = SAMPLES[0].pcm()
    for number in count():
        who = number % 100
        yield crowd.start(who) + crowd.chunk(who, pcm) + crowd.stop(who)


FLOODS: dict[str, tuple[str, Callable[[Crowd], Steps], float]] = {
    "satellites": ("1,000 satellites", satellites, 0.005),
    "too_fast": ("one satellite at 100 times real time", too_fast, 0.01),
    "starts": ("10,000 starts without audio", empty_starts, 0.0),
    "large": ("chunks of 1 MB", large_chunks, 0.03),
    "noise": ("200 satellites at 10 times real time", noise, 0.0005),
    "connections": ("300 connections from one host", connections, 0.0005),
    "hoards": ("300 connections that fill the memory", hoards, 0.001),
    "topics": ("topics that are none", odd_topics, 0.005),
    "deaf": ("a subscriber that acknowledges nothing", deaf_subscriber, 0.02),
}
"""By name: in words, what it does, and the seconds between two steps."""


def flood(crowd: Crowd, until: float) -> None:
    """Go on with a flood until the clock says `until`, then wait for the answers."""
    _, begin, pause_s = FLOODS[crowd.name]
    did = crowd.did
    while time.monotonic() < until:
        try:
            with closing(begin(crowd)) as steps:
                for sent in steps:
                    did.steps += 1
                    did.bytes += sent
                    if time.monotonic() >= until:
                        break
                    time.sleep(pause_s)
        except OSError:
            did.failures += 1
            time.sleep(RETRY_S)
    _await_answers(crowd)


def _await_answers(crowd: Crowd) -> None:
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while any(room.waits for room in crowd.rooms):
        if time.monotonic() > deadline:
            crowd.did.note("none", sum(room.waits for room in crowd.rooms))
            return
        for room in crowd.rooms:
            room.read()
        time.sleep(0.05)


@contextmanager
def a_flood(
    run: str,
    seconds: float,
    floods: Sequence[str],
    at: tuple[Address, int],
    cores: set[int] | None = None,
) -> Iterator[Child]:
    """This program, ready to begin. `at`: the broker and the Wyoming port."""
    broker, wyoming_port = at
    words = ["--host", broker.host, "--port", broker.port, "--wyoming", wyoming_port]
    words += ["--seconds", seconds, "--run", run, *floods]
    with a_child(__name__, words, cores) as child:
        yield child


def outcomes(
    results: Sequence[Mapping[str, Any]], run: str, did: Mapping[str, Mapping[str, Any]]
) -> dict[str, Counter[str]]:
    """How the utterances of each flood ended: outcome or code, `none` and `several`.

    `unnamed`: answers to starts that were dropped before they were read. They have no id.
    """
    ended: dict[str, Counter[str]] = {name: Counter(one["answers"]) for name, one in did.items()}
    by_id: dict[str, list[str]] = {}
    for result in results:
        code = result["outcome"] if result["error"] is None else result["error"]["code"]
        if result["id"] is not None:
            by_id.setdefault(result["id"], []).append(code)
        else:
            for name, counter in ended.items():
                counter["unnamed"] += result["device"].startswith(satellites_of(name))
    for name, one in did.items():
        for number in range(one["opened"]):
            codes = by_id.get(utterance_id(run, name, number), [])
            ended[name][codes[0] if len(codes) == 1 else "several" if codes else "none"] += 1
    return ended


def main(options: argparse.Namespace) -> None:
    """Flood, report."""
    with ExitStack() as held:
        crowds = []
        for name in options.floods or list(FLOODS):
            crowd = Crowd(options.host, options.port, options.wyoming, name, options.run)
            held.callback(crowd.close)
            crowds.append(crowd)
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.monotonic() + options.seconds
        threads = [threading.Thread(target=flood, args=(crowd, until)) for crowd in crowds]
        for thread in threads:
            thread.start()
        time.sleep(max(until - time.monotonic(), 0.0))
        print("over", flush=True)
        for thread in threads:
            thread.join()
        print(json.dumps({crowd.name: asdict(crowd.did) for crowd in crowds}), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--host", required=True, help="of the MQTT broker")
    arguments.add_argument("--port", type=int, required=True, help="of the MQTT broker")
    arguments.add_argument("--wyoming", type=int, required=True, help="port of the Wyoming door")
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--run", required=True, help="makes the ids unique")
    arguments.add_argument("floods", nargs="*", metavar="FLOOD", help=", ".join(FLOODS))
    main(arguments.parse_args())
