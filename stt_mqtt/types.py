"""The values that the packages pass to each other. They are immutable and have almost no behaviour.

Times named `*_at` are in seconds of a monotonic clock, `ts` in seconds of the Unix epoch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stt_mqtt.errors import UtteranceError
from stt_mqtt.hints import Hint
from stt_mqtt.levels import Levels
from stt_mqtt.stages import StageTimes

SAMPLE_RATE = 16_000
"""Sample rate in Hz of all audio after decoding."""

Samples: TypeAlias = npt.NDArray[np.float32]
"""Mono audio at `SAMPLE_RATE`, shape `(n,)`, full scale ±1.0."""

Planar: TypeAlias = npt.NDArray[np.float32]
"""Audio of any rate with separate channels, shape `(channels, n)`, full scale ±1.0."""


class Codec(StrEnum):
    """How audio bytes are coded. The names are part of the wire contract."""

    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"
    ADPCM_IMA = "adpcm_ima"
    FLAC = "flac"
    OPUS = "opus"
    OGG = "ogg"
    WEBM = "webm"
    WAV = "wav"
    MP3 = "mp3"
    MP4 = "mp4"


WHOLE_ONLY = frozenset({Codec.MP3, Codec.MP4})
"""Codecs that are only accepted as a whole: in one message or as a file."""


class EndReason(StrEnum):
    """Why an utterance ended."""

    STOP = "stop"
    GAP = "gap"
    CAP = "cap"
    RESTART = "restart"
    SINGLE = "single"
    DISCONNECT = "disconnect"
    SHUTDOWN = "shutdown"
    ENDPOINT = "endpoint"
    """The service heard that the sentence is complete."""

    @property
    def is_incomplete(self) -> bool:
        """Whether only a part of the utterance arrived."""
        return self in {EndReason.DISCONNECT, EndReason.RESTART, EndReason.SHUTDOWN}


class OutcomeKind(StrEnum):
    """What became of an utterance. Every opened utterance gets exactly one outcome."""

    TRANSCRIPT = "transcript"
    NO_SPEECH = "no_speech"
    ABORTED = "aborted"
    ERROR = "error"


class DeviceState(StrEnum):
    """What a device is doing. The order is that of precedence."""

    LISTENING = "listening"
    TRANSCRIBING = "transcribing"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Codec, sample rate in Hz and channel count of audio bytes."""

    codec: Codec = Codec.PCM_S16LE
    rate: int = SAMPLE_RATE
    channels: int = 1


NamedFormat: TypeAlias = AudioFormat | UtteranceError | None
"""The format named with a chunk, or why it is refused. None: no format was named."""


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """Audio as it arrived. `format` None: a file, whose container is detected by its first bytes.

    `adpcm_ima` data is blocks, each after its length (4 bytes, little-endian). `opus` data is
    packets, each after its length (2 bytes), 0 if it was lost. `decoded`: PCM from a decoder, whose
    layout is certain. `ready`: what the model gets, mono `pcm_f32le` at `SAMPLE_RATE`.
    """

    format: AudioFormat | None
    data: bytes
    hint: Hint | None = None
    decoded: bool = False
    ready: bool = False


@dataclass(frozen=True, slots=True, order=True)
class DeviceKey:
    """Identifies a device.

    `name` selects its configuration. `part` separates devices of one name, such as connections.
    """

    door: str
    name: str
    part: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.door, self.name, self.part) if part)


class Endpointing(StrEnum):
    """What ends an utterance early, besides the device."""

    SILENCE = "silence"
    """Nothing."""
    PHRASES = "phrases"
    """A complete phrase of the book."""
    EAGER = "eager"
    """Also a confident sentence."""


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How the service ends an utterance by itself.

    `pause_s`: silence after speech that ends it, whatever was said. `no_speech_s`: audio without
    any speech that ends it. None: the device ends it.
    """

    endpointing: Endpointing
    pause_s: float | None = None
    no_speech_s: float | None = None


@dataclass(frozen=True, slots=True)
class UtteranceStart:
    """The parameters of a new utterance. None: the setting of the device applies.

    `ends_within_s`: longest time from start to end. It replaces the timeout for missing audio.
    `hotwords` are added to those of the device. `context` belongs to the door and is returned with
    the outcome.
    """

    id: str | None = None
    format: AudioFormat | None = None
    language: str | None = None
    prompt: str | None = None
    sequenced: bool = False
    age_s: float = 0.0
    ends_within_s: float | None = None
    turn_end: TurnEnd | None = None
    hotwords: tuple[str, ...] = ()
    context: object = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """A finished utterance. `end` None: it was aborted or refused."""

    key: DeviceKey
    id: str
    audio: EncodedAudio
    language: str | None
    prompt: str | None
    end: EndReason | None
    ended_at: float
    age_s: float = 0.0
    seconds: float = 0.0
    """Length of the audio; 0 if only decoding can tell."""
    truncated: bool = False
    reject_over_cap: bool = False
    """Whether decoded audio over the cap is an error. Otherwise it is cut."""
    lost_chunks: int = 0
    languages: tuple[str, ...] = ()
    """Languages to detect among if `language` is None. Empty: all that the model supports."""
    hotwords: tuple[str, ...] = ()
    """Words that the model should prefer."""
    phrases: bool = True
    area: str | None = None
    """Whether the phrase book may be used, and for a device in which area."""
    memo: object = None
    """What the engine found while the utterance was open. It belongs to the engine."""
    draft_after: str | None = None
    """Not None: it is still open, and a draft of its text is wanted, which begins with this."""
    glimpsed: bool = False
    """Whether all its speech was given to the engine while it was open."""
    context: object = None


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of the book. `id`: the name of its intent. `slots`: values by name.

    `entities`: what names stand for in Home Assistant, by slot. `score`: mean log-probability of a
    token. `margin`: in nats above the next phrase; None: it was not compared.
    """

    id: str
    slots: Mapping[str, object]
    entities: Mapping[str, str]
    score: float = 0.0
    margin: float | None = None


class Completion(Enum):
    """How much of a sentence of the phrase book a text is."""

    COMPLETE = auto()
    """A phrase, and no likely longer one begins with it."""
    EXTENDABLE = auto()
    """A phrase, and a longer one begins with it."""
    OPEN = auto()
    """The beginning of phrases, but none itself."""
    SIMILAR = auto()
    """Similar to a phrase, but its last word, perhaps its only one, was not heard as such."""
    NONE = auto()
    """Nothing of the book begins so."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The transcript of an utterance. `confidence`: exp(mean log-probability of the tokens).

    `heard`: what the model heard, if `text` is a phrase of the book. None: `text` is. `end_prob`:
    probability of the mark that ends the sentence. 0: there is none, or nobody asked.
    """

    text: str
    language: str
    confidence: float
    no_speech_prob: float
    heard: str | None = None
    phrase: Phrase | None = None
    completion: Completion = Completion.NONE
    end_prob: float = 0.0

    @property
    def free(self) -> str:
        """What the model heard without the phrase book."""
        return self.text if self.heard is None else self.heard


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """The result of inference on one utterance.

    Without speech there is no inference: `transcript` and its figures are None. If the model found
    no words, the transcript has no text. `hint`: what looks wrong with the audio.
    """

    audio_s: float
    transcript: Transcript | None = None
    truncated: bool = False
    infer_s: float | None = None
    """Seconds from the start of inference to the result, including others of the batch."""
    work_s: float | None = None
    """Seconds of an inference thread for this utterance: its share of the batch."""
    model: str | None = None
    rung: str | None = None
    retried: bool = False
    """Whether it was decoded again because the first result was doubtful."""
    remembered_s: float | None = None
    """If everything was found while the utterance was open: seconds of work for that."""
    hint: Hint | None = None
    stages: StageTimes = field(default_factory=dict, compare=False)
    """The work of this inference by stage, without what was found while the utterance was open."""
    levels: Levels | None = None


Verdict: TypeAlias = InferenceResult | UtteranceError
"""What an inference thread returns for an utterance."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Utterances of different devices that are transcribed together."""

    number: int
    utterances: tuple[Utterance, ...]
    may_retry: bool
    """Whether there is time to decode doubtful utterances again."""
    together: int
    """Most pieces of speech that may be decoded together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one answer to an utterance, for its door.

    `id` None: the message opened nothing. `ts`: when the speech ended. `hint`: see InferenceResult.
    """

    key: DeviceKey
    id: str | None
    ts: float
    kind: OutcomeKind
    transcript: Transcript | None = None
    audio_s: float = 0.0
    end: EndReason | None = None
    truncated: bool = False
    lost_chunks: int = 0
    model: str | None = None
    rung: str | None = None
    wait_s: float | None = None
    infer_s: float | None = None
    latency_s: float | None = None
    error: UtteranceError | None = None
    age_s: float = 0.0
    """Age of the speech when its end arrived, in seconds, as the device stated it."""
    repeated: bool = False
    """Whether this outcome was delivered before: the device sent the utterance again."""
    hint: Hint | None = None
    levels: Levels | None = None
    """None: it was not decoded."""
    context: object = None

    @property
    def incomplete(self) -> bool:
        """Whether only a part of the utterance arrived. Such a text must not be acted on."""
        return self.end is not None and self.end.is_incomplete


def normalise_language(tag: str) -> str:
    """The language code of a tag: `en-US`, `EN` and `en_GB` all give `en`."""
    return re.split("[-_]", tag.strip(), maxsplit=1)[0].lower()
