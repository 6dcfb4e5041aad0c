"""The seeds of the targets that take audio: files in `corpus/`, a folder for each kind.

They are committed, because encoders put random numbers into files, and a run must be repeatable.
`python -m tests.fuzz.audio_seeds` makes them again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from stt_mqtt.audio.adpcm import block_frames
from stt_mqtt.types import Samples
from tests.audio.synth import chunk, container, fmt, framed, opus_packets, riff, s16, tone

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 0.12


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """The seeds of a kind."""
    return tuple(path.read_bytes() for path in sorted((CORPUS / kind).iterdir()))


def all_seeds() -> list[bytes]:
    """All files of audio."""
    kinds = ("wav", "flac", "ogg", "webm", "mp4", "mp3")
    return [seed for kind in kinds for seed in seeds(kind)]


def _sound(rate: int) -> Samples:
    """A tone that gets louder: no two frames are the same."""
    sound = tone(300, SECONDS, rate)
    return sound * np.linspace(0.1, 1, len(sound), dtype=np.float32)


def _wavs() -> dict[str, bytes]:
    low = _sound(8_000)
    pcm = s16(low)
    floats = low.astype("<f4").tobytes()
    guid = struct.pack("<HHIH", 22, 16, 4, 1) + bytes.fromhex("000000001000800000aa00389b71")
    return {
        "s16": riff(fmt(rate=8_000), chunk(b"data", pcm)),
        "f32": riff(fmt(3, rate=8_000, bits=32), chunk(b"data", floats)),
        "s24": riff(fmt(channels=2, bits=24, rate=8_000), chunk(b"data", bytes(range(240)))),
        "u8": riff(chunk(b"LIST", b"abc", pad=b"\0"), fmt(rate=8_000, bits=8), chunk(b"data", pcm)),
        "extensible": riff(fmt(0xFFFE, rate=8_000, extra=guid), chunk(b"data", pcm, 0xFFFFFFFF)),
        "ima": container("wav", "adpcm_ima_wav", low, 8_000),
        "alaw": container("wav", "pcm_alaw", low, 8_000),
        "mulaw": container("wav", "pcm_mulaw", low, 8_000),
    }


def _flacs() -> dict[str, bytes]:
    return {
        "mono": _without_padding(container("flac", "flac", _sound(16_000))),
        "stereo": _without_padding(container("flac", "flac", _sound(8_000), 8_000, 2, live=True)),
    }


def _without_padding(flac: bytes) -> bytes:
    """A FLAC file with the first block of its metadata only."""
    at, is_last = 4, 0
    while not is_last:
        is_last = flac[at] & 0x80
        at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    return flac[:4] + b"\x80" + flac[5 : 4 + 38] + flac[at:]


def _oggs() -> dict[str, bytes]:
    return {
        "opus": container("ogg", "libopus", _sound(48_000), 48_000),
        "opus-stereo": container("ogg", "libopus", _sound(48_000), 48_000, 2, live=True),
        "flac": container("ogg", "flac", _sound(8_000), 8_000),
        "vorbis": container("ogg", "vorbis", _sound(16_000), channels=2),
    }


def _webms() -> dict[str, bytes]:
    return {
        "opus": container("webm", "libopus", _sound(48_000), 48_000),
        "opus-live": container("webm", "libopus", _sound(48_000), 48_000, 2, live=True),
        "pcm": container("matroska", "pcm_s16le", _sound(8_000), 8_000),
        "vorbis": container("webm", "vorbis", _sound(16_000), channels=2),
    }


def _mp4s() -> dict[str, bytes]:
    fragments = "frag_keyframe+empty_moov+default_base_moof"
    return {
        "aac": container("mp4", "aac", _sound(16_000)),
        "aac-fragments": container("mp4", "aac", _sound(16_000), live=True, flags=fragments),
        "alac": container("mp4", "alac", _sound(8_000), 8_000),
        "opus": container("mp4", "libopus", _sound(48_000), 48_000),
    }


def _mp3s() -> dict[str, bytes]:
    return {
        "mono": container("mp3", "libmp3lame", _sound(16_000)),
        "stereo": container("mp3", "libmp3lame", _sound(44_100), 44_100, 2),
    }


def _packets() -> dict[str, bytes]:
    sound = _sound(48_000)
    return {
        "mono": framed(opus_packets(sound)),
        "stereo": framed([*opus_packets(sound, 2)[:2], b"", *opus_packets(sound, 2)[2:]]),
        "short": framed(opus_packets(sound, frame_ms="2.5")[:8]),
    }


def _blocks() -> dict[str, bytes]:
    mono = struct.pack("<hBB", -5, 40, 0) + bytes(range(60))
    stereo = struct.pack("<hBBhBB", 5, 88, 0, 1, 0, 0) + bytes(range(64))
    assert block_frames(mono, 1)
    assert block_frames(stereo, 2)
    return {"mono": mono, "stereo": stereo}


KINDS: dict[str, Callable[[], dict[str, bytes]]] = {
    "wav": _wavs,
    "flac": _flacs,
    "ogg": _oggs,
    "webm": _webms,
    "mp4": _mp4s,
    "mp3": _mp3s,
    "opus": _packets,
    "adpcm": _blocks,
}


if __name__ == "__main__":
    for kind, make in KINDS.items():
        (CORPUS / kind).mkdir(parents=True, exist_ok=True)
        for name, data in make().items():
            (CORPUS / kind / name).write_bytes(data)
