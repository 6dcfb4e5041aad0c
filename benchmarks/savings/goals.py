"""What was promised to be saved, and whether it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, what the plan expected of it, and what it must and should save."""

    figure: str
    keys: tuple[str, ...]
    unit: str
    plan: str
    must: float
    aim: float


GOALS = (
    Goal("server CPU", ("cpu_s_per_s",), "{:.3f} cores", "70 to 80 %", 0.95, 0.99),
    Goal("server memory, peak", ("memory", "peak_mb"), "{:.0f} MB", "60 to 70 %", 0.60, 0.75),
    Goal("bytes on the wire", ("kb_per_s",), "{:.1f} kB/s", "60 to 70 %", 0.95, 0.99),
    Goal(
        "end of speech → text, median",
        ("latency", "with_hangover", "p50"),
        "{:.2f} s",
        "50 to 60 %",
        0.90,
        0.97,
    ),
)


def judge(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is saved of each figure, for each number of rooms that both ways heard."""
    judged = []
    for rooms in sorted({run["rooms"] for run in runs}, reverse=True):
        pair = {run["way"]: run for run in runs if run["rooms"] == rooms}
        if len(pair) < 2:
            continue
        for goal in GOALS:
            before, ours = (_figure(pair[way], goal.keys) for way in ("before", "stt-mqtt"))
            saved = 1 - ours / before if before and ours is not None else None
            judged.append(
                {
                    "figure": goal.figure,
                    "rooms": rooms,
                    "before": before,
                    "ours": ours,
                    "saved": None if saved is None else round(saved, 4),
                    "reached": _reached(saved, goal),
                    "at_least": goal.keys[0] == "latency" and _is_lower_bound(pair["before"]),
                }
            )
    return judged


def _figure(run: Mapping[str, Any], keys: Sequence[str]) -> float | None:
    value: Any = run
    for key in keys:
        value = value[key]
    return None if value is None else float(value)


def _reached(saved: float | None, goal: Goal) -> str:
    if saved is None:
        return "not measured"
    return "aim" if saved >= goal.aim else "must" if saved >= goal.must else "no"


def _is_lower_bound(run: Mapping[str, Any]) -> bool:
    """Whether the median is of an utterance that was still waiting at the end."""
    measured = run["latency"]["with_hangover"]
    return bool(2 * measured["not_within_the_run"] >= measured["utterances"])
