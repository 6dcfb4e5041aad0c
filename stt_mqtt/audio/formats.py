"""Names of audio formats on the wire, and containers known by their first bytes."""

from __future__ import annotations

from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError
from stt_mqtt.types import AudioFormat, Codec

MIN_RATE = 8_000
MAX_RATE = 48_000
MAX_CHANNELS = 2
MAX_CONTENT_TYPE = 256
"""Longest MQTT 5 content type that is looked at, in characters."""

_CHUNKED = {codec.value: codec for codec in Codec if codec is not Codec.MP3}
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
    """Format of a chunked utterance from JSON values; None takes the value of `default`.

    Raises BadPayloadError for a wrong JSON type, UnsupportedFormatError for a value that
    chunks cannot have (`mp3` is for whole messages only).
    """
    if codec is not None and not isinstance(codec, str):
        raise BadPayloadError(f"codec must be a string, not {type(codec).__name__}")
    return check_range(
        default.codec if codec is None else _codec(codec),
        _integer("rate", rate, default.rate),
        _integer("channels", channels, default.channels),
    )


def parse_content_type(text: str, default: AudioFormat) -> AudioFormat:
    """Format from an MQTT 5 content type, `pcm_s16le;rate=16000;channels=1` or a MIME type.

    What it does not say comes from `default`; parameters other than rate and channels (as
    in `audio/webm;codecs=opus`) are ignored. Raises as `parse_format` does.
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
    """The format, if rate and channels are ones that are decoded.

    Raises UnsupportedFormatError.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UnsupportedFormatError(
            f"rate is {shorten(str(rate))} Hz; send {MIN_RATE} to {MAX_RATE} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnsupportedFormatError(f"channels is {shorten(str(channels))}; send 1 or 2")
    return AudioFormat(codec, rate, channels)


def sniff(data: bytes) -> Codec | None:
    """Container of `data` by its first bytes; None: none that we know, so raw audio."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Codec.WAV
    if data[:4] == b"fLaC":
        return Codec.FLAC
    if data[:4] == b"OggS":
        return Codec.OGG
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return Codec.WEBM
    if _has_id3_tag(data) or _has_mp3_frames(data):
        return Codec.MP3
    return None


def shorten(text: str) -> str:
    """`text` from the wire, bounded for a message."""
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


def _has_id3_tag(data: bytes) -> bool:
    """Whether an ID3v2 header stands first: version 2 to 4, no unknown flag, 7-bit sizes."""
    return (
        len(data) >= 10
        and data[:3] == b"ID3"
        and 2 <= data[3] <= 4
        and data[5] & 0x0F == 0
        and all(byte < 0x80 for byte in data[6:10])
    )


_MP3_KBIT = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    0: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _has_mp3_frames(data: bytes) -> bool:
    """Whether two MPEG layer III frames follow each other without a gap.

    One header is 11 bits of sync and would be found in loud PCM; the second one at exactly
    the computed place with the same version, layer and rate practically never is.
    """
    first = _mp3_frame(data[:4])
    if first is None:
        return False
    length, kind = first
    second = _mp3_frame(data[length : length + 4])
    return second is not None and second[1] == kind


def _mp3_frame(header: bytes) -> tuple[int, tuple[int, int]] | None:
    """Length in bytes and (version, rate) of the layer III frame that `header` opens."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3
    bitrate_index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate_index in (0, 15) or rate_index == 3 or header[3] & 3 == 2:
        return None
    rate = _MP3_HZ[version][rate_index]
    samples_per_8_bits = 144 if version == 3 else 72
    bits_per_s = _MP3_KBIT[version][bitrate_index - 1] * 1000
    return samples_per_8_bits * bits_per_s // rate + (header[2] >> 1 & 1), (version, rate)
