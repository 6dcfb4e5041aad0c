"""Speech and silence as a device sends them, and what the model finds in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import Completion, InferenceResult
from tests.fakes import heard

BYTES_PER_S = 32_000
CHUNK_S = 0.06
CHUNK_BYTES = round(CHUNK_S * BYTES_PER_S)


def spoken(number: int = 1) -> bytes:
    """The words of a sample that the package ships, without the silence around them."""
    samples = np.frombuffer(SAMPLES[number].pcm(), "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 650)
    return samples[loud[0] : loud[-1]].tobytes()


def quiet(seconds: float) -> bytes:
    return bytes(2 * round(seconds * BYTES_PER_S / 2))


WORDS = quiet(0.3) + spoken(3)[: BYTES_PER_S * 9 // 10]
"""Silence, then 0.9 s of speech without a pause."""


def chunks_of(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]


def found(
    completion: Completion = Completion.COMPLETE, text: str = "Turn on the light."
) -> InferenceResult:
    """What the model finds at a pause."""
    result = heard(text)
    assert result.transcript is not None
    return replace(result, transcript=replace(result.transcript, completion=completion))
