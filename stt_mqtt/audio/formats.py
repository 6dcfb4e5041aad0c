"""Parses the names of audio formats on the wire."""

from __future__ import annotations

from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError
from stt_mqtt.types import WHOLE_ONLY, AudioFormat, Codec

MIN_RATE = 8_000
MAX_RATE = 48_000
MAX_CHANNELS = 2
MAX_CONTENT_TYPE = 256
"""Longest MQTT 5 content type that is parsed, in characters."""

_CHUNKED = {codec.value: codec for codec in Codec if codec not in WHOLE_ONLY}
_MIME = {
    "audio/wav": Codec.WAV,
    "audio/wave": Codec.WAV,
    "audio/x-wav": Codec.WAV,
    "audio/vnd.wave": Codec.WAV,
    "audio/flac": Codec.FLAC,
    "audio/x-flac": Codec.FLAC,
    "audio/ogg": Codec.OGG,
    "application/ogg": Codec.OGG,
    "audio/webm": Codec.WEBM,
}


def parse_format(
    codec: object, rate: object, channels: object, default: AudioFormat
) -> AudioFormat:
    """Parse the format of a chunked utterance from JSON values. None: the value of `default`.

    Raises BadPayloadError for a wrong JSON type, UnsupportedFormatError for an unsupported value.
    `mp3` and `mp4` are not supported in chunks.
    """
    if codec is not None and not isinstance(codec, str):
        raise BadPayloadError(f"codec must be a string, not {type(codec).__name__}")
    return check_range(
        default.codec if codec is None else _codec(codec),
        _integer("rate", rate, default.rate),
        _integer("channels", channels, default.channels),
    )


def parse_content_type(text: str, default: AudioFormat) -> AudioFormat:
    """Parse an MQTT 5 content type, `pcm_s16le;rate=16000;channels=1` or a MIME type.

    Missing values come from `default`. Parameters other than rate and channels (as in
    `audio/webm;codecs=opus`) are ignored. Raises as `parse_format` does.
    """
    if len(text) > MAX_CONTENT_TYPE:
        raise BadPayloadError(f"content type is longer than {MAX_CONTENT_TYPE} characters")
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    numbers: dict[str, int | None] = {"rate": None, "channels": None}
    for parameter in parameters:
        key, _, value = (part.strip() for part in parameter.partition("="))
        if key in numbers:
            numbers[key] = _number(key, value.strip('"'))
    codec = _MIME.get(name, name) or None
    return parse_format(codec, numbers["rate"], numbers["channels"], default)


def check_range(codec: Codec, rate: int, channels: int) -> AudioFormat:
    """Make a format after checking rate and channels.

    Raises UnsupportedFormatError.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UnsupportedFormatError(
            f"rate is {shorten(str(rate))} Hz; send {MIN_RATE} to {MAX_RATE} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnsupportedFormatError(f"channels is {shorten(str(channels))}; send 1 or 2")
    return AudioFormat(codec, rate, channels)


def shorten(text: str) -> str:
    """Shorten `text` from the wire for a message."""
    return text if len(text) <= 32 else text[:32] + "…"


def _codec(name: str) -> Codec:
    codec = _CHUNKED.get(name.strip().lower())
    if codec is None:
        known = ", ".join(_CHUNKED)
        raise UnsupportedFormatError(f"codec {shorten(name)!r} is not one of {known}")
    return codec


def _integer(key: str, value: object, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadPayloadError(f"{key} must be an integer, not {type(value).__name__}")
    return value


def _number(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadPayloadError(f"content type has {key}={shorten(text)!r}; send a whole number")
    return int(text)
