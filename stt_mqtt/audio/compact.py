"""Makes PCM smaller for the way to another machine, as FLAC. Nothing of 16-bit audio is lost."""

from __future__ import annotations

from dataclasses import replace

from stt_mqtt.audio.layout import Layout
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm, SampleType, s16le
from stt_mqtt.hints import foremost
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

SMALL_BYTES = 192 * 1024
"""PCM up to this size stays as it is: six seconds of the usual format. To code and decode it takes
longer than to send it."""
_PIECE_S = 30
"""Seconds of audio that are converted at once."""


def compact(audio: EncodedAudio) -> EncodedAudio:
    """PCM above `SMALL_BYTES` as FLAC of 16 bits; anything else unchanged. Slow.

    The layout of PCM is inspected before, because a decoder of FLAC cannot do that. Samples of 32
    bits are rounded. What is `ready` stays, because it must not be conditioned again.
    """
    form = audio.format
    if form is None or form.codec not in PCM_TYPES or audio.ready or len(audio.data) <= SMALL_BYTES:
        return audio
    from stt_mqtt.audio.encode import FlacEncoder

    pcm = Pcm(audio.data, PCM_TYPES[form.codec], form.rate, form.channels)
    layout = None if audio.decoded else Layout(pcm.sample_type, form.rate, form.channels)
    encoder = FlacEncoder(form.rate, form.channels)
    coded = bytearray()
    for start in range(0, pcm.frames, _PIECE_S * form.rate):
        raw = pcm.raw(start, start + _PIECE_S * form.rate)
        if layout is not None:
            layout.push(raw)
        if pcm.sample_type is SampleType.F32:
            raw = memoryview(s16le(pcm.planar(start, start + _PIECE_S * form.rate)))
        coded += encoder.push(bytes(raw))
    coded += encoder.finish()
    return replace(
        audio,
        format=AudioFormat(Codec.FLAC, form.rate, form.channels),
        data=bytes(coded),
        hint=foremost([audio.hint, None if layout is None else layout.hint]),
    )
