"""Between text and the tokens of a Whisper model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Words:
    """A model's tokenizer and what its control tokens mean."""

    tokenizer: Tokenizer
    languages: frozenset[str]
    """Codes of the languages that the model speaks."""
    multilingual: bool

    @classmethod
    def of(cls, folder: Path, languages: int) -> Words:
        """The tokens of the model in `folder`, which speaks so many `languages`."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if languages <= 1:
            return cls(tokenizer, frozenset({ENGLISH}), multilingual=False)
        first = (tokenizer.token_to_id("<|startoftranscript|>") or 0) + 1
        tokens = (str(tokenizer.id_to_token(first + number)) for number in range(languages))
        return cls(tokenizer, frozenset(token[2:-2] for token in tokens), multilingual=True)

    @property
    def end(self) -> int:
        """The token that ends an answer, the first of the control tokens."""
        return self._control("endoftext")

    def prompt(self, speech: Speech, language: str, timestamps: bool) -> list[int]:
        """What the decoder is given to go on from."""
        task = ["startoftranscript"]
        if self.multilingual:
            task += [language, "transcribe"]
        if not timestamps:
            task += ["notimestamps"]
        return [*self._context(speech), *(self._control(name) for name in task)]

    def spoken(self, tokens: Sequence[int]) -> tuple[str, int]:
        """The text of an answer, and how many of its tokens are text."""
        words = [token for token in tokens if token < self.end]
        text = self.tokenizer.decode(words).strip()
        return text if any(letter.isalnum() for letter in text) else "", len(words)

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

    Raises ModelError where its vocabulary or its tokenizer cannot be read.
    """
    try:
        tokens = _vocabulary_size(folder)
        multilingual = tokens >= _MULTILINGUAL_TOKENS
        return Words.of(folder, tokens - _TOKENS_BESIDE_LANGUAGES if multilingual else 1).languages
    except Exception as error:
        raise ModelError(f"{folder}: its vocabulary cannot be read: {error}") from error


def _vocabulary_size(folder: Path) -> int:
    listed = folder / "vocabulary.json"
    if listed.is_file():
        return len(json.loads(listed.read_text(encoding="utf-8")))
    return (folder / "vocabulary.txt").read_bytes().count(b"\n")
