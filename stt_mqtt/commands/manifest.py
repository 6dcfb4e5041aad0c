"""Manifests of recordings and their texts: reading them, and scoring transcripts.

A manifest has one JSON object per line: `path` (relative to the manifest), `text`, and, where it
matters, `lang` (default `en`) and `corpus`. Other keys are ignored.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stt_mqtt.audio.decode import Decoded, decode
from stt_mqtt.engine.calibration_search import Score
from stt_mqtt.errors import ConfigError, MissingExtraError, UtteranceError
from stt_mqtt.types import EncodedAudio, normalise_language

MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_LINES = 10_000
MAX_PROBLEMS = 20
MAX_CLIP_BYTES = 64 * 1024 * 1024
MAX_CLIP_S = 30.0
BENCH_EXTRA = "bench"
PERCENT = re.compile(
    r"\b(?:pour ?cents?|por ?ciento|per ?cento|por ?cento|prozent|procent|prosent)\b", re.IGNORECASE
)
"""Whisper writes the sign, people write the word; the English normalisation knows this itself."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    path: str = Field(min_length=1, max_length=4096)
    text: str = Field(default="", max_length=10_000)
    lang: str = Field(default="en", min_length=1, max_length=35)
    corpus: str = Field(default="", max_length=100)


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording. `where`: the line of the manifest that names it. `text`: what is said."""

    where: str
    file: Path
    text: str
    language: str
    corpus: str


def read_manifest(path: Path, spoken: bool = True) -> tuple[Clip, ...]:
    """The recordings in a manifest; `spoken` ones need their text.

    Raises ConfigError with what is wrong in which line.
    """
    clips: list[Clip] = []
    problems: list[str] = []
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        try:
            line = _Line.model_validate_json(text)
        except ValidationError as error:
            problems.append(f"{where}: {_reason(error)}")
            continue
        if spoken and not line.text.strip():
            problems.append(f"{where}: text: what is said in the recording is missing")
        file = path.parent / line.path
        clips.append(Clip(where, file, line.text, normalise_language(line.lang), line.corpus))
    if problems:
        more = len(problems) - MAX_PROBLEMS
        raise ConfigError(problems[:MAX_PROBLEMS] + [f"and {more} more"] * (more > 0))
    if not clips:
        raise ConfigError([f"{path}: there is no recording in this manifest"])
    return tuple(clips)


def spread(clips: tuple[Clip, ...], most: int | None) -> tuple[Clip, ...]:
    """At most so many of the clips, evenly spread over the manifest; None: all."""
    if most is None or most >= len(clips):
        return clips
    return tuple(clips[number * len(clips) // most] for number in range(most))


def positive_int(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def read_audio(clip: Clip) -> Decoded:
    """Decode a clip, `MAX_CLIP_S` of it at most. Raises ConfigError."""
    try:
        if clip.file.stat().st_size > MAX_CLIP_BYTES:
            raise ConfigError([f"{clip.where}: {clip.file} is larger than {MAX_CLIP_BYTES} bytes"])
        return decode(EncodedAudio(None, clip.file.read_bytes()), MAX_CLIP_S)
    except (OSError, ValueError, UtteranceError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError([f"{clip.where}: {clip.file}: {reason}"]) from error


def require_scoring() -> None:
    """Raise MissingExtraError where the libraries that score are missing."""
    for module in ("jiwer", "whisper_normalizer"):
        if find_spec(module) is None:
            raise MissingExtraError(module, BENCH_EXTRA)


class Scorer:
    """Compares words as usual: after Whisper's normalisation of numbers, case and spelling."""

    def __init__(self) -> None:
        require_scoring()
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer

        basic: Callable[[str], str] = BasicTextNormalizer()
        self._english: Callable[[str], str] = EnglishTextNormalizer()
        # What the normalisation does not know it removes, and with it the sign.
        self._other: Callable[[str], str] = lambda text: basic(PERCENT.sub("%", text))

    def score(self, clip: Clip, text: str) -> Score:
        """The score of a transcript of one clip."""
        import jiwer

        normalise = self._english if clip.language == "en" else self._other
        said, words = normalise(clip.text), normalise(text)
        if said.split():
            found = jiwer.process_words(said, words)
            wrong = found.substitutions + found.deletions + found.insertions
        else:
            wrong = len(words.split())
        return Score(wrong, len(said.split()), int(wrong == 0), 1)


def by_corpus(scores: Iterable[tuple[Clip, Score]]) -> Mapping[str, Score]:
    """The sum of the scores of each corpus, in the order of the manifest."""
    sums: dict[str, Score] = {}
    for clip, score in scores:
        sums[clip.corpus] = sums.get(clip.corpus, Score()) + score
    return sums


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([f"{path}: the manifest cannot be read: {reason}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: the manifest is not UTF-8 text"]) from error
    # JSON may hold other line separators of Unicode as they are.
    lines = text.split("\n")
    if len(data) > MAX_MANIFEST_BYTES or len(lines) > MAX_LINES + 1:
        raise ConfigError(
            [f"{path}: a manifest has at most {MAX_LINES} lines and {MAX_MANIFEST_BYTES} bytes"]
        )
    return lines


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else f"{first['msg']}"
