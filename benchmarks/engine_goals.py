"""The goals of the engine, and what was measured beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

LARGE_CORPUS = 30
WORSE_POINTS = 0.02
NOT_MEASURED = "not measured"


class Sense(Enum):
    """How a figure is held against its goal."""

    FRACTION = auto()
    """Of that of the usual server, at most."""
    MULTIPLE = auto()
    """Of that of the usual server, at least."""
    VALUE = auto()
    """By itself, at most."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What must be reached, and what should be. `unit`: a format of one number."""

    key: str
    figure: str
    unit: str
    sense: Sense
    must: float
    aim: float


GOALS = (
    Goal("cpu_s", "CPU seconds per utterance, one room", "{:.3f}", Sense.FRACTION, 1 / 6, 1 / 10),
    Goal("median_s", "median latency, one room", "{:.3f} s", Sense.FRACTION, 1 / 5, 1 / 8),
    Goal("rate", "utterances per second, 8 rooms", "{:.1f}", Sense.MULTIPLE, 6, 10),
    Goal("p95_s", "95th percentile latency, 8 rooms", "{:.2f} s", Sense.FRACTION, 1 / 6, 1 / 10),
    Goal("wer", "WER, all English clips", "{:.2%}", Sense.FRACTION, 1, 0.9),
    Goal(
        "worse_corpora",
        f"corpora of {LARGE_CORPUS} or more clips worse by over {WORSE_POINTS * 100:g} points",
        "{:g}",
        Sense.VALUE,
        0,
        0,
    ),
    Goal("noise", "noise clips that give any text", "{:.1%}", Sense.VALUE, 0.04, 0.01),
    Goal("no_speech", "real speech without an answer in words", "{:.2%}", Sense.VALUE, 0.005, 0),
    Goal("peak_mb", "peak memory, 8 rooms", "{:.0f} MB", Sense.VALUE, 300, 220),
)


def judged(goal: Goal, usual: float | None, ours: float | None) -> dict[str, Any]:
    """A goal beside what was measured; None: it was not."""
    ratio = ratio_of(ours, usual)
    value = ours if goal.sense is Sense.VALUE else ratio
    if value is None:
        met = NOT_MEASURED
    elif _reaches(goal.sense, value, goal.aim):
        met = "aim"
    else:
        met = "must" if _reaches(goal.sense, value, goal.must) else "no"
    return {"figure": goal.figure, "usual": usual, "ours": ours, "ratio": ratio, "met": met}


def ratio_of(ours: float | None, usual: float | None) -> float | None:
    """Ours in terms of the usual; equal is 1, also where both are 0. None: not known."""
    if ours is None or usual is None:
        return None
    if ours == usual:
        return 1.0
    return ours / usual if usual else None


def figures(data: Mapping[str, Any], name: str | None) -> dict[str, float | None]:
    """What the goals are about, of one program."""
    alone = data["one_room"].get(name, {})
    noise = data["noise"].get(name, {})
    together = data["rooms"].get(name, {})
    return {
        "cpu_s": alone.get("cpu_s_per_utterance"),
        "median_s": alone.get("latency_s", {}).get("p50"),
        "rate": together.get("utterances_per_s"),
        "p95_s": together.get("latency_s", {}).get("p95"),
        "wer": alone.get("corpora", {}).get("all", {}).get("wer"),
        "worse_corpora": None,
        "noise": noise.get("share"),
        "no_speech": alone.get("without_words", {}).get("share"),
        "peak_mb": together.get("peak_mb"),
    }


def worse_corpora(data: Mapping[str, Any]) -> list[str]:
    """Names of the large corpora that are heard noticeably worse than by the usual server."""
    ours = data["one_room"][data["ours"]]["corpora"]
    usual = data["one_room"][data["usual"]]["corpora"]
    return [
        corpus
        for corpus, row in ours.items()
        if row["clips"] >= LARGE_CORPUS and row["wer"] - usual[corpus]["wer"] > WORSE_POINTS
    ]


def judge(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All goals beside what was measured."""
    usual = figures(data, data["usual"])
    ours = figures(data, data["ours"])
    ours["worse_corpora"] = len(worse_corpora(data))
    return [judged(goal, usual[goal.key], ours[goal.key]) for goal in GOALS]


def ratio_text(value: float | None) -> str:
    """Well under one as `1/7.3`, else as `0.9 x`."""
    if value is None:
        return ""
    return f"1/{1 / value:.3g}" if 0 < value < 0.5 else f"{value:.3g} x"


def limit_text(goal: Goal, value: float) -> str:
    """What `value` asks for, in words."""
    if goal.sense is Sense.VALUE:
        return f"≤ {goal.unit.format(value)}" if value else goal.unit.format(value)
    return ratio_text(value)


def _reaches(sense: Sense, value: float, limit: float) -> bool:
    return value >= limit if sense is Sense.MULTIPLE else value <= limit
