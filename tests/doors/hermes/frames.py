"""WAV frames as satellites send them, each built by hand; and what does not deserve the name."""

from __future__ import annotations

import struct
from io import BytesIO
from wave import open as open_wave

from stt_mqtt.types import Samples
from tests.audio.synth import chunk, fmt, riff, s16

FRAME_BYTES = 512
"""What one frame of Snips and Rhasspy carries: 256 samples of 16 kHz mono, 16 ms."""


def classic(pcm: bytes, rate: int = 16_000, channels: int = 1) -> bytes:
    """As Rhasspy makes them, with Python's own writer: the 44-byte header, all sizes right."""
    out = BytesIO()
    with open_wave(out, "wb") as writer:
        writer.setframerate(rate)
        writer.setsampwidth(2)
        writer.setnchannels(channels)
        writer.writeframes(pcm)
    return out.getvalue()


def with_time(pcm: bytes) -> bytes:
    """As the Snips audio server makes them: when it was heard stands in a header of 60 bytes."""
    time = chunk(b"time", struct.pack("<Q", 1_795_000_000_123))
    return riff(fmt(), time, chunk(b"data", pcm), size=52 + len(pcm))


def with_replay_marks(pcm: bytes) -> bytes:
    """Replayed audio of Snips: a request id of odd length without a pad byte, and a flag."""
    marks = chunk(b"rpid", b"a-request") + chunk(b"rprf", b"\1")
    return riff(fmt(), marks, chunk(b"data", pcm), size=len(pcm))


def with_everything(pcm: bytes) -> bytes:
    """All three, the odd ones first."""
    marks = chunk(b"rpid", b"odd") + chunk(b"time", bytes(8)) + chunk(b"rprf", b"\0")
    return riff(fmt(), marks, chunk(b"data", pcm))


def data_size_doubled(pcm: bytes) -> bytes:
    """1024 are claimed, 512 follow: whoever wrote it counted the bytes of samples twice."""
    return riff(fmt(), chunk(b"data", pcm, 2 * len(pcm)), size=36 + 2 * len(pcm))


def riff_size_too_large(pcm: bytes) -> bytes:
    """The size of the whole file where that without the first 8 bytes belongs."""
    return riff(fmt(), chunk(b"data", pcm), size=44 + len(pcm))


def streamed(pcm: bytes) -> bytes:
    """Of a writer that did not know how much would follow."""
    return riff(fmt(), chunk(b"data", pcm, 0xFFFFFFFF), size=0xFFFFFFFF)


def data_size_zero(pcm: bytes) -> bytes:
    """Of a writer that could not go back to its header."""
    return riff(fmt(), chunk(b"data", pcm, 0))


FRAMINGS = (
    classic,
    with_time,
    with_replay_marks,
    with_everything,
    data_size_doubled,
    riff_size_too_large,
    streamed,
    data_size_zero,
)
"""Each makes a frame of 16 kHz mono pcm_s16le."""


def at_rate(samples: Samples, rate: int, channels: int = 1) -> bytes:
    """A frame of another rate or of several channels."""
    return classic(s16(samples, channels), rate, channels)


BROKEN = {
    "empty": b"",
    "a word": b"frame",
    "zeros": bytes(556),
    "raw samples": b"\1\0" * 256,
    "only RIFF": b"RIFF",
    "a header cut short": classic(bytes(FRAME_BYTES))[:30],
    "no samples": classic(b""),
    "no format": riff(chunk(b"data", bytes(FRAME_BYTES))),
    "a chunk without end": riff(fmt(), chunk(b"time", b"", 0xFFFFFFFF), chunk(b"data", bytes(8))),
    "a rate of gigahertz": riff(fmt(rate=0xFFFFFFFF), chunk(b"data", bytes(FRAME_BYTES))),
    "no channels": riff(fmt(channels=0), chunk(b"data", bytes(FRAME_BYTES))),
    "mu-law": riff(fmt(tag=7, bits=8), chunk(b"data", bytes(FRAME_BYTES))),
    "an Ogg page": b"OggS" + bytes(200),
}
"""None of them is audio that can be taken."""
