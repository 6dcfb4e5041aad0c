"""The load of `benchmarks.ingest`, in a process of its own: satellites that speak at once.

Prints `ready` when all are connected, begins after a line on standard input, and ends with a line
of JSON about how well it kept time.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import frames

CHUNK_BYTES = 512
CHUNK_S = 0.016
CHUNKS_PER_UTTERANCE = 188
"""Three seconds of 16-bit mono at 16 kHz."""
AUDIO_S = CHUNKS_PER_UTTERANCE * CHUNK_S
SLOTS = 16
"""Groups of satellites, each of which sends one millisecond after the other."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many satellites say how many utterances, with which QoS."""

    satellites: int
    utterances: int
    qos: int


class Speaker:
    """One satellite and everything that it will send, made in advance."""

    def __init__(self, number: int, sock: socket.socket, load: Load) -> None:
        self._name = f"sat-{number:04d}"
        self._sock = sock
        self._load = load
        topic = f"stt/{self._name}/audio"
        payload = bytes(range(256)) * (CHUNK_BYTES // 256)
        self._chunks = [
            frames.publish(topic, payload, self._packet_id(position))
            for position in range(CHUNKS_PER_UTTERANCE)
        ]

    def send(self, position: int) -> None:
        """Send the chunk at `position` of the whole load; the last of an utterance with abort."""
        utterance, chunk = divmod(position, CHUNKS_PER_UTTERANCE)
        frame = self._chunks[chunk]
        if chunk == 0:
            self._drain()
            frame = self._command(utterance, "start", CHUNKS_PER_UTTERANCE) + frame
        elif chunk == CHUNKS_PER_UTTERANCE - 1:
            frame += self._command(utterance, "abort", CHUNKS_PER_UTTERANCE + 1)
        self._sock.sendall(frame)

    def _command(self, utterance: int, verb: str, position: int) -> bytes:
        payload = json.dumps({"id": f"{self._name}:{utterance}"}).encode()
        return frames.publish(f"stt/{self._name}/audio/{verb}", payload, self._packet_id(position))

    def _packet_id(self, position: int) -> int | None:
        return position + 1 if self._load.qos else None

    def _drain(self) -> None:
        """Throw away the acknowledgements."""
        while select.select([self._sock], [], [], 0)[0]:
            if not self._sock.recv(65536):
                raise ConnectionError(f"the broker hung up on {self._name}")


def run(speakers: list[Speaker], utterances: int) -> dict[str, float]:
    """Send everything at its time."""
    groups = [speakers[slot::SLOTS] for slot in range(SLOTS)]
    late_s: list[float] = []
    started, cpu = time.monotonic(), time.process_time()
    for position, slot, due in _schedule(started, utterances):
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        for speaker in groups[slot]:
            speaker.send(position)
        late_s.append(max(-wait, 0.0))
    elapsed_s = time.monotonic() - started
    late_s.sort()
    return {
        "messages": len(speakers) * utterances * (CHUNKS_PER_UTTERANCE + 2),
        "seconds": round(elapsed_s, 2),
        "cpu_s_per_s": round((time.process_time() - cpu) / elapsed_s, 3),
        "late_p99_ms": round(late_s[int(0.99 * len(late_s))] * 1000, 2),
        "late_max_ms": round(late_s[-1] * 1000, 2),
    }


def _schedule(started: float, utterances: int) -> Iterator[tuple[int, int, float]]:
    for position in range(utterances * CHUNKS_PER_UTTERANCE):
        for slot in range(SLOTS):
            yield position, slot, started + position * CHUNK_S + slot * CHUNK_S / SLOTS


def main(options: argparse.Namespace) -> None:
    """Connect, wait for the word, send, report."""
    load = Load(options.satellites, options.utterances, options.qos)
    with ExitStack() as stack:
        speakers = []
        for number in range(load.satellites):
            sock = frames.open_connection(options.host, options.port, f"load-{number}")
            stack.enter_context(sock)
            speakers.append(Speaker(number, sock, load))
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(run(speakers, load.utterances)), flush=True)
        # What was sent must be read before the connections close.
        sys.stdin.readline()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--host", required=True)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--satellites", type=int, required=True)
    arguments.add_argument("--utterances", type=int, required=True)
    arguments.add_argument("--qos", type=int, choices=(0, 1), required=True)
    main(arguments.parse_args())
