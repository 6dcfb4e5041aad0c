from __future__ import annotations

import struct

import pytest

from stt_mqtt.audio.length import estimated_seconds
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

WAV_HEADER = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 48_000, 192_000, 4, 16)


@pytest.mark.parametrize(
    ("audio", "seconds"),
    [
        (EncodedAudio(AudioFormat(Codec.PCM_S16LE, 16_000, 2), bytes(64_000)), 1.0),
        (EncodedAudio(AudioFormat(Codec.PCM_F32LE, 8_000, 1), bytes(64_000)), 2.0),
        (EncodedAudio(AudioFormat(Codec.WAV), WAV_HEADER + b"data\0\0\0\0" + bytes(192_000)), 1.0),
        (EncodedAudio(AudioFormat(Codec.WAV), b"RIFF" + bytes(7_996)), 1.0),
        (EncodedAudio(AudioFormat(Codec.FLAC), bytes(64_000)), 2.0),
        (EncodedAudio(AudioFormat(Codec.OGG), bytes(16_000)), 2.0),
        (EncodedAudio(None, bytes(8_000)), 1.0),
    ],
)
def test_pcm_is_measured_and_coded_audio_guessed(audio: EncodedAudio, seconds: float) -> None:
    assert estimated_seconds(audio) == pytest.approx(seconds)
