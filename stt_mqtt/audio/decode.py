"""Decodes bytes in any supported format to 16 kHz mono without offset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np

from stt_mqtt.audio.adpcm import adpcm_pieces
from stt_mqtt.audio.conditioner import Conditioner
from stt_mqtt.audio.layout import Layout
from stt_mqtt.audio.magic import TAKEN, id3_bytes, refuse_foreign, sniff
from stt_mqtt.audio.opus import OPUS_RATE
from stt_mqtt.audio.pcm import PCM_TYPES, Pcm
from stt_mqtt.audio.wav import parse_wav
from stt_mqtt.errors import UnsupportedFormatError
from stt_mqtt.hints import Hint, foremost
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec, EncodedAudio, Planar, Samples

_PIECE = 30 * SAMPLE_RATE
"""Samples per channel that are unpacked at once."""

_Source: TypeAlias = Iterator[tuple[int, Planar]]
"""At least one piece, with the rate in Hz. Rate and channels never change."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Audio for the model. `truncated`: it was longer than the limit."""

    samples: Samples
    truncated: bool
    hint: Hint | None = None
    """The hint about the audio."""


def decode(audio: EncodedAudio, max_s: float) -> Decoded:
    """Decode at most `max_s` seconds to 16 kHz mono float32, full scale ±1.0.

    Damaged parts are skipped. Raises CorruptAudioError if nothing of a container or packet stream
    can be decoded, UnsupportedFormatError for an unsupported format.
    """
    room = int(max_s * SAMPLE_RATE)
    # One sample more, to detect that the audio is too long.
    decoding = Decoding(audio, room + 1)
    pieces = list(decoding)
    samples = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return Decoded(samples[:room], len(samples) > room, decoding.hint)


class Decoding:
    """Decodes audio piece by piece, on demand.

    A piece has up to 30 s, the window of the conditioner. Iteration raises as `decode` does.
    """

    def __init__(self, audio: EncodedAudio, at_least: int | None = None) -> None:
        """`at_least`: number of samples after which decoding may stop."""
        self._audio = audio
        self._at_least = at_least
        self._conditioner: Conditioner | None = None
        self._layout: Layout | None = None

    @property
    def hint(self) -> Hint | None:
        """The most important hint so far."""
        return foremost(
            [
                self._audio.hint,
                None if self._layout is None else self._layout.hint,
                None if self._conditioner is None else self._conditioner.hint,
            ]
        )

    def __iter__(self) -> Iterator[Samples]:
        """Yield at least one piece. May be called once."""
        if self._audio.ready:
            yield np.frombuffer(self._audio.data, np.float32)
            return
        source = self._source()
        rate, first = next(source)
        conditioner = Conditioner(rate, len(first), inspect_clipping=not self._audio.decoded)
        self._conditioner = conditioner
        for _, planar in chain([(rate, first)], source):
            yield from conditioner.push(planar)
            if self._at_least is not None and conditioner.taken >= self._at_least:
                break
        yield conditioner.finish()

    def _source(self) -> _Source:
        data, declared = self._audio.data, self._audio.format
        if declared is not None and declared.codec in PCM_TYPES:
            sample_type = PCM_TYPES[declared.codec]
            return self._pcm(Pcm(data, sample_type, declared.rate, declared.channels))
        if declared is not None and declared.codec is Codec.ADPCM_IMA:
            return ((declared.rate, planar) for planar in adpcm_pieces(data, declared))
        if declared is not None and declared.codec is Codec.OPUS:
            from stt_mqtt.audio.packets import opus_pieces

            return ((OPUS_RATE, planar) for planar in opus_pieces(data, declared.channels))
        return self._container(data, declared)

    def _container(self, data: bytes, declared: AudioFormat | None) -> _Source:
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
                return self._pcm(pcm)
        from stt_mqtt.audio.media import media_pieces

        return media_pieces(data, codec)

    def _pcm(self, pcm: Pcm) -> _Source:
        layout = Layout(pcm.sample_type, pcm.rate, pcm.channels)
        self._layout = None if self._audio.decoded else layout
        for start in range(0, max(pcm.frames, 1), _PIECE):
            if self._layout is not None:
                self._layout.push(pcm.raw(start, start + _PIECE))
            yield pcm.rate, pcm.planar(start, start + _PIECE)
