"""The values that the rooms exchange. Frozen, small, without behaviour beyond arithmetic.

Times named `*_at` are seconds of a monotonic clock; `ts` is seconds of the Unix epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stt_mqtt.errors import UtteranceError
from stt_mqtt.hints import Hint

SAMPLE_RATE = 16_000
"""Samples per second that everything after decoding works with."""

Samples: TypeAlias = npt.NDArray[np.float32]
"""Mono audio at `SAMPLE_RATE`, shape `(n,)`, full scale ±1.0."""

Planar: TypeAlias = npt.NDArray[np.float32]
"""Audio of any rate with its channels apart, shape `(channels, n)`, full scale ±1.0."""


class Codec(StrEnum):
    """How audio bytes are coded; the names are part of the wire contract."""

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
"""Codecs of utterances in one message and of files; no chunked utterance declares them."""


class EndReason(StrEnum):
    """Why an utterance ended."""

    STOP = "stop"
    GAP = "gap"
    CAP = "cap"
    RESTART = "restart"
    SINGLE = "single"
    DISCONNECT = "disconnect"
    SHUTDOWN = "shutdown"

    @property
    def is_incomplete(self) -> bool:
        """Whether only a part of what was meant to be said came."""
        return self in {EndReason.DISCONNECT, EndReason.RESTART}


class OutcomeKind(StrEnum):
    """What became of an utterance; every opened utterance gets exactly one."""

    TRANSCRIPT = "transcript"
    NO_SPEECH = "no_speech"
    ABORTED = "aborted"
    ERROR = "error"


class DeviceState(StrEnum):
    """What a device is doing, the most present thing first."""

    LISTENING = "listening"
    TRANSCRIBING = "transcribing"
    IDLE = "idle"


class OnCap(StrEnum):
    """What happens to an utterance that reaches its cap."""

    FINALIZE = "finalize"
    TRUNCATE = "truncate"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Codec, sample rate in Hz and channel count of audio bytes."""

    codec: Codec = Codec.PCM_S16LE
    rate: int = SAMPLE_RATE
    channels: int = 1


NamedFormat: TypeAlias = AudioFormat | UtteranceError | None
"""The format that was named with a chunk, or why it is refused; None: none was named."""


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """Audio as it arrived. `format` None: the container is to be found by its magic bytes.

    `adpcm_ima` data is a sequence of blocks, each behind a 4-byte little-endian length; `opus`
    data a sequence of packets, each behind a 2-byte little-endian length, where length 0 stands
    for a lost packet.
    """

    format: AudioFormat | None
    data: bytes
    hint: Hint | None = None
    """What looked wrong with it before it was converted."""
    ready: bool = False
    """Whether it is decoded already: mono `pcm_f32le` at `SAMPLE_RATE`, to be used as it is."""


@dataclass(frozen=True, slots=True, order=True)
class DeviceKey:
    """Names a device: its door and its name there.

    `name` is what the configuration knows it by. `part` tells apart what comes under one name but
    is to be treated as a device of its own, such as a connection from an address.
    """

    door: str
    name: str
    part: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.door, self.name, self.part) if part)


@dataclass(frozen=True, slots=True)
class UtteranceStart:
    """What a door says when an utterance opens. None means: as the device is set.

    `ends_within_s`: it ends so long after its start, at the latest, and only then when no audio
    comes. `hotwords` are added to those of the device. `context` is the door's own and comes back
    untouched with the outcome.
    """

    id: str | None = None
    format: AudioFormat | None = None
    language: str | None = None
    prompt: str | None = None
    sequenced: bool = False
    age_s: float = 0.0
    ends_within_s: float | None = None
    hotwords: tuple[str, ...] = ()
    context: object = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """A finished utterance on its way to the model. `end` None: it was taken back or refused."""

    key: DeviceKey
    id: str
    audio: EncodedAudio
    language: str | None
    prompt: str | None
    end: EndReason | None
    ended_at: float
    age_s: float = 0.0
    seconds: float = 0.0
    """Length of the audio as far as it is known without decoding, else 0."""
    truncated: bool = False
    reject_over_cap: bool = False
    """Whether audio that turns out too long when decoded is an error instead of being cut."""
    lost_chunks: int = 0
    languages: tuple[str, ...] = ()
    """Languages to detect among where `language` is None; empty: all that the model speaks."""
    hotwords: tuple[str, ...] = ()
    """Words that the model should prefer."""
    context: object = None


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to transcribe on the load ladder: a model and how it decodes."""

    name: str
    model: str
    beam_size: int
    compute_type: str


@dataclass(frozen=True, slots=True)
class RungStatus:
    """The load ladder as it stands, best rung first.

    `mode`: `auto` (the load chooses) or the name of the rung that is held. `active`: the rung
    that serves. `reason`: why it is this one, in words.
    """

    rungs: tuple[Rung, ...]
    mode: str
    active: str
    reason: str


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a service starts with. `languages`: codes of those that every rung speaks."""

    languages: frozenset[str]
    rung_status: RungStatus


@dataclass(frozen=True, slots=True)
class Transcript:
    """The transcript of an utterance. `confidence`: exp(mean log-probability of the tokens)."""

    text: str
    language: str
    confidence: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What inference found in one utterance.

    `transcript` None: the speech gate found no speech, so nothing was inferred, and what inference
    gives is None, too. A transcript without text: the model found no words.
    """

    audio_s: float
    transcript: Transcript | None = None
    truncated: bool = False
    infer_s: float | None = None
    """Seconds from the start of inference to its result, with the others of its batch."""
    work_s: float | None = None
    """Seconds of an inference thread that this utterance took, its share of its batch."""
    model: str | None = None
    rung: str | None = None
    retried: bool = False
    """Whether it was doubtful and was decoded again."""
    hint: Hint | None = None
    """What looks wrong with the audio."""


Verdict: TypeAlias = InferenceResult | UtteranceError
"""What an inference thread returns for an utterance: the result, or why there is none."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Utterances that are transcribed together, each of another device."""

    number: int
    utterances: tuple[Utterance, ...]
    may_retry: bool
    """Whether there is time to decode a doubtful utterance again."""
    together: int
    """Most pieces of speech that may be decoded together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one answer to an utterance, for the door that it came through.

    `id` is None only for a message that opened nothing. `ts`: when the speech ended. What
    inference gives is None when nothing was inferred.
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
    """How old the speech was, by the word of its device, when its end came."""
    repeated: bool = False
    """Whether it was given before: the device has sent an answered utterance again."""
    hint: Hint | None = None
    """What looks wrong with the audio."""
    context: object = None

    @property
    def incomplete(self) -> bool:
        """Whether only a part was heard, on which nobody should act."""
        return self.end is not None and self.end.is_incomplete


def normalise_language(tag: str) -> str:
    """Language code of a tag: `en-US`, `EN` and `en_GB` are all `en`."""
    return re.split("[-_]", tag.strip(), maxsplit=1)[0].lower()
