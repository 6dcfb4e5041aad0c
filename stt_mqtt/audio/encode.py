"""Encoders: Opus packets, a FLAC stream, or unchanged PCM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from stt_mqtt.types import SAMPLE_RATE, Codec

OPUS_OPTIONS: Mapping[str, str] = MappingProxyType(
    {"application": "voip", "frame_duration": "60", "compression_level": "6"}
)
"""Up to complexity 6 libopus does not analyse the sound. With "voip" it codes everything as speech
(SILK). With "audio" it codes everything as music and uses CELT above 18 kbit/s. From 7 on it
analyses the sound, which takes more time."""
_FLAC_OPTIONS = {"compression_level": "5"}
_FLAC_MAGIC = b"fLaC"
_LAST_STREAMINFO = b"\x80"
"""Block type of STREAMINFO, with the flag of the last metadata block."""


class Encoder(Protocol):
    """Encodes one utterance while it is being spoken."""

    @property
    def codec(self) -> Codec:
        """The codec, as named in the start message."""
        ...

    def push(self, pcm: bytes) -> bytes:
        """Encode `pcm` and return the bytes that are ready, perhaps none.

        `pcm`: any number of bytes of 16-bit little-endian mono samples at `SAMPLE_RATE`.
        """
        ...

    def finish(self) -> bytes:
        """Return the remaining bytes. Drops half a sample at the end. Do not use it afterwards."""
        ...


def make_encoder(codec: Codec, opus_kbps: int) -> Encoder:
    """Make an encoder for one utterance. `opus_kbps`: bit rate of Opus in kbit/s.

    Raises ValueError for a codec that satellites do not send.
    """
    if codec is Codec.OPUS:
        return OpusEncoder(opus_kbps)
    if codec is Codec.FLAC:
        return FlacEncoder()
    if codec is Codec.PCM_S16LE:
        return _PcmEncoder()
    raise ValueError(f"{codec} is decoded here, not encoded")


class _PcmEncoder:
    codec = Codec.PCM_S16LE

    def __init__(self) -> None:
        self._half = b""

    def push(self, pcm: bytes) -> bytes:
        pcm = self._half + pcm
        whole = len(pcm) // 2 * 2
        self._half = pcm[whole:]
        return pcm[:whole]

    def finish(self) -> bytes:
        return b""


class OpusEncoder:
    """Encodes to raw Opus packets, each after its 2-byte little-endian length."""

    codec = Codec.OPUS

    def __init__(self, kbps: int, options: Mapping[str, str] = OPUS_OPTIONS) -> None:
        """`options` are those of libopus in FFmpeg."""
        context = AudioCodecContext.create("libopus", "w")
        self._coder = _Coder(context, options, kbps * 1000)

    def push(self, pcm: bytes) -> bytes:
        """Encode `pcm` and return complete packets; see `Encoder`."""
        return b"".join(map(_behind_length, self._coder.push(pcm)))

    def finish(self) -> bytes:
        """Return the last one or two packets, padded with silence."""
        # libopus has a delay. It pads with silence until its last sample is encoded.
        return b"".join(map(_behind_length, self._coder.finish()))


class FlacEncoder:
    """Encodes to a FLAC stream of unknown length."""

    codec = Codec.FLAC

    def __init__(self, rate: int = SAMPLE_RATE, channels: int = 1) -> None:
        """`rate` in Hz; `channels`: 1 or 2, whose samples alternate in what is pushed."""
        context = AudioCodecContext.create("flac", "w")
        self._coder = _Coder(context, _FLAC_OPTIONS, rate=rate, channels=channels)
        info = self._coder.extradata
        self._header = _FLAC_MAGIC + _LAST_STREAMINFO + len(info).to_bytes(3, "big") + info

    def push(self, pcm: bytes) -> bytes:
        """Encode `pcm` and return whole frames; see `Encoder`."""
        return self._behind_header(b"".join(self._coder.push(pcm)))

    def finish(self) -> bytes:
        """Return the last frame."""
        return self._behind_header(b"".join(self._coder.finish()))

    def _behind_header(self, frames: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + frames


class _Coder:
    """Splits samples into frames for a codec of FFmpeg, and returns its packets."""

    def __init__(
        self,
        context: AudioCodecContext,
        options: Mapping[str, str],
        bits_per_s: int | None = None,
        rate: int = SAMPLE_RATE,
        channels: int = 1,
    ) -> None:
        self._rate = context.sample_rate = rate
        self._layout = "mono" if channels == 1 else "stereo"
        context.format = "s16"
        context.layout = self._layout
        context.options = dict(options)
        if bits_per_s is not None:
            context.bit_rate = bits_per_s
        context.open()
        self._context = context
        self._sample_bytes = 2 * channels
        self._frame_bytes = self._sample_bytes * context.frame_size
        self._pending = bytearray()

    @property
    def extradata(self) -> bytes:
        """The header data of the codec for the whole stream."""
        return self._context.extradata or b""

    def push(self, pcm: bytes) -> Iterator[bytes]:
        self._pending += pcm
        while len(self._pending) >= self._frame_bytes:
            frame = self._pending[: self._frame_bytes]
            del self._pending[: self._frame_bytes]
            yield from self._encode(frame)

    def finish(self) -> Iterator[bytes]:
        rest = self._pending[: len(self._pending) // self._sample_bytes * self._sample_bytes]
        if rest:
            yield from self._encode(rest)
        yield from map(bytes, self._context.encode(None))

    def _encode(self, pcm: bytearray) -> Iterator[bytes]:
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=self._layout)
        frame.sample_rate = self._rate
        yield from map(bytes, self._context.encode(frame))


def _behind_length(packet: bytes) -> bytes:
    return len(packet).to_bytes(2, "little") + packet
