"""The tokenizer of a Whisper model, and the token rate of speech in each language.

Whisper's tokenizer was made from mostly English text, so the same sentence has more tokens in other
languages: 1.4 times as many in French, 4 times as many in Thai. Thresholds in tokens per second are
fitted on English and multiplied by `relative_token_rate`.

`token_counts.json` has the tokens of a sentence relative to English. They were counted with the
tokenizer of the multilingual models (base) in the command sentences of Home Assistant (package
home-assistant-intents). If a language has too few of these, translated messages of desktop programs
were counted instead, times 0.83: the median ratio over the languages that have both. A language
with neither got the number of a neighbour in the same script.

In recordings (the commands of speech-to-phrase in 21 languages) tokens per second grow with the
power 0.6 of that number, because a sentence with more tokens often takes longer to say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from stt_mqtt.engine.byte_pairs import BytePairs
from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.errors import ModelError, UnsupportedLanguageError
from stt_mqtt.types import normalise_language

MAX_TOKENS = 448
"""The context of the decoder: prompt and answer together."""
MAX_PROMPT_TOKENS = 223
"""Half of the context less the start token of the prompt, as in the training of Whisper."""
MAX_HOTWORD_TOKENS = 100
ENGLISH = "en"
_MULTILINGUAL_TOKENS = 51_865
"""Size of the smallest multilingual vocabulary. English ones are smaller."""
_TOKENS_BESIDE_LANGUAGES = 51_766
"""Entries of a multilingual vocabulary that are not languages."""

COUNTS_FILE = "token_counts.json"
EXPONENT = 0.6
MAX_RELATIVE_RATE = 5.0


@dataclass(frozen=True, slots=True)
class WhisperTokenizer:
    """The tokenizer of a model with its control tokens."""

    pairs: BytePairs
    languages: frozenset[str]
    """Codes of the languages that the model supports."""
    multilingual: bool

    @classmethod
    def of(cls, folder: Path, languages: int) -> WhisperTokenizer:
        """The tokenizer of the model in `folder`. `languages`: number of supported languages."""
        pairs = BytePairs.of(folder)
        if languages <= 1:
            return cls(pairs, frozenset({ENGLISH}), multilingual=False)
        first = pairs.controls["<|startoftranscript|>"] + 1
        names = (pairs.control_name(first + number) for number in range(languages))
        return cls(pairs, frozenset(name[2:-2] for name in names), multilingual=True)

    @property
    def end(self) -> int:
        """The token that ends an answer. It is the first control token."""
        return self._control("endoftext")

    def prompt(self, speech: Speech, language: str, timestamps: bool) -> list[int]:
        """The tokens before the answer of the decoder."""
        ending = [] if timestamps else [self._control("notimestamps")]
        return [*self._context(speech), *self.start(language), *ending]

    def start(self, language: str) -> list[int]:
        """The tokens that start every answer in a language."""
        task = [language, "transcribe"] if self.multilingual else []
        return [self._control(name) for name in ("startoftranscript", *task)]

    def decode(self, tokens: Sequence[int]) -> tuple[str, int]:
        """The text of an answer and the number of its text tokens."""
        spoken = [token for token in tokens if token < self.end]
        text = self.pairs.decode(spoken).strip()
        return text if any(letter.isalnum() for letter in text) else "", len(spoken)

    def _context(self, speech: Speech) -> list[int]:
        hotwords = self.encode(", ".join(speech.hotwords))[:MAX_HOTWORD_TOKENS]
        room = MAX_PROMPT_TOKENS - len(hotwords)
        before = hotwords + self.encode(speech.prompt or "")[-room:]
        return [self._control("startofprev"), *before] if before else []

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without control tokens, which would change the decoding."""
        if not text.strip():
            return []
        return self.pairs.encode(" " + text.strip())

    def _control(self, name: str) -> int:
        token = self.pairs.controls.get(f"<|{name}|>")
        if token is None:
            raise LookupError(f"the tokenizer has no <|{name}|>")
        return token


def wanted_language(speech: Speech, spoken: frozenset[str], model: str) -> str | None:
    """The language to transcribe in; None: it must be detected.

    Raises UnsupportedLanguageError if the model does not support it.
    """
    if speech.language is None:
        possible = spoken.intersection(map(normalise_language, speech.languages)) or spoken
        return next(iter(possible)) if len(possible) == 1 else None
    language = normalise_language(speech.language)
    if language not in spoken:
        raise UnsupportedLanguageError(
            f"model {model} does not speak {language!r}"
            + ("; it speaks English only" if spoken == {"en"} else "")
        )
    return language


def languages_in(folder: Path) -> frozenset[str]:
    """Codes of the languages that the model in `folder` supports. Does not load the model.

    Raises ModelError if its vocabulary or tokenizer cannot be read.
    """
    try:
        tokens = _vocabulary_size(folder)
        multilingual = tokens >= _MULTILINGUAL_TOKENS
        return WhisperTokenizer.of(
            folder, tokens - _TOKENS_BESIDE_LANGUAGES if multilingual else 1
        ).languages
    except Exception as error:
        raise ModelError(f"{folder}: its vocabulary cannot be read: {error}") from error


def _vocabulary_size(folder: Path) -> int:
    listed = folder / "vocabulary.json"
    if listed.is_file():
        return len(json.loads(listed.read_text(encoding="utf-8")))
    return (folder / "vocabulary.txt").read_bytes().count(b"\n")


def relative_token_rate(language: str) -> float:
    """Tokens per second of speech relative to English; 1.0 for an unknown language.

    With the tokenizer of the English models the rate of English is the same within 3 %.
    """
    counted = token_counts().get(language, 1.0)
    return float(min(max(counted, 1.0) ** EXPONENT, MAX_RELATIVE_RATE))


@cache
def token_counts() -> dict[str, float]:
    """Tokens of a sentence relative to English, by language code."""
    text = files("stt_mqtt.engine").joinpath(COUNTS_FILE).read_bytes()
    counts: dict[str, float] = json.loads(text)
    return counts
