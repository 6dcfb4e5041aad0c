"""Stores PCM. PCM that needs too much memory is resampled as it arrives."""

from __future__ import annotations

from math import inf

import numpy as np

from stt_mqtt.audio.conditioner import Clipping
from stt_mqtt.audio.frames import Converter
from stt_mqtt.audio.layout import Layout
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm, s16le
from stt_mqtt.audio.resample import Resampler
from stt_mqtt.audio.stores import AudioCap, EncodedBytes, Store, within
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Planar

_RESAMPLED_FRAME_BYTES = 4
"""Bytes of a frame of one float, or of two channels of 16 bits."""
_LARGEST_RATE = SAMPLE_RATE * _RESAMPLED_FRAME_BYTES
"""Most bytes per second of PCM that is kept unchanged. Resampling would not make it smaller."""
_PENDING_BYTES = 128 * 1024
"""Raw bytes that are inspected together, so that the cost per chunk is small."""
_STEP_S = 0.03
"""Least audio that is resampled at once, because each call is expensive: a frame of the meter."""


def pcm_store(audio_format: AudioFormat, cap: AudioCap) -> Store:
    """Make an empty store for PCM."""
    frame_bytes = PCM_TYPES[audio_format.codec].width * audio_format.channels
    if frame_bytes * audio_format.rate > _LARGEST_RATE:
        return _ResampledPcm(audio_format, cap)
    return PlainPcm(audio_format, cap)


class PlainPcm(EncodedBytes):
    """PCM, kept as it comes."""

    __slots__ = ("_converter", "_frame_bytes", "_last", "_limit", "_to_s", "taken")

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        super().__init__(audio_format, cap)
        self._frame_bytes = PCM_TYPES[audio_format.codec].width * audio_format.channels
        frames = min(int(cap.max_s * audio_format.rate), cap.max_bytes // self._frame_bytes)
        self._limit = frames * self._frame_bytes
        self._last = 0
        self._converter: Converter | None = None
        """Makes the samples that are taken; None as long as they are the stored ones."""
        if audio_format != AudioFormat():
            sample_type = PCM_TYPES[audio_format.codec]
            self._converter = Converter(sample_type, audio_format.rate, audio_format.channels)
        self._to_s = inf
        self.taken = 0
        """Bytes that were taken by `take_decoded`."""

    def append(self, chunk: bytes) -> bool:
        """Keep what fits."""
        size = len(chunk)
        self._last = size or self._last
        room = self._limit - len(self._data)
        if size <= room:
            self._data += chunk
            return True
        self._data += chunk[:room]
        return False

    def append_loss(self, chunks: int) -> None:
        """Append zeros."""
        self._data += bytes(min(chunks * self._last, self._limit - len(self._data)))

    def decode(self, to_s: float) -> None:
        """Let the first `to_s` seconds be taken. It needs no decoding."""
        self._to_s = to_s

    @property
    def undecoded_s(self) -> float:
        """Length of the audio that was not taken."""
        return (len(self._data) - self.taken) // self._frame_bytes / self._format.rate

    def take_decoded(self) -> bytes:
        """The whole frames that are new and may be taken."""
        frames = within(len(self._data) // self._frame_bytes, self._to_s, self._format.rate)
        end = max(frames * self._frame_bytes, self.taken)
        new = bytes(self._data[self.taken : end])
        self.taken = end
        return new if self._converter is None else self._converter.push(new)

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self._data) // self._frame_bytes / self._format.rate


class Kept:
    """Samples at `SAMPLE_RATE`, kept as PCM of `codec`.

    Two channels are mixed only at the end, when it is known which one is better.
    """

    def __init__(self, channels: int, codec: Codec) -> None:
        self._format = AudioFormat(codec, SAMPLE_RATE, channels)
        self._frame_bytes = PCM_TYPES[codec].width * channels
        self._data = bytearray()
        self._taken = 0
        self.clipped = False
        """Whether so much of the audio is clipped that recognition suffers."""
        self.to_s = inf
        """Seconds that may be taken, from the beginning."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return len(self._data)

    @property
    def untaken_s(self) -> float:
        """Length of the audio that was not taken."""
        return (len(self._data) - self._taken) / self._frame_bytes / SAMPLE_RATE

    def keep(self, planar: Planar) -> None:
        """Add samples."""
        if self._format.codec is Codec.PCM_F32LE:
            self._data += np.ascontiguousarray(planar.T).tobytes()
        else:
            self._data += s16le(planar)

    def take_decoded(self) -> bytes:
        """What is new and may be taken, as 16-bit mono."""
        frames = within(len(self._data) // self._frame_bytes, self.to_s, SAMPLE_RATE)
        end = max(frames * self._frame_bytes, self._taken)
        new = bytes(self._data[self._taken : end])
        self._taken = end
        if self._format == AudioFormat():
            return new
        pcm = Pcm(new, PCM_TYPES[self._format.codec], SAMPLE_RATE, self._format.channels)
        return s16le(pcm.planar(0, pcm.frames).mean(axis=0, keepdims=True))

    def forget_taken(self) -> None:
        """Drop what was taken. `snapshot` must not be called any more."""
        del self._data[: self._taken]
        self._taken = 0

    def snapshot(self, hint: Hint | None = None) -> EncodedAudio:
        """The audio so far, with the more important one of `hint` and the own one."""
        clipping = Hint.CLIPPING if self.clipped else None
        return EncodedAudio(self._format, bytes(self._data), foremost([hint, clipping]))


class _ResampledPcm:
    """PCM with a high data rate. Its layout is inspected before it is resampled."""

    def __init__(self, audio_format: AudioFormat, cap: AudioCap) -> None:
        self._format = audio_format
        self._type = PCM_TYPES[audio_format.codec]
        self._frame_bytes = self._type.width * audio_format.channels
        self._pending_limit = min(_PENDING_BYTES, max(cap.max_bytes // 4, self._frame_bytes))
        kept = max(cap.max_bytes - self._pending_limit, 0) // _RESAMPLED_FRAME_BYTES
        frames = min(int(cap.max_s * audio_format.rate), kept * audio_format.rate // SAMPLE_RATE)
        self._limit = frames * self._frame_bytes
        self._step = int(_STEP_S * audio_format.rate) * self._frame_bytes
        self._layout = Layout(self._type, audio_format.rate, audio_format.channels)
        codec = Codec.PCM_F32LE if audio_format.channels == 1 else Codec.PCM_S16LE
        self._resampler = Resampler(audio_format.rate, audio_format.channels)
        self._clipping = Clipping()
        self._kept = Kept(audio_format.channels, codec)
        self._pending = bytearray()
        self._resampled = 0
        """Bytes of the pending ones that were resampled and wait for the inspection alone."""
        self._received = 0
        self._last = 0

    def append(self, chunk: bytes) -> bool:
        self._last = len(chunk) or self._last
        fitting = min(len(chunk), self._limit - self._received)
        self._receive(memoryview(chunk)[:fitting])
        return fitting == len(chunk)

    def append_loss(self, chunks: int) -> None:
        missing = min(chunks * self._last, self._limit - self._received)
        silence = memoryview(bytes(self._pending_limit))
        while missing:
            piece = silence[:missing]
            self._receive(piece)
            missing -= len(piece)

    def decode(self, to_s: float) -> None:
        """Let the first `to_s` seconds be taken. It was resampled when it was appended."""
        self._kept.to_s = to_s

    @property
    def undecoded_s(self) -> float:
        return self._kept.untaken_s

    def take_decoded(self) -> bytes:
        return self._kept.take_decoded()

    @property
    def seconds(self) -> float:
        return self._received // self._frame_bytes / self._format.rate

    @property
    def nbytes(self) -> int:
        return len(self._pending) + self._kept.nbytes

    def snapshot(self) -> EncodedAudio:
        return self._kept.snapshot(self._layout.hint)

    def close(self) -> EncodedAudio:
        self._inspect()
        self._kept.keep(self._resampler.flush())
        return self.snapshot()

    def _receive(self, raw: memoryview) -> None:
        while raw:
            piece = raw[: self._pending_limit - len(self._pending)]
            self._pending += piece
            self._received += len(piece)
            raw = raw[len(piece) :]
            if len(self._pending) == self._pending_limit:
                self._inspect()
        if len(self._pending) - self._resampled >= self._step:
            self._resample()

    def _inspect(self) -> None:
        """Resample and inspect all pending bytes, and forget them."""
        usable = self._resample()
        self._layout.push(memoryview(bytes(self._pending[:usable])))
        del self._pending[:usable]
        self._resampled = 0

    def _resample(self) -> int:
        """Resample the pending bytes. Return how many make whole frames."""
        usable = len(self._pending) // self._frame_bytes * self._frame_bytes
        data = bytes(self._pending[self._resampled : usable])
        pcm = Pcm(data, self._type, self._format.rate, self._format.channels)
        planar = pcm.planar(0, pcm.frames)
        self._clipping.push(planar)
        self._kept.clipped = self._clipping.found
        self._kept.keep(self._resampler.push(planar))
        self._resampled = usable
        return usable
