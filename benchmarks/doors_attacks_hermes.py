"""Hostile messages on the topics of Hermes."""

from __future__ import annotations

import json
import random
import struct
from itertools import count, cycle

from benchmarks.doors_target import START_TOPIC, STOP_TOPIC, Steps, Target
from stt_mqtt.types import SAMPLE_RATE

SESSIONS = 2000
LARGE_BYTES = 3_000_000
DEPTH = 100_000
MADE_UP_IDS = 200
SESSION_FRAMES = 20
"""Junk frames before a session is ended."""
TOGGLE_OFF = "hermes/asr/toggleOff"
CONTROL = (
    START_TOPIC,
    STOP_TOPIC,
    "hermes/asr/toggleOn",
    TOGGLE_OFF,
    "hermes/voiceActivity/attacked/vadUp",
    "hermes/voiceActivity/attacked/vadDown",
)

JSONS = (
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"\0",
    b"\xff\xfe",
    b"NaN",
    b'{"siteId": "attacked"',
    b"[" * DEPTH,
    b'{"siteId": "attacked", "intentFilter": ' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    b'{"siteId": "attacked", "init": ' + b'{"x":' * DEPTH + b"1" + b"}" * DEPTH + b"}",
    b'{"siteId": "attacked", "sessionId": ' + b"9" * 5000 + b"}",
    b'{"siteId": 7, "sessionId": 7}',
    b'{"siteId": ["attacked"], "sessionId": {}}',
    b'{"siteId": {"a": 1}, "reason": ["x"]}',
    b'{"siteId": "attacked", "sessionId": true, "stopOnSilence": "no", "reason": 1e999}',
    b'{"siteId": "attacked", "lang": 7, "wakewordId": [], "sendAudioCaptured": "yes"}',
    b'{"siteId": "attacked", "lang": "' + b"x" * 50_000 + b'"}',
    b'{"siteId": "attacked", "reason": "' + b"x" * 1_000_000 + b'"}',
)
"""None of them is empty: that would be a good message for all sites."""

IDS = (
    "x" * 60_000,
    "x" * 1_000_000,
    "",
    " ",
    "+",
    "#",
    "a/+/#",
    "/",
    "$SYS",
    "../../bridge",
    "\0",
    "\ud800",
    "\u202e\u0000\uffff",
    "e\u0301" * 2000,
    "🫖" * 100,
)


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
            yield target.publish(START_TOPIC, json.dumps(start).encode())
            named = {"siteId": "attacked", "sessionId": "named", "wakewordId": text, "lang": text}
            yield target.publish(START_TOPIC, json.dumps(named).encode())
            yield target.publish(STOP_TOPIC, json.dumps(start).encode())
            toggle = {"siteId": text or "attacked", "reason": text}
            yield target.publish(TOGGLE_OFF, json.dumps(toggle).encode())
    for site in ("x" * 60_000, "ü" * 20_000):
        for topic in (
            f"hermes/audioServer/{site}/audioFrame",
            f"hermes/voiceActivity/{site}/vadDown",
        ):
            yield target.publish(topic, bytes(512))
    for _ in range(MADE_UP_IDS):
        name = f"site-{choice.getrandbits(64):x}"
        off = {"siteId": name, "reason": name}
        yield target.publish(TOGGLE_OFF, json.dumps(off).encode())
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
        yield target.publish(f"hermes/audioServer/{site}/audioFrame", frame)
        yield target.publish(f"hermes/audioServer/{site}/audioFrame", frame)
        yield target.publish("hermes/audioServer/nobody/audioFrame", frame)
        yield target.stop_session(site, session)


def many_sessions(target: Target) -> Steps:
    """Sessions of so many sites at once, which stay open as long as they may."""
    for _ in range(SESSIONS - len(target.attack.sessions)):
        yield target.open_session()[2]
    while True:
        yield 0


def stop_sessions(target: Target) -> None:
    """End every session that the attack opened, also those that have ended already."""
    for site, session in target.attack.sessions:
        target.stop_session(site, session)


def wav(pcm: bytes) -> bytes:
    """16-bit mono at 16 kHz with the classic header of 44 bytes."""
    format = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    return _riff(b"fmt " + struct.pack("<I", 16) + format, b"data", len(pcm)) + pcm


def _riff(chunks: bytes, name: bytes, size: int) -> bytes:
    body = b"WAVE" + chunks + name + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", (len(body) + size) & 0xFFFFFFFF) + body


def _junk(kind: int, choice: random.Random) -> bytes:
    """Broken WAV number `kind` of nine."""
    good = wav(choice.randbytes(512))
    format = {
        0: (1, 0, SAMPLE_RATE, 0, 0, 16),
        1: (1, 65535, SAMPLE_RATE, 1, 65535, 65535),
        2: (1, 1, 0, 0, 2, 16),
        3: (1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 2, 16),
        4: (0x55, 1, SAMPLE_RATE, 16000, 1, 0),
    }.get(kind)
    if format is not None:
        chunk = b"fmt " + struct.pack("<I", 16) + struct.pack("<HHIIHH", *format)
        return _riff(chunk, b"data", 512) + bytes(512)
    return {
        5: choice.randbytes(512),
        6: good[: choice.randrange(len(good))],
        7: _riff(b"LIST" + struct.pack("<I", 0xFFFFFFF0), b"data", 0xFFFFFFFF),
        8: _riff(b"junk\0\0\0\0" * 10_000, b"data", 512) + bytes(512),
    }[kind]
