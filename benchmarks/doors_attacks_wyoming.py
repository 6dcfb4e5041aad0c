"""Hostile bytes on the Wyoming port."""

from __future__ import annotations

import json
import random
import socket
import struct
from contextlib import suppress
from itertools import count

from benchmarks.doors_target import Steps, Target
from stt_mqtt.types import SAMPLE_RATE

BLOCK = bytes(64 * 1024)
LONG_LINE_BYTES = 1_000_000
CLAIMED_BYTES = 10_000_000_000
SILENT_CONNECTIONS = 200
DEPTH = 100_000
AUDIO = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset instead of a farewell."""

HEADERS = (
    b"\n",
    b"\0\n",
    b"\xff\xfe\xfd\n",
    b"null\n",
    b"[]\n",
    b"7\n",
    b'"describe"\n',
    b"{\n",
    b"{}\n",
    b'{"type": null}\n',
    b'{"type": 7}\n',
    b'{"type": ["describe"]}\n',
    b'{"type": "describe", "data": []}\n',
    b'{"type": "describe", "data": "x"}\n',
    b'{"type": "describe", "data_length": -1}\n',
    b'{"type": "describe", "data_length": "7"}\n',
    b'{"type": "describe", "data_length": 1e999}\n',
    b'{"type": "describe", "data_length": NaN}\n',
    b'{"type": "describe", "data_length": true}\n',
    b'{"type": "describe", "data_length": 10000000000}\n',
    b'{"type": "describe", "data_length": 5}\nabcde',
    b'{"type": "describe", "data_length": 2}\n[]',
    b'{"type": "describe", "payload_length": -10000000000}\n',
    b'{"type": "describe", "payload_length": {}}\n',
    b'{"type": "describe", "payload_length": ' + b"9" * 5000 + b"}\n",
    b'{"type": "\\ud800"}\n',
    b'{"type": "' + b"x" * 60_000 + b'"}\n',
    b"[" * DEPTH + b"\n",
    b'{"type": "describe", "data": ' + b"[" * DEPTH + b"]" * DEPTH + b"}\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)

FIELDS: tuple[dict[str, object], ...] = (
    {"rate": 0, "width": 2, "channels": 1},
    {"rate": -1, "width": 2, "channels": 1},
    {"rate": 10**400, "width": 2, "channels": 1},
    {"rate": "16000", "width": "2", "channels": "1"},
    {"rate": 16000, "width": 3, "channels": 1},
    {"rate": 16000, "width": 0, "channels": 1},
    {"rate": 16000, "width": 2, "channels": 10**9},
    {"rate": 1e999, "width": 2, "channels": 1},
    {"rate": None, "width": None, "channels": None},
    {},
)

TRANSCRIBES: tuple[dict[str, object], ...] = (
    {"language": 7},
    {"language": ["en"]},
    {"language": "x" * 50_000},
    {"language": "\ud800"},
    {"name": {}},
    {"context": "x"},
)


def event(kind: str, data: object, payload: bytes = b"") -> bytes:
    """An event as the wyoming library writes it, whatever is in it."""
    body = json.dumps(data).encode()
    header: dict[str, object] = {"type": kind, "version": "1.8.0", "data_length": len(body)}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + body + payload


def claims_10_gb(target: Target) -> Steps:
    """A chunk that claims 10 GB, and zeros until the server has enough."""
    header = {"type": "audio-chunk", "data": AUDIO, "payload_length": CLAIMED_BYTES}
    with target.wyoming() as sock:
        yield _send(sock, event("audio-start", AUDIO) + json.dumps(header).encode() + b"\n")
        while True:
            yield _send(sock, BLOCK)


def no_line_end(target: Target) -> Steps:
    """A header line that does not end."""
    with target.wyoming() as sock:
        for _ in range(LONG_LINE_BYTES // len(BLOCK) + 1):
            yield _send(sock, b"x" * len(BLOCK))


def bad_headers(target: Target) -> Steps:
    """Lines that are no header, each on a connection of its own, with a question behind it."""
    for header in HEADERS:
        with target.wyoming() as sock, suppress(OSError):
            yield _send(sock, header + event("describe", {}))


def bad_events(target: Target) -> Steps:
    """Well-formed events whose fields make no sense, and events out of turn."""
    pcm = bytes(3201)
    streams = [
        event("audio-chunk", AUDIO, pcm) + event("audio-stop", {}),
        event("audio-stop", {}) * 100,
        event("audio-start", AUDIO) * 100,
        event("transcribe", {}) * 100,
        event("transcript", {"text": "x"}) + event("info", {"asr": "x"}),
        *(event("transcribe", fields) + event("audio-start", AUDIO) for fields in TRANSCRIBES),
        *(
            event("audio-start", fields)
            + event("audio-chunk", fields, pcm)
            + event("audio-stop", {"timestamp": "x"})
            for fields in FIELDS
        ),
    ]
    for stream in streams:
        with target.wyoming() as sock, suppress(OSError):
            yield _send(sock, stream)


def half_events(target: Target) -> Steps:
    """A good conversation that breaks off at any byte, every other time with a reset."""
    pcm = bytes(2048)
    whole = (
        event("transcribe", {"language": "en"})
        + event("audio-start", AUDIO)
        + event("audio-chunk", AUDIO, pcm) * 3
        + event("audio-stop", {})
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
        target.hold(target.wyoming())
        yield 0
    while True:
        yield 0


def never_reads(target: Target) -> Steps:
    """Questions without end from somebody who reads none of the answers."""
    questions = event("describe", {}) * 100
    with target.wyoming() as sock:
        while True:
            yield _send(sock, questions)


def endless_audio(target: Target) -> Steps:
    """A command that nobody ends."""
    chunk = event("audio-chunk", AUDIO, BLOCK)
    with target.wyoming() as sock:
        yield _send(sock, event("transcribe", {"language": "en"}) + event("audio-start", AUDIO))
        while True:
            yield _send(sock, chunk)


def _send(sock: socket.socket, data: bytes) -> int:
    sock.sendall(data)
    return len(data)
