"""The page of `hearing`: its numbers as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import bench
from benchmarks.hearing_figures import LARGE_CORPUS
from benchmarks.scoring import FEW_SPEAKERS, LEVEL_PERCENT, ROUNDS


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    clips = data["clips"]
    peer = data["programs"][1] if len(data["programs"]) > 1 else "none in this run"
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return [
        "# Hearing",
        "",
        f"{clips['spoken']} English clips with texts, {clips['orders']} orders with slots, "
        f"{clips['pairs']} utterances of two commands and {clips['noises']} noises; the same files "
        f"of {data['model']}, int8, beam 5, one run. stt-mqtt runs with its defaults behind a "
        f"broker, the peer with {data['threads']} threads; both on the same two cores, one "
        f"utterance after the other, in turns of {data['turn_clips']}. The peer: {peer}.",
        "",
        *_goals(data),
        "## Words",
        "",
        "Word error rate and share of exact clips after Whisper's English normalisation (jiwer). "
        "A difference below 0 is better.",
        "",
        *_corpora(data),
        *_other_language(data),
        "## Noise",
        "",
        "Noises with any text.",
        "",
        *_noise(data),
        "## Costs",
        "",
        f"Latency: from the end mark to the answer, at the speaker. {data['room_count']} rooms: "
        f"each sends its next clip when it has its answer, {clips['together']} utterances to a "
        "fresh process.",
        "",
        *_costs(data),
        *([versions + ".", ""] if versions else []),
        bench.describe(data["machine"]),
    ]


def _goals(data: Mapping[str, Any]) -> list[str]:
    rows = []
    for goal in data["goals"]:
        found = goal["found"] or {}
        rows.append(
            [
                goal["figure"],
                _number(goal["unit"], found.get("peer")),
                _number(goal["unit"], found.get("ours")),
                _compared(goal["of"], found, goal["unit"]),
                _limit(goal, goal["must"]),
                _limit(goal, goal["aim"]),
                goal["met"],
            ]
        )
    compared = f"ratio or difference [{LEVEL_PERCENT:g} % interval]"
    header = ["figure", "the peer", "stt-mqtt", compared, "must", "aim", "met"]
    worst = data["worst_corpus"]
    return [
        *bench.table(header, rows),
        "",
        f"Intervals: {LEVEL_PERCENT:g} %, paired bootstrap ({ROUNDS} rounds) over speakers, of "
        f"noise over sounds; over clips where fewer than {FEW_SPEAKERS} speakers are known. Where "
        "a limit is about the value itself, so is the interval. "
        + (f"The worst corpus of {LARGE_CORPUS} or more clips: {worst}." if worst else ""),
        "",
    ]


def _corpora(data: Mapping[str, Any]) -> list[str]:
    rows = []
    for corpus, row in data["corpora"].items():
        exact = data["exact"][corpus]
        rows.append(
            [
                corpus,
                row["clips"],
                _number("{:.2%}", row["peer"]),
                _number("{:.2%}", row["ours"]),
                _compared("difference", row),
                _number("{:.1%}", exact["peer"]),
                _number("{:.1%}", exact["ours"]),
            ]
        )
    header = [
        "corpus",
        "clips",
        "WER, peer",
        "WER, stt-mqtt",
        "difference",
        "exact, peer",
        "exact, stt-mqtt",
    ]
    return [*bench.table(header, rows), ""]


def _other_language(data: Mapping[str, Any]) -> list[str]:
    found = data["other_language"]
    if found is None:
        return []
    words = found["words"]
    row = [
        words["clips"],
        _number("{:.2%}", words["peer"]),
        _number("{:.2%}", words["ours"]),
        _compared("ratio", words),
    ]
    return [
        f"In another language ({found['language']}), both with {found['model']}:",
        "",
        *bench.table(["clips", "WER, peer", "WER, stt-mqtt", "ratio"], [row]),
        "",
    ]


def _noise(data: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            group,
            row["clips"],
            _number("{:.1%}", row["peer"]),
            _number("{:.1%}", row["ours"]),
            _interval("{:.1%}", row["ours"]),
        ]
        for group, row in data["noise"].items()
    ]
    header = ["group", "clips", "peer", "stt-mqtt", "interval"]
    return [*bench.table(header, rows), ""]


def _costs(data: Mapping[str, Any]) -> list[str]:
    idle = next(goal for goal in data["goals"] if goal["key"] == "cpu_idle")["found"]
    rows = []
    for name, alone, crowd, cpu in zip(
        data["programs"],
        data["one_room"],
        data["rooms"],
        (idle["ours"], idle["peer"]),
        strict=False,
    ):
        rows.append(
            [
                name,
                _number("{:.3f}", cpu),
                *(f"{alone['latency_s'][at]:.3f}" for at in ("p50", "p95")),
                f"{crowd['cpu_s_per_utterance']:.3f}",
                *(f"{crowd['latency_s'][at]:.3f}" for at in ("p50", "p95")),
                f"{crowd['utterances_per_s']:.2f}",
                f"{crowd['peak_mb']:.0f}",
            ]
        )
    many = f"{data['room_count']} rooms"
    header = [
        "program",
        "one room: CPU s",
        "median s",
        "p95 s",
        f"{many}: CPU s",
        "median s",
        "p95 s",
        "utterances/s",
        "peak MB",
    ]
    return [*bench.table(header, rows), ""]


def _compared(of: str, found: Mapping[str, Any], unit: str = "") -> str:
    """The ratio or difference, or only the interval of a value, with its ends."""
    if of == "value":
        return _interval(unit, found.get("ours"))
    estimate = found.get("compared")
    if estimate is None or estimate["value"] is None:
        return ""
    say = _ratio if of == "ratio" else _points
    if estimate["low"] is None:
        return say(estimate["value"])
    return f"{say(estimate['value'])} [{say(estimate['low'])}, {say(estimate['high'])}]"


def _interval(unit: str, estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["low"] is None:
        return ""
    return f"[{unit.format(estimate['low'])}, {unit.format(estimate['high'])}]"


def _limit(goal: Mapping[str, Any], value: float) -> str:
    sign = "≥" if goal["more"] else "≤"
    if goal["of"] == "ratio":
        return f"{sign} {_ratio(value)}"
    return f"{sign} " + (
        _points(value) if goal["of"] == "difference" else goal["unit"].format(value)
    )


def _ratio(value: float) -> str:
    """Well under one as `1/7.3`, else as `0.90 x`."""
    return f"1/{1 / value:.3g}" if 0 < value < 0.5 else f"{value:.2f} x"


def _points(value: float) -> str:
    """A difference of shares in points of a percent."""
    return f"{value * 100:+.1f}"


def _number(unit: str, estimate: Mapping[str, Any] | None) -> str:
    return "" if estimate is None or estimate["value"] is None else unit.format(estimate["value"])
