"""`device_defaults:` and `devices:`: the settings of each device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, TypeGuard

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from stt_mqtt.config.section import Section
from stt_mqtt.types import WHOLE_ONLY, AudioFormat, Codec, Endpointing

Rate = Annotated[int, Field(ge=8000, le=48000)]
Channels = Annotated[int, Field(ge=1, le=2)]
GapTimeout = Annotated[int, Field(ge=50, le=60_000)]
IdleTimeout = Annotated[int, Field(ge=100, le=600_000)]
LANGUAGE_PATTERN = r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$"
MAX_PROMPT_CHARACTERS = 1000
MAX_LANGUAGES = 16
MAX_HOTWORDS = 64
_LANGUAGE = re.compile(LANGUAGE_PATTERN)
Language = Annotated[str, Field(pattern=LANGUAGE_PATTERN)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Area = Annotated[str, Field(min_length=1, max_length=100)]
Hotword = Annotated[str, Field(min_length=1, max_length=64)]
_CHUNKED = [codec.value for codec in Codec if codec not in WHOLE_ONLY]


def _chunked(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value in WHOLE_ONLY:
        raise ValueError(f"{value} is for whole messages only; use one of {', '.join(_CHUNKED)}")
    if value not in _CHUNKED:
        raise PydanticCustomError("enum", "not known", {"expected": ", ".join(_CHUNKED)})
    return value


ChunkedCodec = Annotated[
    Codec, BeforeValidator(_chunked), WithJsonSchema({"type": "string", "enum": _CHUNKED})
]


class OnCap(StrEnum):
    """What happens to an utterance that reaches its cap."""

    FINALIZE = "finalize"
    TRUNCATE = "truncate"
    REJECT = "reject"


class DeviceConfig(Section):
    """Settings of one device, complete."""

    enabled: bool = True
    """Off: every utterance of the device is refused."""
    language: Language | None = None
    """Spoken language, such as `en`. null: English for an English model, otherwise detected."""
    languages: tuple[Language, ...] = Field(default=(), max_length=MAX_LANGUAGES)
    """Languages that may be detected if `language` is null. Empty: all that the model knows."""
    prompt: Prompt | None = None
    """Text that tells the model which words to expect."""
    hotwords: tuple[Hotword, ...] = Field(default=(), max_length=MAX_HOTWORDS)
    """Names and words that the model should prefer."""
    phrases: bool = True
    """`false`: the phrase book is not used for this device."""
    area: Area | None = None
    """Area that the device is in: its name, alias or id in Home Assistant."""
    codec: ChunkedCodec = Codec.PCM_S16LE
    """Codec of utterances whose start names none."""
    rate: Rate = 16_000
    """Sample rate of utterances whose start names none, in Hz."""
    channels: Channels = 1
    """Number of channels of utterances whose start names none."""
    gap_timeout_ms: GapTimeout = 800
    """Pause that ends an utterance without a start message, in milliseconds."""
    idle_timeout_ms: IdleTimeout = 5000
    """Pause that ends an utterance with a start message, in milliseconds."""
    endpointing: Endpointing = Endpointing.PHRASES
    """What ends an utterance early: `silence` nothing, `phrases` a complete phrase of the book,
    `eager` also a confident sentence."""
    partials: bool = False
    """`true`: the text so far is published while somebody speaks. It needs more CPU time."""
    on_cap: OnCap = OnCap.FINALIZE
    """At the length limit: `finalize` transcribes, `truncate` waits for the end, `reject` fails."""

    @property
    def format(self) -> AudioFormat:
        """Format of utterances that name none."""
        return AudioFormat(self.codec, self.rate, self.channels)


def is_language(value: object) -> TypeGuard[str]:
    """Whether something from the wire is a language tag such as en or en-US."""
    return isinstance(value, str) and _LANGUAGE.fullmatch(value) is not None


def settings_for(
    name: str, defaults: DeviceConfig, devices: Mapping[str, DeviceConfig]
) -> DeviceConfig:
    """Settings of device `name`: the defaults, then each glob in file order, then its own entry.

    Only what an entry names changes; the rest stays as it was.
    """
    matching = [
        entry
        for pattern, entry in devices.items()
        if is_glob(pattern) and fnmatchcase(name, pattern)
    ]
    if name in devices:
        matching.append(devices[name])
    changes = {
        field: getattr(entry, field) for entry in matching for field in entry.model_fields_set
    }
    return defaults.model_copy(update=changes) if changes else defaults


def is_glob(name: str) -> bool:
    """Whether a `devices:` key stands for several devices."""
    return any(character in name for character in "*?[")
