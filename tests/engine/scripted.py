"""Small stand-ins for a model, its tokenizer and the voice detector."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stt_mqtt.engine.byte_pairs import BytePairs, byte_characters
from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.tokenizer import WhisperTokenizer
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, ScoredText, Speech, States
from stt_mqtt.engine.voice import CHUNK, VoiceDetector
from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.types import SAMPLE_RATE, Samples

END_OF_TEXT = 256
"""The tokens below it are the bytes of a text; it and those above are control tokens."""


def byte_names(*languages: str) -> list[str]:
    """A vocabulary whose words are single bytes, with control tokens in Whisper's order."""
    before = ("endoftext", "startoftranscript")
    behind = ("translate", "transcribe", "startofprev", "notimestamps")
    names = (*before, *languages, *behind)
    return [*sorted(byte_characters()), *(f"<|{name}|>" for name in names)]


def whisper_tokenizer(*languages: str) -> WhisperTokenizer:
    """The tokenizer of a model that speaks `languages`; several make it multilingual."""
    pairs = BytePairs(byte_names(*languages))
    return WhisperTokenizer(pairs, frozenset(languages), len(languages) > 1)


def speech(mark: int = 1, seconds: float = 1.0) -> Speech:
    """English speech that a fake network knows by its mark."""
    return Speech(np.full(round(seconds * SAMPLE_RATE), mark / 64, np.float32), "en")


def marked(samples: Samples) -> int:
    """The mark of speech, also when there is silence around it."""
    return round(float(samples.max(initial=0.0)) * 64)


def hypothesis(
    text: str = "Turn on the light.",
    tokens: int = 5,
    log_prob: float = -0.2,
    no_speech: float = 0.01,
) -> Hypothesis:
    """What a model says that understood."""
    return Hypothesis(text, "en", tokens, log_prob, no_speech)


@dataclass
class Scripted:
    """A model that answers what the test says."""

    answer: Callable[[Speech, DecodePass], Hypothesis | UtteranceError] = lambda *_: hypothesis()
    model: str = "scripted"
    languages: frozenset[str] = frozenset({"en"})
    clear_no_speech_prob: float = 0.3
    takes_names: bool = False
    asked: list[tuple[DecodePass, list[Speech]]] = field(default_factory=list)
    drafted: list[tuple[Speech, str]] = field(default_factory=list)
    """The speech of each draft, and the text that it begins with."""
    likely: Mapping[str, float] = field(default_factory=dict)
    """The log-probability of every token of a text."""
    without_sound: Mapping[str, float] = field(default_factory=dict)
    """The same for states of nothing but zeros."""
    scoring_fails: bool = False
    scored: list[list[str]] = field(default_factory=list)
    """The texts of each request to score speech."""

    def transcribe(
        self, speeches: Sequence[Speech], decode_pass: DecodePass = DecodePass.FIRST
    ) -> list[Hypothesis | UtteranceError]:
        self.asked.append((decode_pass, list(speeches)))
        return [self.answer(speech, decode_pass) for speech in speeches]

    def draft(self, speech: Speech, after: str) -> Hypothesis:
        self.drafted.append((speech, after))
        answer = self.answer(speech, DecodePass.FIRST)
        if isinstance(answer, UtteranceError):
            raise answer
        return answer

    def score(self, states: States, texts: Sequence[str], language: str) -> list[ScoredText]:
        if self.scoring_fails:
            raise InferenceFailedError("no memory")
        if states.any():
            self.scored.append(list(texts))
        known, otherwise = (self.likely, -8.0) if states.any() else (self.without_sound, -5.0)
        scored = []
        for text in texts:
            tokens = tuple(zlib.crc32(word.encode()) for word in text.split())
            scored.append(ScoredText(tokens, (known.get(text, otherwise),) * len(tokens)))
        return scored

    def close(self) -> None: ...

    @property
    def passes(self) -> list[tuple[str, list[int]]]:
        """What was asked for, in order: the decode pass, and the marks of the speech."""
        return [
            (decode_pass.name.lower(), [marked(speech.samples) for speech in speeches])
            for decode_pass, speeches in self.asked
        ]


@dataclass
class FakeVoice(VoiceDetector):
    """A voice detector that is sure of itself."""

    probability: float = 0.9
    asked: list[int] = field(default_factory=list)
    """The marks of what it was asked about."""

    def probabilities(self, samples: Samples) -> Floats:
        self.asked.append(marked(samples))
        return np.full(-(-len(samples) // CHUNK), self.probability, np.float32)
