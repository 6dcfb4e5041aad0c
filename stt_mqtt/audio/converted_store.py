"""Keeping PCM that takes more bytes than speech needs: it is converted on the way."""

from __future__ import annotations

from stt_mqtt.audio.clipping import Clipping
from stt_mqtt.audio.layout import Layout
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm, s16le
from stt_mqtt.audio.resample import Resampler
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Planar

_KEPT_FORMATS = {
    1: AudioFormat(Codec.PCM_F32LE, SAMPLE_RATE, 1),
    2: AudioFormat(Codec.PCM_S16LE, SAMPLE_RATE, 2),
}
"""By the channels, which are mixed when all is there: what is the better one shows in the end."""
KEPT_FRAME_BYTES = 4
"""Bytes of a kept sample, of all channels: the same for both."""
_PENDING_BYTES = 128 * 1024
"""Raw bytes that wait for conversion: enough to make its cost per chunk vanish."""


class ConvertedPcm:
    """PCM that takes more bytes than speech needs: brought to `_KEPT_FORMATS` on the way."""

    __slots__ = (
        "_clipping",
        "_data",
        "_format",
        "_frame_bytes",
        "_kept",
        "_last",
        "_layout",
        "_limit",
        "_pending",
        "_pending_limit",
        "_resampler",
        "_taken",
    )

    def __init__(self, audio_format: AudioFormat, max_s: float, max_bytes: int) -> None:
        """At most so many seconds are taken, and so many bytes held."""
        self._format = audio_format
        self._frame_bytes = PCM_TYPES[audio_format.codec].width * audio_format.channels
        self._pending_limit = min(_PENDING_BYTES, max(max_bytes // 4, self._frame_bytes))
        kept = max(max_bytes - self._pending_limit, 0) // KEPT_FRAME_BYTES
        frames = min(int(max_s * audio_format.rate), kept * audio_format.rate // SAMPLE_RATE)
        self._limit = frames * self._frame_bytes
        self._resampler = Resampler(audio_format.rate, audio_format.channels)
        sample_type = PCM_TYPES[audio_format.codec]
        self._layout = Layout(sample_type, audio_format.rate, audio_format.channels)
        self._clipping = Clipping()
        self._kept = _KEPT_FORMATS[audio_format.channels]
        self._pending = bytearray()
        self._data = bytearray()
        self._taken = 0
        self._last = 0

    def append(self, chunk: bytes) -> bool:
        """Add a chunk; False: the cap was reached."""
        self._last = len(chunk) or self._last
        fitting = min(len(chunk), self._limit - self._taken)
        self._take(memoryview(chunk)[:fitting])
        return fitting == len(chunk)

    def append_loss(self, chunks: int) -> None:
        """Fill in silence for lost chunks."""
        missing = min(chunks * self._last, self._limit - self._taken)
        silence = memoryview(bytes(self._pending_limit))
        while missing:
            piece = silence[:missing]
            self._take(piece)
            missing -= len(piece)

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self._taken // self._frame_bytes / self._format.rate

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return len(self._pending) + len(self._data)

    def close(self) -> EncodedAudio:
        """The utterance, with what looked wrong about it."""
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
        sample_type = PCM_TYPES[self._format.codec]
        pcm = Pcm(
            bytes(self._pending[:usable]), sample_type, self._format.rate, self._format.channels
        )
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
