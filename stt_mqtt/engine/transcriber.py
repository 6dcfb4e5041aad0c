"""The seam to the model: what the line asks of an engine, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stt_mqtt.types import Samples, Transcript


@dataclass(frozen=True, slots=True)
class Speech:
    """What to transcribe: samples, the language spoken (None: detect) and words to expect."""

    samples: Samples
    language: str | None = None
    prompt: str | None = None


class Transcriber(Protocol):
    """A loaded, warm model. Every method may be called from any thread."""

    @property
    def model(self) -> str:
        """Name shown in results, as in `tiny.en`."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model speaks."""
        ...

    def transcribe(
        self, speech: Speech, progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """What was said; `text` is empty when there are no words.

        `progress` receives the seconds of audio that are done, rising up to its length.
        Raises UnsupportedLanguageError or InferenceFailedError.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; transcribing afterwards raises InferenceFailedError."""
        ...


def normalise_language(tag: str) -> str:
    """Language code of a tag: `en-US`, `EN` and `en_GB` are all `en`."""
    return re.split("[-_]", tag.strip(), maxsplit=1)[0].lower()
