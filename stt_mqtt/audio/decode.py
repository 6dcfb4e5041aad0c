"""From bytes in any accepted format to 16 kHz mono."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stt_mqtt.audio.adpcm import adpcm_pieces
from stt_mqtt.audio.magic import TAKEN, refuse_foreign, sniff
from stt_mqtt.audio.media import media_pieces
from stt_mqtt.audio.mpeg import id3_bytes
from stt_mqtt.audio.opus import opus_pieces
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm
from stt_mqtt.audio.resample import BatchResampler
from stt_mqtt.audio.wav import parse_wav
from stt_mqtt.errors import UnsupportedFormatError
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Samples

_PIECE = 16_384
_LONG_PIECE = 60 * SAMPLE_RATE
"""Samples that are unpacked at once where no resampling follows."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Audio ready for the model; `truncated`: there was more than fits the limit."""

    samples: Samples
    truncated: bool


def decode(audio: EncodedAudio, max_s: float) -> Decoded:
    """At most `max_s` seconds of 16 kHz mono float32; integers and floats at full scale ±1.0.

    What is damaged is left out. Raises CorruptAudioError when nothing is left of a container
    or a packet stream, UnsupportedFormatError for what this service does not decode.
    """
    room = int(max_s * SAMPLE_RATE)
    pieces: list[Samples] = []
    for piece in decode_pieces(audio):
        pieces.append(piece[:room])
        if len(piece) > room:
            return Decoded(np.concatenate(pieces), True)
        room -= len(piece)
    return Decoded(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), False)


def decode_pieces(audio: EncodedAudio) -> Iterator[Samples]:
    """All of it, in pieces of a few seconds or fewer that are decoded when they are asked for.

    Raises as `decode` does, where it is found out.
    """
    declared = audio.format
    if declared is not None and declared.codec in PCM_TYPES:
        sample_type = PCM_TYPES[declared.codec]
        return _pcm_pieces(Pcm(audio.data, sample_type, declared.rate, declared.channels))
    if declared is not None and declared.codec is Codec.ADPCM_IMA:
        return adpcm_pieces(audio.data, declared)
    if declared is not None and declared.codec is Codec.OPUS:
        return opus_pieces(audio.data, declared.channels)
    return _container_pieces(audio.data, declared)


def _container_pieces(data: bytes, declared: AudioFormat | None) -> Iterator[Samples]:
    codec = sniff(data)
    if codec is None:
        refuse_foreign(data)
        codec = declared.codec if declared is not None else None
    if codec is None:
        raise UnsupportedFormatError(f"this is not a {TAKEN} file")
    data = data[id3_bytes(data) :]
    if codec is Codec.WAV:
        pcm = parse_wav(data)
        if pcm is not None:
            return _pcm_pieces(pcm)
    return media_pieces(data, codec)


def _pcm_pieces(pcm: Pcm) -> Iterator[Samples]:
    if pcm.rate == SAMPLE_RATE:
        for start in range(0, max(pcm.frames, 1), _LONG_PIECE):
            yield pcm.mono(start, start + _LONG_PIECE)
        return
    resampler = BatchResampler(pcm.rate)
    for start in range(0, pcm.frames, _PIECE):
        yield resampler.push(pcm.mono(start, start + _PIECE))
    yield resampler.finish()
