"""The load of `ingest`, as a process of its own: many satellites that send in real time.

Native satellites speak utterances of three seconds and take them back with `abort`. Hermes ones
stream silence. Prints `ready` when all are connected, begins after a line on standard input, and
prints a line of JSON about how well it kept time.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys
import time
from contextlib import ExitStack

from benchmarks.harness import percentile
from stt_mqtt.types import SAMPLE_RATE
from tools import mqtt_frames
from tools.clients import riff

CHUNK_BYTES = 512
CHUNK_S = CHUNK_BYTES / 2 / SAMPLE_RATE
CHUNKS = 188
"""Of an utterance: three seconds."""
AUDIO_S = CHUNKS * CHUNK_S
SLOTS = 16
"""Groups of satellites, each of which sends a millisecond after the one before."""


def native_pieces(number: int, utterances: int, qos: int) -> list[bytes]:
    """What a satellite sends, a piece for every chunk; an utterance ends with `abort`."""
    name = f"sat-{number:04d}"
    topic = f"stt/{name}/audio"
    payload = bytes(range(256)) * (CHUNK_BYTES // 256)

    def packet(verb: str, body: bytes, position: int) -> bytes:
        return mqtt_frames.publish(topic + verb, body, position + 1 if qos else None)

    chunks = [packet("", payload, position) for position in range(CHUNKS)]
    pieces: list[bytes] = []
    for utterance in range(utterances):
        who = json.dumps({"id": f"{name}:{utterance}"}).encode()
        start, abort = packet("/start", who, CHUNKS), packet("/abort", who, CHUNKS + 1)
        pieces += [start + chunks[0], *chunks[1:-1], chunks[-1] + abort]
    return pieces


def hermes_pieces(number: int, utterances: int, _qos: int) -> list[bytes]:
    """What a Rhasspy satellite sends where nobody speaks: WAV with 60 bytes of header."""
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    stamp = struct.pack("<4sIQ", b"time", 8, 1_700_000_000_000)
    frame = riff(layout + stamp, b"data", CHUNK_BYTES) + bytes(CHUNK_BYTES)
    topic = f"hermes/audioServer/room-{number}/audioFrame"
    return [mqtt_frames.publish(topic, frame)] * (utterances * CHUNKS)


def stream(satellites: list[tuple[socket.socket, list[bytes]]]) -> dict[str, float | None]:
    """Send every piece at its time."""
    groups = [satellites[slot::SLOTS] for slot in range(SLOTS)]
    late_s: list[float] = []
    started = time.monotonic()
    for position in range(len(satellites[0][1])):
        for slot, group in enumerate(groups):
            wait = started + (position + slot / SLOTS) * CHUNK_S - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            for sock, pieces in group:
                sock.sendall(pieces[position])
            late_s.append(max(-wait, 0.0))
        if position % CHUNKS == 0:
            _drop_acknowledgements([sock for sock, _ in satellites])
    seconds = round(time.monotonic() - started, 2)
    late = percentile(late_s, 0.99)
    return {
        "chunks": len(satellites) * len(satellites[0][1]),
        "seconds": seconds,
        "late_p99_ms": late and round(late * 1000, 2),
    }


def abort_due(utterance: str) -> float:
    """When the `abort` of an utterance is due, in seconds from the start."""
    name, _, number = utterance.partition(":")
    slot = int(name.removeprefix("sat-")) % SLOTS
    return ((int(number) + 1) * CHUNKS - 1) * CHUNK_S + slot * CHUNK_S / SLOTS


def _drop_acknowledgements(socks: list[socket.socket]) -> None:
    for sock in socks:
        while select.select([sock], [], [], 0)[0]:
            if not sock.recv(65536):
                raise ConnectionError("the broker hung up on a satellite")


def main(options: argparse.Namespace) -> None:
    """Connect, wait for the word, send, report."""
    make = hermes_pieces if options.door == "hermes" else native_pieces
    with ExitStack() as stack:
        satellites = []
        for number in range(options.satellites):
            sock = mqtt_frames.open_connection(options.host, options.port, f"load-{number}")
            stack.enter_context(sock)
            satellites.append((sock, make(number, options.utterances, options.qos)))
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(stream(satellites)), flush=True)
        # What was sent must be read before the connections close.
        sys.stdin.readline()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--host", required=True)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--door", choices=("native", "hermes"), required=True)
    arguments.add_argument("--satellites", type=int, required=True)
    arguments.add_argument("--utterances", type=int, required=True)
    arguments.add_argument("--qos", type=int, choices=(0, 1), default=0)
    main(arguments.parse_args())
