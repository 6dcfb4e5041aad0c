"""Uncompressed samples: their types, scaling to ±1.0, separating channels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from stt_mqtt.types import Codec, Planar, Samples


class SampleType(StrEnum):
    """Little-endian sample types, named as numpy would: kind and bytes.

    `S24_LOW` are the low 3 bytes of 4; what the fourth one holds does not matter.
    """

    U8 = "u1"
    S16 = "i2"
    S24 = "i3"
    S24_LOW = "l4"
    S32 = "i4"
    F32 = "f4"
    F64 = "f8"

    @property
    def width(self) -> int:
        """Bytes of one sample of one channel."""
        return int(self.value[1])


PCM_TYPES = {Codec.PCM_S16LE: SampleType.S16, Codec.PCM_F32LE: SampleType.F32}
"""Codecs that are uncompressed samples."""


@dataclass(frozen=True, slots=True)
class Pcm:
    """Interleaved samples of `channels` channels at `rate` Hz."""

    data: bytes | memoryview
    sample_type: SampleType
    rate: int
    channels: int

    @property
    def frames(self) -> int:
        """Whole samples of all channels; an incomplete last one does not count."""
        return len(self.data) // (self.sample_type.width * self.channels)

    def raw(self, start: int, stop: int) -> memoryview:
        """The bytes of frames `start` to `stop`."""
        step = self.sample_type.width * self.channels
        return memoryview(self.data)[start * step : min(stop, self.frames) * step]

    def planar(self, start: int, stop: int) -> Planar:
        """Frames `start` to `stop` at the rate that they have."""
        samples = scale(_unpack(self.raw(start, stop), self.sample_type))
        return np.ascontiguousarray(samples.reshape(-1, self.channels).T)


def scale(raw: npt.NDArray[Any]) -> Samples:
    """Integer or float samples as float32 at full scale ±1.0, same shape.

    Floats that are not finite become 0, floats beyond full scale are clipped to it.
    """
    if raw.dtype.kind == "f":
        finite = np.where(np.isfinite(raw), raw, 0)
        return np.clip(finite, -1, 1).astype(np.float32)
    full_scale = 2.0 ** (raw.dtype.itemsize * 8 - 1)
    samples = raw.astype(np.float32)
    if raw.dtype.kind == "u":
        samples -= full_scale
    samples *= 1 / full_scale
    return samples


def s16le(planar: Planar) -> bytes:
    """Samples as interleaved pcm_s16le."""
    levels = np.clip(np.rint(planar.T * 32768), -32768, 32767)
    return bytes(levels.astype("<i2").tobytes())


def _unpack(data: memoryview, sample_type: SampleType) -> npt.NDArray[Any]:
    if sample_type is SampleType.S24_LOW:
        words: npt.NDArray[Any] = np.frombuffer(data, "<i4") << 8
        return words
    if sample_type is not SampleType.S24:
        return np.frombuffer(data, f"<{sample_type}")
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4")
