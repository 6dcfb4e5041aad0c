"""Speech that the repository has, and what goes wrong with it on the way."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Samples

Int16 = npt.NDArray[np.int16]

FLOATS = AudioFormat(Codec.PCM_F32LE)
STEREO = AudioFormat(channels=2)


@cache
def voice(number: int = 0) -> Int16:
    """A spoken command as 16-bit samples at 16 kHz."""
    return np.frombuffer(SAMPLES[number].pcm(), "<i2")


def as_floats(samples: Int16) -> Samples:
    return (samples / 32768).astype(np.float32)


def limited(samples: npt.NDArray[np.floating]) -> Int16:
    """As a converter has it: what is too loud is cut off."""
    limits: Int16 = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
    return limits


def delayed(samples: Int16, by: int) -> Int16:
    return np.concatenate([np.zeros(by, "<i2"), samples[:-by]])


def hiss(count: int, level: float, seed: int = 1) -> npt.NDArray[np.float64]:
    """White noise of so much of full scale, in steps of 16 bits."""
    return np.random.default_rng(seed).standard_normal(count) * level * 32768


def pair(left: Int16, right: Int16) -> bytes:
    """Two channels as interleaved pcm_s16le."""
    return np.stack([left, right], axis=1).astype("<i2").tobytes()


def heard(data: bytes, audio_format: AudioFormat | None = None) -> Decoded:
    return decode(EncodedAudio(audio_format or AudioFormat(), data), 30.0)


def likeness(found: Samples, meant: Samples) -> float:
    """Correlation of two sounds."""
    length = min(len(found), len(meant))
    return float(np.corrcoef(found[:length], meant[:length])[0, 1])
