"""What clients ask for, from the data of their events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice

from stt_mqtt.audio.formats import MAX_CHANNELS, MAX_RATE, MIN_RATE, shorten
from stt_mqtt.audio.frames import Converter
from stt_mqtt.audio.pcm import SampleType
from stt_mqtt.config.devices import MAX_HOTWORDS, is_language
from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec

MAX_HOTWORD_CHARACTERS = 64
MAX_CONVERTED_RATE = 192_000
SAMPLE_TYPES = {1: SampleType.U8, 2: SampleType.S16, 3: SampleType.S24, 4: SampleType.S32}
"""By the bytes of a sample: as the reference server reads them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a `transcribe` says about the utterance that follows."""

    language: str | None = None
    hotwords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """What a client sends: bytes of a sample, samples per second in Hz, channels."""

    width: int = 2
    rate: int = SAMPLE_RATE
    channels: int = 1

    @property
    def handed_on(self) -> AudioFormat:
        """What the line is given: this, or what it is converted to."""
        if self._is_taken:
            return AudioFormat(Codec.PCM_S16LE, self.rate, self.channels)
        return AudioFormat()

    def converter(self) -> Converter | None:
        """For the chunks of one utterance; None: the line takes them as they are."""
        if self._is_taken:
            return None
        return Converter(SAMPLE_TYPES[self.width], self.rate, self.channels)

    def __str__(self) -> str:
        return f"{self.rate} Hz with {self.channels} channels of {8 * self.width} bits"

    @property
    def _is_taken(self) -> bool:
        return SAMPLE_TYPES[self.width] is SampleType.S16 and self.rate <= MAX_RATE


_USUAL = PcmFormat()


def parse_transcribe(data: Mapping[str, object]) -> Wanted:
    """Language and words to prefer, names before terms. Raises `BadPayloadError`."""
    language = data.get("language") or None
    if language is not None and not is_language(language):
        raise BadPayloadError("transcribe: language has to be a tag such as en or en-US")
    lists = (data.get(name) for name in ("transcript_names", "transcript_terms"))
    words = chain.from_iterable(value for value in lists if isinstance(value, list))
    usable = dict.fromkeys(word.strip() for word in words if _is_hotword(word))
    return Wanted(language, tuple(islice(usable, MAX_HOTWORDS)))


def parse_audio_format(data: Mapping[str, object]) -> PcmFormat:
    """Format that an `audio-start` or `audio-chunk` names; what is missing is 16-bit 16 kHz mono.

    Raises `BadPayloadError` and `UnsupportedFormatError`.
    """
    given = data.get("width")
    width = _USUAL.width if given is None else _whole(given)
    if width is None or width not in SAMPLE_TYPES:
        raise UnsupportedFormatError(
            f"width is {shorten(ascii(given))} bytes; send {_USUAL.width} (16-bit PCM), or 1 to 4"
        )
    rate = _number(data, "rate", _USUAL.rate)
    if not MIN_RATE <= rate <= MAX_CONVERTED_RATE:
        raise UnsupportedFormatError(
            f"rate is {shorten(str(rate))} Hz; send {MIN_RATE} to {MAX_CONVERTED_RATE} Hz"
        )
    channels = _number(data, "channels", _USUAL.channels)
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnsupportedFormatError(f"channels is {shorten(str(channels))}; send 1 or 2")
    return PcmFormat(width, rate, channels)


def _number(data: Mapping[str, object], key: str, default: int) -> int:
    value = data.get(key)
    if value is None:
        return default
    number = _whole(value)
    if number is None:
        raise BadPayloadError(f"{key} must be a whole number")
    return number


def _whole(value: object) -> int | None:
    """A number from JSON that is whole, also one that is written as 16000.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_hotword(word: object) -> bool:
    return (
        isinstance(word, str)
        and len(word) <= MAX_HOTWORD_CHARACTERS
        and word.isprintable()
        and not word.isspace()
        and word != ""
    )
