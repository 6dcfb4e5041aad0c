"""What each step is worth alone: the naive server with one cure, and the same stretch of a room.

A step hears what a room says second by second, as in real time; where the server has nothing to do
until the next second, that wait is skipped. So a server that falls behind does so as it would.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import paho.mqtt.client as paho
import psutil

from benchmarks import bench
from benchmarks.savings import latency
from benchmarks.savings.household import Room, Spoken
from benchmarks.savings.meters import Listener, a_listener, peak_mb, take
from benchmarks.savings.naive_client import Message, connect, messages
from benchmarks.savings.steps import STEPS, Cures
from stt_mqtt.types import SAMPLE_RATE

SECONDS = 15.0
AWAY_S = 1.5
"""The chosen minute begins and ends so far from what is said."""
HELD_S = 0.1
"""Of the end of an utterance this may be missing in a text that holds all of it."""
MOST_S = 1800.0
LOOK_S = 0.05
SETTLE_S = 0.05
"""Between the end of the work and the next message: texts are still on their way."""
COUNTED_S = 2.2
"""The broker tells its counters once a second."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step cost, and what came of it.

    `bytes`: received by the broker. `latency_s`: median from the end of an utterance to the first
    text that holds all of it; None where no utterance got one.
    """

    name: str
    cpu_s: float
    peak_mb: float
    threads: int
    bytes: int
    latency_s: float | None
    wer: float


@dataclass(frozen=True, slots=True)
class Models:
    """Names or folders of the two models."""

    base: str = "base"
    tiny: str = "tiny.en"


USUAL = Models()


def ablate(
    folder: Path,
    rooms: Sequence[Room],
    seconds: float = SECONDS,
    steps: Mapping[str, Cures] = STEPS,
    models: Models = USUAL,
) -> list[StepResult]:
    """Have the server hear the liveliest of `seconds` that the rooms have, once for each step."""
    room = liveliest(rooms, seconds)
    bench.say(f"ablation: {len(room.samples) / SAMPLE_RATE:.0f} s of the {room.name}")
    return [measure(folder, room, name, cures, models) for name, cures in steps.items()]


def liveliest(rooms: Sequence[Room], seconds: float) -> Room:
    """The stretch with the most words; nothing is cut in two by its ends."""
    stretches = [
        _stretch(room, max(one.start_s - AWAY_S, 0.0), seconds)
        for room in rooms
        for one in room.spoken
    ]
    return max(stretches, key=lambda room: len(latency.said(room.spoken).split()))


def measure(folder: Path, room: Room, name: str, cures: Cures, models: Models) -> StepResult:
    """Have the server, so cured, hear this room."""
    server_cores, other_cores = bench.two_cores()
    with (
        bench.pinned(other_cores),
        bench.a_broker(folder, other_cores) as running,
        a_listener(running.broker, "naive/+/text") as listener,
    ):
        port = running.broker.port
        with (
            _a_server(folder, port, cures, models, server_cores) as server,
            _a_client(port) as client,
        ):
            time.sleep(COUNTED_S)
            bytes_before = listener.bytes_received()[-1][1]
            said = messages({room.name: room.samples}, cures)
            replay = Replay(server, client, server_cores)
            replay.run(said)
            time.sleep(COUNTED_S)
            sent = listener.bytes_received()[-1][1] - bytes_before
            texts = _texts(listener, replay, said)
            first, last = replay.samples[0], replay.samples[-1]
            result = StepResult(
                name,
                round(last.cpu_s - first.cpu_s, 2),
                round(max(peak_mb(server.process), *(one.memory_mb for one in replay.samples)), 1),
                max(one.threads for one in replay.samples),
                sent,
                _latency_s(room.spoken, texts),
                latency.wer([(latency.said(room.spoken), final_text(texts))]) or 0.0,
            )
    bench.say(f"{name}: {result}")
    return result


class Server:
    """A naive server that runs, and how many messages it has done with."""

    def __init__(self, process: psutil.Process, output: IO[bytes]) -> None:
        self.process = process
        self.done = 0
        self._output = output
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of its output."""
        self._thread.join()

    def _count(self) -> None:
        while self._output.read(1):
            self.done += 1


class Replay:
    """Publishes in a time that leaves out what the server would have waited."""

    def __init__(self, server: Server, client: paho.Client, cores: set[int] | None) -> None:
        self.samples = [take(server.process, cores)]
        self._server, self._client, self._cores = server, client, cores
        self._began = [(time.monotonic(), time.monotonic())]
        """From when on the sound began when."""

    def run(self, said: Sequence[Message]) -> None:
        """Say everything and wait until the work is done. Raises TimeoutError."""
        end_s = time.monotonic() + MOST_S
        for number, message in enumerate(said):
            while self.sound_s(time.monotonic()) < message.at_s:
                if self._server.done == number:
                    self._skip_to(message.at_s)
                self._wait(end_s)
            self._client.publish(message.topic, message.payload)
        while self._server.done < len(said):
            self._wait(end_s)
        self.samples.append(take(self._server.process, self._cores))

    def sound_s(self, now: float) -> float:
        """How far the sound was at a moment."""
        return now - next(began for since, began in reversed(self._began) if since <= now)

    def _skip_to(self, at_s: float) -> None:
        time.sleep(SETTLE_S)
        now = time.monotonic()
        if self.sound_s(now) < at_s:
            self._began.append((now, now - at_s))

    def _wait(self, end_s: float) -> None:
        now = time.monotonic()
        if now > end_s:
            raise TimeoutError(f"the naive server was not done within {MOST_S:.0f} s")
        if now - self.samples[-1].at_s > LOOK_S:
            self.samples.append(take(self._server.process, self._cores))
        time.sleep(0.002)


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a buffer, and how far into the sound of its room it goes."""

    at_s: float
    held_s: float
    part: int
    text: str


def _texts(listener: Listener, replay: Replay, said: Sequence[Message]) -> list[Text]:
    found = []
    for heard in listener.heard("/text"):
        told = json.loads(heard.payload)
        held_s = said[told["chunks"] - 1].at_s
        found.append(Text(replay.sound_s(heard.at_s), held_s, told["part"], told["text"]))
    return found


def _latency_s(spoken: Sequence[Spoken], texts: Sequence[Text]) -> float | None:
    waits = []
    for one in spoken:
        came_s = [text.at_s for text in texts if text.held_s >= one.end_s - HELD_S]
        if came_s:
            waits.append(min(came_s) - one.end_s)
    return round(statistics.median(waits), 2) if waits else None


def final_text(texts: Sequence[Text]) -> str:
    """The last text of each buffer."""
    last = {text.part: text.text for text in sorted(texts, key=lambda text: text.held_s)}
    return " ".join(last[part] for part in sorted(last))


def _stretch(room: Room, start_s: float, seconds: float) -> Room:
    """What the room has from `start_s` on, up to `seconds`, and before what it would cut in two."""
    end_s = min(start_s + seconds, len(room.samples) / SAMPLE_RATE)
    cut = [one.start_s for one in room.spoken if one.start_s < end_s < one.end_s + AWAY_S]
    end_s = min([end_s, *(at_s - AWAY_S for at_s in cut)])
    return Room(
        room.name,
        room.samples[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)],
        tuple(
            replace(one, start_s=one.start_s - start_s, end_s=one.end_s - start_s)
            for one in room.spoken
            if start_s <= one.start_s and one.end_s <= end_s
        ),
        (),
    )


@contextmanager
def _a_client(port: int) -> Iterator[paho.Client]:
    client = connect(port)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def _a_server(
    folder: Path, port: int, cures: Cures, models: Models, cores: set[int] | None
) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.savings.naive", "--port", str(port)]
    command += ["--base", models.base, "--tiny", models.tiny, "--cures", cures.names()]
    log = folder / "naive.log"
    with log.open("wb") as errors, bench.pinned(cores):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=bench.plain_environment()
        )
    assert process.stdout is not None
    try:
        with process.stdout as output:
            if not output.readline():
                raise RuntimeError(f"the naive server did not start: {log.read_text()}")
            server = Server(psutil.Process(process.pid), output)
            try:
                yield server
            finally:
                bench.end(process)
                server.join()
    finally:
        bench.end(process)
