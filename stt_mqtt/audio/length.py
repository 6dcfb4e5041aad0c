"""How long audio is, without decoding it."""

from __future__ import annotations

from contextlib import suppress

from stt_mqtt.audio.pcm import PCM_TYPES, Pcm
from stt_mqtt.audio.wav import parse_wav
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import Codec, EncodedAudio

_FLAC_BYTES_PER_S = 32_000
_CODED_BYTES_PER_S = 8_000
"""Assumed for what only decoding tells: FLAC as large as speech in PCM, the others 64 kbit/s."""


def estimated_seconds(audio: EncodedAudio) -> float:
    """Length in seconds: exact for PCM, also in WAV, a guess for everything else."""
    codec = None if audio.format is None else audio.format.codec
    pcm: Pcm | None = None
    if audio.format is not None and audio.format.codec in PCM_TYPES:
        sample_type = PCM_TYPES[audio.format.codec]
        pcm = Pcm(audio.data, sample_type, audio.format.rate, audio.format.channels)
    elif codec is Codec.WAV:
        with suppress(UtteranceError):
            pcm = parse_wav(audio.data)
    if pcm is not None:
        return pcm.frames / pcm.rate
    bytes_per_s = _FLAC_BYTES_PER_S if codec is Codec.FLAC else _CODED_BYTES_PER_S
    return len(audio.data) / bytes_per_s
