"""Converts live audio (WAV frames or PCM) to 16-bit mono at `SAMPLE_RATE`."""

from __future__ import annotations

import numpy as np

from stt_mqtt.audio.channels import LiveMixer
from stt_mqtt.audio.pcm import Pcm, SampleType
from stt_mqtt.audio.resample import Resampler
from stt_mqtt.audio.wav import parse_wav
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import SAMPLE_RATE, Planar

MAX_RATE_CHANGES = 8
"""Most changes of the rate. A new resampler per frame would be expensive."""


class FrameReader:
    """Reads frames that are WAV files, and resamples them seamlessly.

    A frame is cut after `max_s` seconds.
    """

    def __init__(self, max_s: float) -> None:
        self._max_s = max_s
        self._resampler = Resampler(SAMPLE_RATE)
        self._mixer = LiveMixer()
        self._rate = SAMPLE_RATE
        self._changes_left = MAX_RATE_CHANGES

    def read(self, payload: bytes) -> bytes | None:
        """Convert a frame to mono pcm_s16le at `SAMPLE_RATE`. None: it is not a supported WAV file.

        If the rate differs, the last milliseconds are returned with the next frame.
        """
        try:
            pcm = parse_wav(payload)
        except UtteranceError:
            return None
        if pcm is None:
            return None
        frames = min(pcm.frames, int(self._max_s * pcm.rate))
        if (pcm.sample_type, pcm.rate, pcm.channels) == (SampleType.S16, SAMPLE_RATE, 1):
            return bytes(pcm.data[: 2 * frames])
        return self._convert(pcm, frames)

    def _convert(self, pcm: Pcm, frames: int) -> bytes | None:
        if pcm.rate not in {self._rate, SAMPLE_RATE}:
            if not self._changes_left:
                return None
            self._changes_left -= 1
            self._resampler = Resampler(pcm.rate)
            self._rate = pcm.rate
        mono = self._mixer.push(pcm.planar(0, frames), pcm.rate)
        return _s16le(mono if pcm.rate == SAMPLE_RATE else self._resampler.push(mono))


class Converter:
    """Converts PCM of one format seamlessly. It may be split anywhere."""

    def __init__(self, sample_type: SampleType, rate: int, channels: int) -> None:
        """`rate` of the input in Hz."""
        self._sample_type = sample_type
        self._rate = rate
        self._channels = channels
        self._resampler = Resampler(rate)
        self._mixer = LiveMixer()
        self._rest = b""

    def push(self, data: bytes) -> bytes:
        """Convert `data`. An incomplete sample and some milliseconds are held back."""
        pcm = Pcm(self._rest + data, self._sample_type, self._rate, self._channels)
        used = pcm.frames * self._sample_type.width * self._channels
        self._rest = bytes(pcm.data[used:])
        mono = self._mixer.push(pcm.planar(0, pcm.frames), self._rate)
        return _s16le(self._resampler.push(mono))

    def finish(self) -> bytes:
        """Return the rest. Nothing may be pushed afterwards."""
        return _s16le(self._resampler.flush())


def _s16le(planar: Planar) -> bytes:
    return bytes(np.rint(planar[0] * 32767).astype("<i2").tobytes())
