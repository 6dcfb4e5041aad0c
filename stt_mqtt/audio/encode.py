"""Encoders of a satellite: Opus packets, a FLAC stream, or PCM as it is."""

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
"""Up to complexity 6 libopus does not analyse the sound: with "voip" it codes everything as speech
(SILK), with "audio" it takes everything for music and uses CELT above 18 kbit/s. From 7 on it
analyses the sound, which takes more time."""
_FLAC_OPTIONS = {"compression_level": "5"}
_FLAC_MAGIC = b"fLaC"
_LAST_STREAMINFO = b"\x80"
"""Block type of STREAMINFO, with the flag that no other metadata follows."""


class Encoder(Protocol):
    """Codes one utterance while it is being spoken."""

    @property
    def codec(self) -> Codec:
        """How the bytes are coded, as the start mark tells it."""
        ...

    def push(self, pcm: bytes) -> bytes:
        """Bytes for the wire that are ready after `pcm`, perhaps none.

        `pcm`: any number of bytes of 16-bit little-endian mono samples at `SAMPLE_RATE`.
        """
        ...

    def finish(self) -> bytes:
        """The rest. The encoder is used up afterwards; half a sample at the end is left out."""
        ...


def make_encoder(codec: Codec, opus_kbps: int) -> Encoder:
    """An encoder for one utterance; `opus_kbps` is the bit rate of Opus in kbit/s.

    Raises ValueError for a codec that satellites do not send.
    """
    if codec is Codec.OPUS:
        return OpusEncoder(opus_kbps)
    if codec is Codec.FLAC:
        return _FlacEncoder()
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
    """Raw packets, each behind its 2-byte little-endian length."""

    codec = Codec.OPUS

    def __init__(self, kbps: int, options: Mapping[str, str] = OPUS_OPTIONS) -> None:
        """`options` of FFmpeg's libopus."""
        context = AudioCodecContext.create("libopus", "w")
        self._coder = _Coder(context, options, kbps * 1000)

    def push(self, pcm: bytes) -> bytes:
        """Packets that are full after `pcm`; see `Encoder`."""
        return b"".join(map(_behind_length, self._coder.push(pcm)))

    def finish(self) -> bytes:
        """The last packet or two, filled up with silence."""
        # libopus looks ahead, and pads with silence here until its last sample is out.
        return b"".join(map(_behind_length, self._coder.finish()))


class _FlacEncoder:
    """A FLAC stream of unknown length."""

    codec = Codec.FLAC

    def __init__(self) -> None:
        self._coder = _Coder(AudioCodecContext.create("flac", "w"), _FLAC_OPTIONS)
        info = self._coder.extradata
        self._header = _FLAC_MAGIC + _LAST_STREAMINFO + len(info).to_bytes(3, "big") + info

    def push(self, pcm: bytes) -> bytes:
        return self._behind_header(b"".join(self._coder.push(pcm)))

    def finish(self) -> bytes:
        return self._behind_header(b"".join(self._coder.finish()))

    def _behind_header(self, frames: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + frames


class _Coder:
    """Cuts samples into the frames that a codec of FFmpeg takes, and gives its packets."""

    def __init__(
        self, context: AudioCodecContext, options: Mapping[str, str], bits_per_s: int | None = None
    ) -> None:
        context.sample_rate = SAMPLE_RATE
        context.format = "s16"
        context.layout = "mono"
        context.options = dict(options)
        if bits_per_s is not None:
            context.bit_rate = bits_per_s
        context.open()
        self._context = context
        self._frame_bytes = 2 * context.frame_size
        self._pending = bytearray()

    @property
    def extradata(self) -> bytes:
        """What the codec says about the stream as a whole."""
        return self._context.extradata or b""

    def push(self, pcm: bytes) -> Iterator[bytes]:
        self._pending += pcm
        while len(self._pending) >= self._frame_bytes:
            frame = self._pending[: self._frame_bytes]
            del self._pending[: self._frame_bytes]
            yield from self._encode(frame)

    def finish(self) -> Iterator[bytes]:
        rest = self._pending[: len(self._pending) // 2 * 2]
        if rest:
            yield from self._encode(rest)
        yield from map(bytes, self._context.encode(None))

    def _encode(self, pcm: bytearray) -> Iterator[bytes]:
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        yield from map(bytes, self._context.encode(frame))


def _behind_length(packet: bytes) -> bytes:
    return len(packet).to_bytes(2, "little") + packet
