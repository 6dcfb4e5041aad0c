"""What clients ask for, from the data of their events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice

from stt_mqtt.audio.formats import parse_format, shorten
from stt_mqtt.config.devices import MAX_HOTWORDS, is_language
from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat

MAX_HOTWORD_CHARACTERS = 64
SAMPLE_WIDTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a `transcribe` says about the utterance that follows."""

    language: str | None = None
    hotwords: tuple[str, ...] = ()


def parse_transcribe(data: Mapping[str, object]) -> Wanted:
    """Language and words to prefer, names before terms. Raises `BadPayloadError`."""
    language = data.get("language") or None
    if language is not None and not is_language(language):
        raise BadPayloadError("transcribe: language has to be a tag such as en or en-US")
    lists = (data.get(name) for name in ("transcript_names", "transcript_terms"))
    words = chain.from_iterable(value for value in lists if isinstance(value, list))
    usable = dict.fromkeys(word.strip() for word in words if _is_hotword(word))
    return Wanted(language, tuple(islice(usable, MAX_HOTWORDS)))


def parse_audio_format(data: Mapping[str, object]) -> AudioFormat:
    """Format that an `audio-start` or `audio-chunk` names; what is missing is 16 kHz mono.

    Raises `BadPayloadError` and `UnsupportedFormatError`.
    """
    width = data.get("width")
    if width not in (None, SAMPLE_WIDTH_BYTES):
        raise UnsupportedFormatError(
            f"width is {shorten(ascii(width))} bytes; send {SAMPLE_WIDTH_BYTES} (16-bit PCM)"
        )
    return parse_format(None, data.get("rate"), data.get("channels"), AudioFormat())


def _is_hotword(word: object) -> bool:
    return (
        isinstance(word, str)
        and len(word) <= MAX_HOTWORD_CHARACTERS
        and word.isprintable()
        and not word.isspace()
        and word != ""
    )
