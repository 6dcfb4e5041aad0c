"""Compares transcripts with texts, and estimates intervals of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

from stt_mqtt.commands import manifest

ROUNDS = 2000
SEED = 5
LEVEL_PERCENT = 95.0
FEW_SPEAKERS = 5
"""With fewer, the bootstrap draws clips. The interval is then about these speakers."""
SAME = {"ounces": "ounce", "oz": "ounce", "shots": "shot", "roasts": "roast", "1": "one"}
"""Spellings of the same word that Whisper's normalisation does not unify."""

Sums = NDArray[np.float64]
Statistic = Callable[[Sums], Any]
"""A figure from the sums of the columns (last axis)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; None: not known."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def limits(self) -> tuple[float | None, float | None, float | None]:
        """Value, low and high."""
        return self.value, self.low, self.high


@cache
def word_errors(said: str, heard: str, language: str = "en") -> tuple[int, int]:
    """Wrong, missing and added words, counted as in `stt-mqtt bench`; and the words of the text."""
    score = _scorer().score(manifest.Clip("", Path(), said, language, ""), heard)
    return score.wrong, score.words


def wer(said_and_heard: Iterable[tuple[str, str]]) -> float | None:
    """The word error rate over all texts together; None without any words."""
    errors = [word_errors(said, heard) for said, heard in said_and_heard]
    words = sum(count for _, count in errors)
    return sum(wrong for wrong, _ in errors) / words if words else None


def is_exact(said: str, heard: str) -> bool:
    """Whether every word is right and none is added."""
    return word_errors(said, heard)[0] == 0


def is_right_word(said: str, heard: str) -> bool:
    """Whether the transcript is this single word. Digits count as words."""
    return _unified(said) == _unified(heard)


def slots_right(slots: Mapping[str, str], heard: str) -> bool:
    """Whether the words of each value are in the transcript, one directly after the other."""
    words = f" {_unified(heard)} "
    return all(f" {_unified(value)} " in words for value in slots.values())


def has_words(text: str) -> bool:
    """Whether there is a letter or digit."""
    return any(map(str.isalnum, text))


def bootstrap(
    columns: Sequence[Sequence[float]], clusters: Sequence[str], of: Statistic
) -> Estimate:
    """A figure of the columns' sums, with its interval of `LEVEL_PERCENT` over the clusters.

    A row is one clip. The results of two programs for a clip are in the same row, so the bootstrap
    is paired. With few clusters each row is a cluster.
    """
    rows = np.asarray(columns, np.float64).T
    if not rows.size:
        return Estimate(None)
    names, members = np.unique(np.asarray(clusters), return_inverse=True)
    sums = rows
    if len(names) >= FEW_SPEAKERS:
        sums = np.zeros((len(names), rows.shape[1]))
        np.add.at(sums, members, rows)
    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), ROUNDS)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(of(rows.sum(axis=0)))
        figures = np.asarray(of(drawn @ sums))
    if not np.isfinite(value):
        return Estimate(None)
    tail = (100 - LEVEL_PERCENT) / 2
    low, high = np.percentile(figures[np.isfinite(figures)], [tail, 100 - tail])
    return Estimate(value, float(low), float(high))


def rate(counts: Sequence[float], of: Sequence[float], clusters: Sequence[str]) -> Estimate:
    """A share with its interval. If it is 0, the upper bound would give 0 in 1 of 40 cases."""
    found = bootstrap([counts, of], clusters, share)
    if found.value == 0:
        independent = len(set(clusters))
        independent = len(clusters) if independent < FEW_SPEAKERS else independent
        return Estimate(0.0, 0.0, 1 - ((100 - LEVEL_PERCENT) / 200) ** (1 / independent))
    return found


def groups(speakers: Sequence[str], clips: Sequence[str]) -> Sequence[str]:
    """The clusters of rows of which several may be of one clip: speakers, or clips if few speak."""
    return speakers if len(set(speakers)) >= FEW_SPEAKERS else clips


def share(sums: Sums) -> Any:
    """First column divided by second."""
    return sums[..., 0] / sums[..., 1]


def ratio_of_shares(sums: Sums) -> Any:
    """Of columns wrong, of, wrong, of: first rate divided by second. 1 if both are 0."""
    ours, theirs = sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]
    return np.where((ours == 0) & (theirs == 0), 1.0, ours / theirs)


def difference_of_shares(sums: Sums) -> Any:
    """Of columns wrong, of, wrong, of: first rate minus second."""
    return sums[..., 0] / sums[..., 1] - sums[..., 2] / sums[..., 3]


def _unified(text: str) -> str:
    return " ".join(SAME.get(word, word) for word in _english()(text).split())


@cache
def _english() -> Callable[[str], str]:
    made: Callable[[str], str] = EnglishTextNormalizer()
    return made


@cache
def _scorer() -> manifest.Scorer:
    return manifest.Scorer()
