"""Stores for the audio of one open utterance, one per kind of codec.

Chunks arrive on the event loop, thousands per second, so most stores only append to a bytearray.
PCM that needs too much memory is converted as it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stt_mqtt.audio.adpcm import block_frames
from stt_mqtt.audio.conditioner import Clipping
from stt_mqtt.audio.layout import Layout
from stt_mqtt.audio.opus import OPUS_RATE, PacketWalk
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm, s16le
from stt_mqtt.audio.resample import Resampler
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Planar

_CONVERTED_FORMATS = {
    1: AudioFormat(Codec.PCM_F32LE, SAMPLE_RATE, 1),
    2: AudioFormat(Codec.PCM_S16LE, SAMPLE_RATE, 2),
}
"""By number of channels. Two are mixed only at the end, when it is known which one is better."""
_CONVERTED_FRAME_BYTES = 4
"""Bytes of a converted frame, the same for one and two channels."""
_LARGEST_RATE = SAMPLE_RATE * _CONVERTED_FRAME_BYTES
"""Most bytes per second of PCM that is kept unchanged. Conversion would not make it smaller."""
_PENDING_BYTES = 128 * 1024
"""Raw bytes that are converted together, so that the cost per chunk is small."""


@dataclass(frozen=True, slots=True)
class AudioCap:
    """The cap of one utterance: seconds of audio, and bytes in memory."""

    max_s: float
    max_bytes: int


class Store(Protocol):
    """Stores an utterance. `AudioBuffer` documents the members."""

    def append(self, chunk: bytes) -> bool: ...  # noqa: D102

    def append_loss(self, chunks: int) -> None: ...  # noqa: D102

    @property
    def seconds(self) -> float: ...  # noqa: D102

    @property
    def nbytes(self) -> int: ...  # noqa: D102

    def close(self) -> EncodedAudio: ...  # noqa: D102


def store_for(audio_format: AudioFormat | None, cap: AudioCap) -> Store:
    """Make an empty store for the codec. None: a file whose kind is detected when decoding."""
    if audio_format is None:
        return _UnknownFile(AudioFormat(), cap)
    if audio_format.codec in PCM_TYPES:
        frame_bytes = PCM_TYPES[audio_format.codec].width * audio_format.channels
        if frame_bytes * audio_format.rate > _LARGEST_RATE:
            return _ConvertedPcm(audio_format, cap)
        return _PlainPcm(audio_format, cap)
    if audio_format.codec is Codec.ADPCM_IMA:
        return _Adpcm(audio_format, cap)
    if audio_format.codec is Codec.OPUS:
        return _Opus(audio_format, cap)
    return _Stream(audio_format, cap)


class _Bytes:
    """Base of the stores that keep bytes unchanged."""

    __slots__ = ("_data", "_format", "_full", "_max_bytes")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        self._format = audio_format
        self._max_bytes = cap.max_bytes
        self._data = bytearray()
        self._full = False

    @property
    def nbytes(self) -> int:
        return len(self._data)

    def close(self) -> EncodedAudio:
        return EncodedAudio(self._format, bytes(self._data))

    def _admit(self, size: int, within_length: bool) -> bool:
        """Whether `size` more bytes fit. After a refusal nothing fits, so that there is no gap."""
        self._full = self._full or not within_length or len(self._data) + size > self._max_bytes
        return not self._full


class _PlainPcm(_Bytes):
    """PCM, kept as it comes."""

    __slots__ = ("_frame_bytes", "_last", "_limit")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        super().__init__(audio_format, cap)
        self._frame_bytes = PCM_TYPES[audio_format.codec].width * audio_format.channels
        frames = min(int(cap.max_s * audio_format.rate), cap.max_bytes // self._frame_bytes)
        self._limit = frames * self._frame_bytes
        self._last = 0

    def append(self, chunk: bytes) -> bool:
        size = len(chunk)
        self._last = size or self._last
        room = self._limit - len(self._data)
        if size <= room:
            self._data += chunk
            return True
        self._data += chunk[:room]
        return False

    def append_loss(self, chunks: int) -> None:
        self._data += bytes(min(chunks * self._last, self._limit - len(self._data)))

    @property
    def seconds(self) -> float:
        return len(self._data) // self._frame_bytes / self._format.rate


class _Adpcm(_Bytes):
    """Blocks, each behind a 4-byte little-endian length; damaged ones are dropped."""

    __slots__ = ("_frames", "_last", "_max_frames")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        super().__init__(audio_format, cap)
        self._max_frames = int(cap.max_s * audio_format.rate)
        self._frames = 0
        self._last = 0

    def append(self, chunk: bytes) -> bool:
        frames = block_frames(chunk, self._format.channels)
        if not frames:
            return True
        if not self._admit(4 + len(chunk), self._frames + frames <= self._max_frames):
            return False
        self._data += len(chunk).to_bytes(4, "little")
        self._data += chunk
        self._frames += frames
        self._last = len(chunk)
        return True

    def append_loss(self, chunks: int) -> None:
        if not self._last:
            return
        # A block of zeros is silence: predictor 0, and the smallest step rounds to no change.
        block = self._last.to_bytes(4, "little") + bytes(self._last)
        frames = block_frames(block[4:], self._format.channels)
        count = min(
            chunks,
            (self._max_frames - self._frames) // frames,
            (self._max_bytes - len(self._data)) // len(block),
        )
        self._data += block * count
        self._frames += frames * count

    @property
    def seconds(self) -> float:
        return self._frames / self._format.rate


class _Opus(_Bytes):
    """Packets, each behind a 2-byte little-endian length, as they come."""

    __slots__ = ("_last_packets", "_max_samples", "_samples", "_walk")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        super().__init__(audio_format, cap)
        self._max_samples = int(cap.max_s * OPUS_RATE)
        self._walk = PacketWalk()
        self._samples = 0
        self._last_packets = 0

    def append(self, chunk: bytes) -> bool:
        size = samples = packets = 0
        for packet, duration in self._walk.packets(chunk):
            size += 2 + len(packet)
            samples += duration
            packets += 1
        if not packets:
            return True
        if not self._admit(size, self._samples + samples <= self._max_samples):
            return False
        self._data += chunk[:size]
        self._samples += samples
        self._last_packets = packets
        return True

    def append_loss(self, chunks: int) -> None:
        duration = self._walk.previous
        count = min(
            chunks * self._last_packets,
            (self._max_samples - self._samples) // duration,
            (self._max_bytes - len(self._data)) // 2,
        )
        self._data += bytes(2 * count)
        self._samples += duration * count

    @property
    def seconds(self) -> float:
        return self._samples / OPUS_RATE


class _Stream(_Bytes):
    """A container, as it comes; its length is known when it is decoded."""

    __slots__ = ()

    seconds = 0.0

    def append(self, chunk: bytes) -> bool:
        if not self._admit(len(chunk), within_length=True):
            return False
        self._data += chunk
        return True

    def append_loss(self, chunks: int) -> None:
        """Nothing: silence cannot be written into a container."""


class _UnknownFile(_Stream):
    """A file of a kind that was not declared."""

    __slots__ = ()

    def close(self) -> EncodedAudio:
        return EncodedAudio(None, bytes(self._data))


class _ConvertedPcm:
    """PCM with a high data rate, converted to `_CONVERTED_FORMATS`."""

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        self._format = audio_format
        self._type = PCM_TYPES[audio_format.codec]
        self._frame_bytes = self._type.width * audio_format.channels
        self._pending_limit = min(_PENDING_BYTES, max(cap.max_bytes // 4, self._frame_bytes))
        kept = max(cap.max_bytes - self._pending_limit, 0) // _CONVERTED_FRAME_BYTES
        frames = min(int(cap.max_s * audio_format.rate), kept * audio_format.rate // SAMPLE_RATE)
        self._limit = frames * self._frame_bytes
        self._resampler = Resampler(audio_format.rate, audio_format.channels)
        self._layout = Layout(self._type, audio_format.rate, audio_format.channels)
        self._clipping = Clipping()
        self._kept = _CONVERTED_FORMATS[audio_format.channels]
        self._pending = bytearray()
        self._data = bytearray()
        self._taken = 0
        self._last = 0

    def append(self, chunk: bytes) -> bool:
        self._last = len(chunk) or self._last
        fitting = min(len(chunk), self._limit - self._taken)
        self._take(memoryview(chunk)[:fitting])
        return fitting == len(chunk)

    def append_loss(self, chunks: int) -> None:
        missing = min(chunks * self._last, self._limit - self._taken)
        silence = memoryview(bytes(self._pending_limit))
        while missing:
            piece = silence[:missing]
            self._take(piece)
            missing -= len(piece)

    @property
    def seconds(self) -> float:
        return self._taken // self._frame_bytes / self._format.rate

    @property
    def nbytes(self) -> int:
        return len(self._pending) + len(self._data)

    def close(self) -> EncodedAudio:
        self._convert()
        self._keep(self._resampler.flush())
        clipping = Hint.CLIPPING if self._clipping.found else None
        hint = foremost([self._layout.hint, clipping])
        return EncodedAudio(self._kept, bytes(self._data), hint)

    def _take(self, raw: memoryview) -> None:
        while raw:
            piece = raw[: self._pending_limit - len(self._pending)]
            self._pending += piece
            self._taken += len(piece)
            raw = raw[len(piece) :]
            if len(self._pending) == self._pending_limit:
                self._convert()

    def _convert(self) -> None:
        usable = len(self._pending) // self._frame_bytes * self._frame_bytes
        data = bytes(self._pending[:usable])
        pcm = Pcm(data, self._type, self._format.rate, self._format.channels)
        self._layout.push(pcm.raw(0, pcm.frames))
        planar = pcm.planar(0, pcm.frames)
        self._clipping.push(planar)
        self._keep(self._resampler.push(planar))
        del self._pending[:usable]

    def _keep(self, planar: Planar) -> None:
        if self._kept.codec is Codec.PCM_F32LE:
            self._data += planar.tobytes()
        else:
            self._data += s16le(planar)
