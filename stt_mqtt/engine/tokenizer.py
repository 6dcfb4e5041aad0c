"""The tokenizer of a Whisper model, and how many tokens speech has in each language.

Whisper's tokenizer was made from mostly English text, so the same sentence has more tokens in other
languages: 1.4 times as many in French, 4 times as many in Thai. Thresholds of tokens per second
are fitted on English and multiplied by `relative_token_rate`.

`token_counts.json` has the tokens of a sentence relative to those of the English one. The tokenizer
of the multilingual models (base) counted them in Home Assistant's command sentences (package
home-assistant-intents). Languages with too few of those were counted in translated messages of
desktop programs, times 0.83: the median ratio over the languages that have both. A language with
neither got the number of its neighbours in the same script.

In recordings, the commands of speech-to-phrase in 21 languages, tokens per second grow with the
power 0.6 of that number: a sentence that needs more tokens often takes longer to say, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENS = 448
"""The decoder's context, prompt and answer together."""
MAX_PROMPT_TOKENS = 223
"""As in Whisper's training: half of the context, less the token that announces the prompt."""
MAX_HOTWORD_TOKENS = 100
ENGLISH = "en"
_MULTILINGUAL_TOKENS = 51_865
"""Entries of the smallest multilingual vocabulary; an English one is smaller."""
_TOKENS_BESIDE_LANGUAGES = 51_766
"""Entries of a multilingual vocabulary that name no language."""

COUNTS_FILE = "token_counts.json"
EXPONENT = 0.6
MAX_RELATIVE_RATE = 5.0


@dataclass(frozen=True, slots=True)
class WhisperTokenizer:
    """The tokenizer of a model, and what its control tokens mean."""

    tokenizer: Tokenizer
    languages: frozenset[str]
    """Codes of the languages that the model speaks."""
    multilingual: bool

    @classmethod
    def of(cls, folder: Path, languages: int) -> WhisperTokenizer:
        """The tokenizer of the model in `folder`, which speaks so many `languages`."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if languages <= 1:
            return cls(tokenizer, frozenset({ENGLISH}), multilingual=False)
        first = (tokenizer.token_to_id("<|startoftranscript|>") or 0) + 1
        tokens = (str(tokenizer.id_to_token(first + number)) for number in range(languages))
        return cls(tokenizer, frozenset(token[2:-2] for token in tokens), multilingual=True)

    @property
    def end(self) -> int:
        """The token that ends an answer; it is the first of the control tokens."""
        return self._control("endoftext")

    def prompt(self, speech: Speech, language: str, timestamps: bool) -> list[int]:
        """The tokens that the decoder continues."""
        task = ["startoftranscript"]
        if self.multilingual:
            task += [language, "transcribe"]
        if not timestamps:
            task += ["notimestamps"]
        return [*self._context(speech), *(self._control(name) for name in task)]

    def decode(self, tokens: Sequence[int]) -> tuple[str, int]:
        """The text of an answer, and how many of its tokens are text."""
        spoken = [token for token in tokens if token < self.end]
        text = self.tokenizer.decode(spoken).strip()
        return text if any(letter.isalnum() for letter in text) else "", len(spoken)

    def _context(self, speech: Speech) -> list[int]:
        hotwords = self._encode(", ".join(speech.hotwords))[:MAX_HOTWORD_TOKENS]
        room = MAX_PROMPT_TOKENS - len(hotwords)
        before = hotwords + self._encode(speech.prompt or "")[-room:]
        return [self._control("startofprev"), *before] if before else []

    def _encode(self, text: str) -> list[int]:
        """The tokens of a text. Control tokens written out in it would steer the decoder."""
        if not text.strip():
            return []
        tokens = self.tokenizer.encode(" " + text.strip(), add_special_tokens=False).ids
        return [token for token in tokens if token < self.end]

    def _control(self, name: str) -> int:
        token = self.tokenizer.token_to_id(f"<|{name}|>")
        if token is None:
            raise LookupError(f"the tokenizer has no <|{name}|>")
        return token


def languages_in(folder: Path) -> frozenset[str]:
    """Codes of the languages that the model in `folder` speaks, without loading it.

    Raises ModelError if its vocabulary or its tokenizer cannot be read.
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
    """Tokens per second of speech in a language, 1.0 for English and for an unknown language.

    English has the same rate under the tokenizer of the English models, within 3 %.
    """
    counted = token_counts().get(language, 1.0)
    return float(min(max(counted, 1.0) ** EXPONENT, MAX_RELATIVE_RATE))


@cache
def token_counts() -> dict[str, float]:
    """Tokens of a sentence by language code, as many times those of the English sentence."""
    text = files("stt_mqtt.engine").joinpath(COUNTS_FILE).read_bytes()
    counts: dict[str, float] = json.loads(text)
    return counts
