"""The figures of `hearing`, each of both programs and compared, and the goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import scoring
from benchmarks.hearing_material import Material, Pair
from benchmarks.hearing_parts import Heard
from benchmarks.scoring import Estimate, bootstrap
from benchmarks.speech import Clip

LARGE_CORPUS = 30
ALL = "all"
NOT_MEASURED = "not measured"
ROUNDING = 1e-9

All = Mapping[str, Heard]
Score = Callable[[Clip, Heard], tuple[float, float]]
"""What is counted of a clip, and of how many."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of the peer and of this service, and both compared. None: not measured."""

    clips: int
    ours: Estimate
    peer: Estimate | None
    compared: Estimate | None


@dataclass(frozen=True, slots=True)
class Goal:
    """What must be reached, and what should be.

    `unit`: a format of one number. `of`: what the limits are about, `ratio` to the peer,
    `difference` from it, or the `value` itself. `more`: the limits are the least.
    """

    key: str
    figure: str
    unit: str
    of: str
    must: float
    aim: float
    more: bool = False

    def met(self, found: Compared | None) -> str:
        """`aim`, `must` or `no`; or that it was not measured."""
        value = None
        if found is not None:
            estimate = found.ours if self.of == "value" else found.compared
            value = None if estimate is None else estimate.value
        if value is None:
            return NOT_MEASURED
        if self._reaches(value, self.aim):
            return "aim"
        return "must" if self._reaches(value, self.must) else "no"

    def _reaches(self, value: float, limit: float) -> bool:
        return value >= limit - ROUNDING if self.more else value <= limit + ROUNDING


GOALS = (
    Goal("words", "word error rate, all English", "{:.2%}", "ratio", 0.9, 0.8),
    Goal("orders", "orders, all slots right", "{:.1%}", "difference", 0.01, 0.04, True),
    Goal("single_words", "single words, right", "{:.1%}", "difference", 0, 0.05, True),
    Goal("worst_corpus", "WER of the worst large corpus", "{:.2%}", "difference", 0.01, 0),
    Goal("noise", "noise with any text", "{:.1%}", "value", 0.03, 0.01),
    Goal("without_words", "speech without words", "{:.2%}", "value", 0.003, 0),
    Goal("cpu_idle", "CPU s per utterance, one room", "{:.3f}", "ratio", 1 / 5, 1 / 10),
    Goal("cpu_rooms", "CPU s per utterance, 8 rooms", "{:.3f}", "ratio", 1 / 8, 1 / 10),
    Goal("pairs", "two commands, WER joined over alone", "{:.2f} x", "value", 1.3, 1.1),
)


def words(clip: Clip, heard: Heard, language: str = "en") -> tuple[float, float]:
    """Wrong words of those that were said."""
    return scoring.word_errors(clip.text, heard.answer.text, language)


def exact(clip: Clip, heard: Heard) -> tuple[float, float]:
    """Every word is right."""
    return float(scoring.is_exact(clip.text, heard.answer.text)), 1


def right_word(clip: Clip, heard: Heard) -> tuple[float, float]:
    """The one word is right."""
    return float(scoring.is_right_word(clip.text, heard.answer.text)), 1


def slots(clip: Clip, heard: Heard) -> tuple[float, float]:
    """All slots are right."""
    return float(scoring.slots_right(clip.slots, heard.answer.text)), 1


def any_text(_clip: Clip, heard: Heard) -> tuple[float, float]:
    """There are words."""
    return float(heard.answer.has_words), 1


def no_text(_clip: Clip, heard: Heard) -> tuple[float, float]:
    """There are no words."""
    return float(not heard.answer.has_words), 1


def cpu(_clip: Clip, heard: Heard) -> tuple[float, float]:
    """CPU seconds."""
    return heard.cpu_s, 1


def compare(
    clips: Sequence[Clip], ours: All, peer: All | None, score: Score, is_ratio: bool = False
) -> Compared:
    """One figure of both programs, and their ratio or difference."""
    clusters = [clip.speaker or clip.id for clip in clips]
    columns = _columns(clips, ours, score)
    one = scoring.rate(*columns, clusters)
    if peer is None:
        return Compared(len(clips), one, None, None)
    others = _columns(clips, peer, score)
    statistic = scoring.ratio_of_shares if is_ratio else scoring.difference_of_shares
    return Compared(
        len(clips),
        one,
        scoring.rate(*others, clusters),
        bootstrap([*columns, *others], clusters, statistic),
    )


def joined_over_alone(pairs: Sequence[Pair], heard: All) -> Estimate:
    """The word error rate of pairs in terms of that of the same commands alone."""
    columns: list[list[float]] = [[], [], [], []]
    for pair in pairs:
        joined = words(pair.clip, heard[pair.clip.id])
        parts = [words(clip, heard[clip.id]) for clip in (pair.first, pair.second)]
        alone = [sum(part[n] for part in parts) for n in (0, 1)]
        for column, count in zip(columns, (*joined, *alone), strict=True):
            column.append(count)
    return bootstrap(columns, [pair.clip.id for pair in pairs], scoring.ratio_of_shares)


def figures(material: Material, ours: All, peer: All | None) -> dict[str, Compared]:
    """The figures that goals are about, as far as one room tells them."""
    talk = [*material.spoken, *material.orders]
    pairs = Compared(
        len(material.pairs),
        joined_over_alone(material.pairs, ours),
        None if peer is None else joined_over_alone(material.pairs, peer),
        None,
    )
    return {
        "words": compare(material.spoken, ours, peer, words, is_ratio=True),
        "orders": compare(material.orders, ours, peer, slots),
        "single_words": compare(material.single_words, ours, peer, right_word),
        "noise": compare(material.noises, ours, peer, any_text),
        "without_words": compare(talk, ours, peer, no_text),
        "cpu_idle": compare(talk, ours, peer, cpu, is_ratio=True),
        "pairs": pairs,
    }


def by_corpus(
    clips: Sequence[Clip], ours: All, peer: All | None, score: Score
) -> dict[str, Compared]:
    """One figure per corpus, and over all."""
    names = dict.fromkeys(clip.corpus for clip in clips)
    rows = {
        name: compare([clip for clip in clips if clip.corpus == name], ours, peer, score)
        for name in names
    }
    return {**rows, ALL: compare(clips, ours, peer, score)}


def worst(corpora: Mapping[str, Compared]) -> str | None:
    """The name of the large corpus where this service is worst in terms of the peer."""
    by_difference = {
        name: row.compared.value
        for name, row in corpora.items()
        if name != ALL and row.clips >= LARGE_CORPUS and row.compared is not None
    }
    return max(by_difference, key=lambda name: by_difference[name] or 0.0, default=None)


def of_rooms(crowds: Sequence[Mapping[str, Any]]) -> Compared:
    """CPU seconds per utterance with many rooms: one number of one run, so without an interval."""
    ours, *others = (Estimate(crowd["cpu_s_per_utterance"]) for crowd in crowds)
    if not others or not others[0].value or ours.value is None:
        return Compared(crowds[0]["utterances"], ours, None, None)
    ratio = Estimate(ours.value / others[0].value)
    return Compared(crowds[0]["utterances"], ours, others[0], ratio)


def _columns(clips: Sequence[Clip], heard: All, score: Score) -> tuple[list[float], list[float]]:
    scores = [score(clip, heard[clip.id]) for clip in clips]
    return [one for one, _ in scores], [of for _, of in scores]
