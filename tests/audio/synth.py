"""Audio that the tests make themselves: tones, and every container and packet form of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO, RawIOBase
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from stt_mqtt.types import Samples


def tone(
    hz: float = 440.0, seconds: float = 1.0, rate: int = 16_000, level: float = 0.5
) -> Samples:
    """A sine of amplitude `level`."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def s16(samples: Samples, channels: int = 1) -> bytes:
    """Samples as pcm_s16le, the same on every channel."""
    return np.repeat((samples * 32767).astype("<i2"), channels).tobytes()


def level_at(samples: Samples, hz: float, rate: int = 16_000) -> float:
    """Amplitude of the sine of `hz` in the middle of `samples`."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    turn = np.exp(-2j * np.pi * hz * np.arange(len(middle)) / rate)
    return float(2 * abs(np.mean(middle * turn * np.hanning(len(middle)) * 2)))


def is_tone(samples: Samples, hz: float = 440.0, level: float = 0.5) -> bool:
    """Whether `samples` is a tone of about this level and hardly anything else."""
    heard = level_at(samples, hz)
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    rest = float(np.mean(middle**2)) - heard**2 / 2
    return abs(heard - level) < 0.05 and abs(rest) < 0.01


def chunk(name: bytes, body: bytes, size: int | None = None, pad: bytes = b"") -> bytes:
    """A RIFF chunk; `size` is what its header claims."""
    return name + struct.pack("<I", len(body) if size is None else size) + body + pad


def fmt(
    tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, extra: bytes = b""
) -> bytes:
    """A `fmt ` chunk."""
    block = channels * bits // 8
    head = struct.pack(
        "<HHIIHH", tag, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    return chunk(b"fmt ", head + extra)


def riff(*chunks: bytes, size: int = 0) -> bytes:
    """A WAV file of these chunks; the size in its header is `size`, mostly wrong."""
    return b"RIFF" + struct.pack("<I", size) + b"WAVE" + b"".join(chunks)


class _Unseekable(RawIOBase):
    """A sink that cannot go back, as a live stream: sizes and durations stay unknown."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self.data += piece
        return len(piece)


def container(
    kind: str,
    codec: str,
    samples: Samples,
    rate: int = 16_000,
    channels: int = 1,
    live: bool = False,
    flags: str = "",
) -> bytes:
    """`samples` in a container, through PyAV. `live`: written without seeking back.

    `flags`: `movflags` of MP4.
    """
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    seekable = BytesIO()
    unseekable = _Unseekable()
    options = {"ogg": {"page_duration": "100000"}, "webm": {"live": str(int(live))}}.get(kind, {})
    if flags:
        options = {"movflags": flags, "frag_duration": "200000"}
    with av.open(unseekable if live else seekable, "w", format=kind, options=options) as out:
        stream = out.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.layout = layout
        if codec == "vorbis":
            stream.codec_context.options = {"strict": "-2"}
        for frame in _frames(samples, rate, layout, channels):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return bytes(unseekable.data) if live else seekable.getvalue()


def _frames(samples: Samples, rate: int, layout: str, channels: int) -> Iterator[av.AudioFrame]:
    """20 ms each, as a microphone would give them."""
    step = rate // 50
    for start in range(0, len(samples), step):
        piece = np.repeat((samples[start : start + step] * 32767).astype("<i2"), channels)
        frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate
        frame.pts = start
        yield frame


def opus_packets(samples: Samples, channels: int = 1, frame_ms: str = "20") -> list[bytes]:
    """`samples` at 48 kHz as raw Opus packets."""
    context = av.CodecContext.create("libopus", "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = 48_000
    context.format = "s16"
    context.layout = "mono" if channels == 1 else "stereo"
    context.options = {"frame_duration": frame_ms}
    context.open()
    packets = []
    step = context.frame_size
    for start in range(0, len(samples) - step + 1, step):
        piece = np.repeat((samples[start : start + step] * 32767).astype("<i2"), channels)
        frame = av.AudioFrame.from_ndarray(
            piece.reshape(1, -1), format="s16", layout=context.layout.name
        )
        frame.sample_rate = 48_000
        frame.pts = start
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


def framed(packets: list[bytes]) -> bytes:
    """Packets, each behind its 2-byte length."""
    return b"".join(struct.pack("<H", len(packet)) + packet for packet in packets)


def silent_film() -> bytes:
    """A Matroska file with a picture and no sound."""
    out = BytesIO()
    with av.open(out, "w", format="matroska") as muxer:
        stream = muxer.add_stream("mjpeg", rate=1)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuvj420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        muxer.mux(stream.encode(frame))
        muxer.mux(stream.encode(None))
    return out.getvalue()
