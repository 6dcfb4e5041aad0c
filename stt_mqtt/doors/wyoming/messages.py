"""The events of Wyoming: parsing of requests, and encoding of answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.error import Error
from wyoming.event import Event, write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from stt_mqtt.audio.formats import MAX_CHANNELS, MAX_RATE, MIN_RATE, shorten
from stt_mqtt.audio.frames import Converter
from stt_mqtt.audio.pcm import SampleType
from stt_mqtt.config.devices import MAX_HOTWORDS, is_language
from stt_mqtt.errors import BadPayloadError, UnsupportedFormatError, UtteranceError
from stt_mqtt.rungs import RungStatus
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, Codec

PROGRAM = "stt-mqtt"
MAX_HOTWORD_CHARACTERS = 64
MAX_CONVERTED_RATE = 192_000
SAMPLE_TYPES = {1: SampleType.U8, 2: SampleType.S16, 3: SampleType.S24, 4: SampleType.S32}
"""Sample types by the bytes of a sample, as in the reference server."""

_OURS = Attribution("The stt-mqtt authors", "")
_WHISPER = Attribution("OpenAI", "https://github.com/openai/whisper")


# Requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """Options of the next utterance, from a `transcribe`."""

    language: str | None = None
    hotwords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """The audio format of a client: bytes per sample, rate in Hz, channels."""

    width: int = 2
    rate: int = SAMPLE_RATE
    channels: int = 1

    @property
    def service_format(self) -> AudioFormat:
        """The format that the service gets: this one, or the one after conversion."""
        if self._is_supported:
            return AudioFormat(Codec.PCM_S16LE, self.rate, self.channels)
        return AudioFormat()

    def converter(self) -> Converter | None:
        """A converter for the chunks of one utterance; None if none is needed."""
        if self._is_supported:
            return None
        return Converter(SAMPLE_TYPES[self.width], self.rate, self.channels)

    def __str__(self) -> str:
        return f"{self.rate} Hz with {self.channels} channels of {8 * self.width} bits"

    @property
    def _is_supported(self) -> bool:
        return SAMPLE_TYPES[self.width] is SampleType.S16 and self.rate <= MAX_RATE


_DEFAULT = PcmFormat()


def parse_transcribe(data: Mapping[str, object]) -> TranscribeOptions:
    """Parse language and hotwords, names before terms. Raises `BadPayloadError`."""
    language = data.get("language") or None
    if language is not None and not is_language(language):
        raise BadPayloadError("transcribe: language has to be a tag such as en or en-US")
    lists = (data.get(name) for name in ("transcript_names", "transcript_terms"))
    words = chain.from_iterable(value for value in lists if isinstance(value, list))
    usable = dict.fromkeys(word.strip() for word in words if _is_hotword(word))
    return TranscribeOptions(language, tuple(islice(usable, MAX_HOTWORDS)))


def parse_audio_format(data: Mapping[str, object]) -> PcmFormat:
    """Parse the format of an `audio-start` or `audio-chunk`. Default: 16-bit, 16 kHz, mono.

    Raises `BadPayloadError` or `UnsupportedFormatError`.
    """
    given = data.get("width")
    width = _DEFAULT.width if given is None else _whole(given)
    if width is None or width not in SAMPLE_TYPES:
        raise UnsupportedFormatError(
            f"width is {shorten(ascii(given))} bytes; send {_DEFAULT.width} (16-bit PCM), or 1 to 4"
        )
    rate = _number(data, "rate", _DEFAULT.rate)
    if not MIN_RATE <= rate <= MAX_CONVERTED_RATE:
        raise UnsupportedFormatError(
            f"rate is {shorten(str(rate))} Hz; send {MIN_RATE} to {MAX_CONVERTED_RATE} Hz"
        )
    channels = _number(data, "channels", _DEFAULT.channels)
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
    """A whole number from JSON, also if written as 16000.0."""
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


# Answers -------------------------------------------------------------------------------------


def encode(*events: Event) -> bytes:
    """Encode events for the wire."""
    buffer = BytesIO()
    for event in events:
        write_event(event, buffer)
    return buffer.getvalue()


def encode_transcript(text: str, language: str | None) -> bytes:
    """Encode a transcript as streaming events, with the whole text in one chunk."""
    return encode(
        TranscriptStart(language=language).event(),
        *([TranscriptChunk(text).event()] if text else []),
        Transcript(text, language=language).event(),
        TranscriptStop().event(),
    )


def encode_chunk(text: str, language: str | None) -> bytes:
    """Encode a part of a transcript. With a language it is the first one."""
    start = [] if language is None else [TranscriptStart(language=language).event()]
    return encode(*start, TranscriptChunk(text).event())


def encode_end(text: str, rest: str | None, language: str | None) -> bytes:
    """Encode the end of a transcript of which parts were sent.

    `rest`: what was not sent. None: the text contradicts what was sent.
    """
    return encode(
        *([TranscriptChunk(rest).event()] if rest else []),
        Transcript(text, language=language).event(),
        TranscriptStop().event(),
    )


def encode_error(error: UtteranceError) -> bytes:
    """Encode an `error` event with the code and sentence of an error."""
    return encode(Error(error.detail, error.code).event())


def describe(
    status: RungStatus, languages: frozenset[str], version: str, client_ends: bool = True
) -> Info:
    """The answer to `describe`: one speech-to-text program with all models of the ladder.

    `languages`: codes of the languages that every rung supports, so that the answer stays valid
    when the rung changes. `client_ends`: whether the client must detect the end of the speech.
    """
    models = [
        AsrModel(
            name=model,
            attribution=_WHISPER,
            installed=True,
            description=f"Whisper {model}",
            version=None,
            languages=sorted(languages),
        )
        for model in dict.fromkeys(rung.model for rung in status.rungs)
    ]
    program = AsrProgram(
        name=PROGRAM,
        attribution=_OURS,
        installed=True,
        description="Whisper for many rooms at once",
        version=version,
        models=models,
        supports_transcript_streaming=True,
        requires_external_vad=client_ends,
        # The features of the model are relative to the loudest moment, so a constant gain has no
        # effect. Automatic gain raises the noise in pauses, so the speech gate does not find them.
        prefers_auto_gain_enabled=False,
        # Whisper was trained on noisy speech. Noise suppression usually makes it worse.
        prefers_noise_reduction_enabled=False,
    )
    return Info(asr=[program])
