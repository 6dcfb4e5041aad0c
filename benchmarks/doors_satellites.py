"""Rhasspy satellites that stream day and night, in a process of their own.

Each sends a WAV frame every 16 ms to its site, as fast as time goes and made in advance; the first
one may hold sessions meanwhile. Prints `ready` when all are connected, begins after a line on
standard input, and ends with a line of JSON about how well it kept time.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import frames
from benchmarks.doors_target import START_TOPIC
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE

FRAME_BYTES = 512
FRAME_S = FRAME_BYTES / 2 / SAMPLE_RATE
SLOTS = 16
"""Groups of satellites, each of which sends one millisecond after the other."""
BEFORE_S, AFTER_S = 0.5, 1.5
"""Silence before and after each command of the satellite that has sessions."""
SILENCE = bytes(FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Satellite:
    """Everything that one satellite sends: a piece for every frame."""

    pieces: tuple[bytes, ...]


def frame(pcm: bytes) -> bytes:
    """A frame as Rhasspy satellites make it: 60 bytes of header, with a `time` chunk in it."""
    format = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    stamp = struct.pack("<4sIQ", b"time", 8, 1_700_000_000_000)
    body = b"WAVE" + format + stamp + struct.pack("<4sI", b"data", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(body)) + body


def silent(site: str, seconds: float) -> Satellite:
    """A satellite where nobody speaks."""
    return Satellite((_publish(site, SILENCE),) * round(seconds / FRAME_S))


def speaking(site: str, seconds: float) -> tuple[Satellite, list[str]]:
    """A satellite with one session after the other, and what is said in them."""
    quiet = _publish(site, SILENCE)
    length = round(seconds / FRAME_S)
    pieces: list[bytes] = []
    texts: list[str] = []
    for sample in reversed(SAMPLES):
        pcm = sample.pcm()
        start = {"siteId": site, "sessionId": f"{site}-{len(texts)}", "stopOnSilence": True}
        command = [
            _publish(site, pcm[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0"))
            for at in range(0, len(pcm), FRAME_BYTES)
        ]
        command[0] = frames.publish(START_TOPIC, json.dumps(start).encode()) + command[0]
        turn = [quiet] * round(BEFORE_S / FRAME_S) + command + [quiet] * round(AFTER_S / FRAME_S)
        if len(pieces) + len(turn) > length:
            break
        pieces += turn
        texts.append(sample.text)
    pieces += [quiet] * (length - len(pieces))
    return Satellite(tuple(pieces)), texts


def _publish(site: str, pcm: bytes) -> bytes:
    return frames.publish(f"hermes/audioServer/{site}/audioFrame", frame(pcm))


def stream(socks: list[socket.socket], satellites: list[Satellite]) -> dict[str, float]:
    """Send everything at its time."""
    pairs = list(zip(socks, satellites, strict=True))
    groups = [pairs[slot::SLOTS] for slot in range(SLOTS)]
    positions = len(satellites[0].pieces)
    late_s: list[float] = []
    started, cpu = time.monotonic(), time.process_time()
    for position in range(positions):
        for slot, group in enumerate(groups):
            wait = started + (position + slot / SLOTS) * FRAME_S - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            for sock, satellite in group:
                sock.sendall(satellite.pieces[position])
            late_s.append(max(-wait, 0.0))
    elapsed_s = time.monotonic() - started
    late_s.sort()
    return {
        "frames": positions * len(satellites),
        "seconds": round(elapsed_s, 2),
        "cpu_s_per_s": round((time.process_time() - cpu) / elapsed_s, 4),
        "late_p99_ms": round(late_s[int(0.99 * len(late_s))] * 1000, 2),
    }


def main(options: argparse.Namespace) -> None:
    """Connect, wait for the word, send, report."""
    sites = [f"room-{number}" for number in range(options.satellites)]
    satellites = [silent(site, options.seconds) for site in sites]
    texts: list[str] = []
    if options.speak:
        satellites[0], texts = speaking(sites[0], options.seconds)
    with ExitStack() as stack:
        socks = [
            stack.enter_context(frames.open_connection(options.host, options.port, f"load-{site}"))
            for site in sites
        ]
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps({**stream(socks, satellites), "texts": texts}), flush=True)
        # What was sent must be read before the connections close.
        sys.stdin.readline()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--host", required=True)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--satellites", type=int, required=True)
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--speak", action="store_true", help="the first one holds sessions")
    main(arguments.parse_args())
