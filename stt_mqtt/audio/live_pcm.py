"""Converts uncompressed samples while they arrive: for who listens, and for the end."""

from __future__ import annotations

from dataclasses import replace

from stt_mqtt.audio.channels import LiveMixer
from stt_mqtt.audio.conditioner import Clipping
from stt_mqtt.audio.layout import Layout
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm, SampleType, s16le
from stt_mqtt.audio.pcm_store import Kept
from stt_mqtt.audio.resample import Resampler
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio

_CODECS = {sample_type: codec for codec, sample_type in PCM_TYPES.items()}
_INSPECTED_BYTES = 128 * 1024
"""Raw bytes that are inspected together, so that the cost per chunk is small."""


class LivePcm:
    """Samples of one form. They are the same in the end as if they were converted together."""

    def __init__(self, pcm: Pcm) -> None:
        """`pcm`: any part of the samples, which says their form."""
        self._form = _form(pcm)
        self.frames = 0
        """How many were converted."""
        self._resampler = Resampler(pcm.rate, pcm.channels)
        self._mixer = LiveMixer()
        self._clipping = Clipping()
        self._layout = Layout(pcm.sample_type, pcm.rate, pcm.channels)
        self._inspected = 0
        self._inspect_frames = _INSPECTED_BYTES // (pcm.sample_type.width * pcm.channels)
        self._kept: Kept | None = None
        """The result. None: the samples themselves are, or it was given up."""
        if _plain_format(pcm) is None:
            self._kept = Kept(pcm.channels, Codec.PCM_F32LE)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return 0 if self._kept is None else self._kept.nbytes

    def give_up(self) -> None:
        """Convert only for who listens."""
        self._kept = None

    def convert(self, pcm: Pcm, frames: int) -> bytes:
        """Convert what is new of the first `frames`. Return it as 16-bit mono at `SAMPLE_RATE`.

        `pcm`: all samples so far.
        """
        frames = max(frames, self.frames)
        planar = pcm.planar(self.frames, frames)
        self.frames = frames
        resampled = self._resampler.push(planar)
        if self._kept is not None:
            self._clipping.push(planar)
            self._kept.clipped = self._clipping.found
            self._kept.keep(resampled)
            while self.frames - self._inspected >= self._inspect_frames:
                self._inspect(pcm)
        return s16le(self._mixer.push(resampled, SAMPLE_RATE))

    def finish(self, pcm: Pcm) -> None:
        """Add what stayed in the resampler. Nothing may be converted afterwards."""
        if self._kept is not None:
            self._inspect(pcm)
            self._kept.keep(self._resampler.flush())

    def result(self, pcm: Pcm) -> EncodedAudio | None:
        """The audio so far. None: it was not converted as a whole, or not as `pcm` has it now."""
        if self._kept is None or (self._form, self.frames) != (_form(pcm), pcm.frames):
            return None
        return replace(self._kept.snapshot(self._layout.hint), decoded=True)

    def _inspect(self, pcm: Pcm) -> None:
        end = min(self._inspected + self._inspect_frames, self.frames)
        self._layout.push(memoryview(bytes(pcm.raw(self._inspected, end))))
        self._inspected = end


def plain(pcm: Pcm) -> EncodedAudio | None:
    """Samples that need no conversion. None: they do."""
    audio_format = _plain_format(pcm)
    return None if audio_format is None else EncodedAudio(audio_format, bytes(pcm.data))


def _plain_format(pcm: Pcm) -> AudioFormat | None:
    codec = _CODECS.get(pcm.sample_type)
    if codec is None or pcm.rate != SAMPLE_RATE:
        return None
    return AudioFormat(codec, pcm.rate, pcm.channels)


def _form(pcm: Pcm) -> tuple[SampleType, int, int]:
    return pcm.sample_type, pcm.rate, pcm.channels
