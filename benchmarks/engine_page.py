"""The page of `engine`: its numbers as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import bench
from benchmarks.engine_goals import (
    GOALS,
    LARGE_CORPUS,
    WORSE_POINTS,
    figures,
    limit_text,
    ratio_of,
    ratio_text,
)

LARGER_FIGURES = ("cpu_s", "median_s", "wer", "noise", "no_speech")


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    return [
        "# Engine",
        "",
        f"The same {data['clips']} clips ({data['audio_s']:.0f} s), the same files of "
        f"{data['model']}, int8, beam 5, one run; each program alone at work on the same two "
        "cores, the broker and the speakers on others. stt-mqtt has its defaults (there: two "
        f"workers of one thread), the others {data['threads']} threads. The usual server: "
        f"{data['usual']}.",
        "",
        *_goals(data),
        *_skipped(data),
        "## One room",
        "",
        f"One utterance after the other, taking turns after every {data['turn_clips']} clips. "
        "Latency: from the end mark to the answer, at the speaker; as told: by the result itself. "
        "Without words: real speech that gave no text.",
        "",
        *_one_room(data),
        *_larger(data),
        "## Words",
        "",
        "Word error rate after Whisper's English normalisation (jiwer).",
        "",
        *_corpora(data),
        f"## {data['room_count']} rooms",
        "",
        "All at once, each sends its next clip when it has its answer: "
        f"{data['room_utterances']} utterances to a fresh process.",
        "",
        *_rooms(data),
        "## Noise",
        "",
        *_noise(data),
        "## Batches",
        "",
        *_batches(data),
        *(f"{name}: {_words(found)}." for name, found in data["versions"].items() if found),
        "",
        bench.describe(data["machine"]),
    ]


def _goals(data: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            goal.figure,
            _number(goal.unit, row["usual"]),
            _number(goal.unit, row["ours"]),
            ratio_text(row["ratio"]),
            limit_text(goal, goal.must),
            limit_text(goal, goal.aim),
            row["met"],
        ]
        for goal, row in zip(GOALS, data["goals"], strict=True)
    ]
    header = ["figure", "usual server", "stt-mqtt", "ratio", "must", "aim", "met"]
    worse = ", ".join(data["worse_corpora"]) or "none"
    return [
        *bench.table(header, rows),
        "",
        f"Corpora of {LARGE_CORPUS} or more clips worse by more than {WORSE_POINTS * 100:g} "
        f"points: {worse}.",
        "",
    ]


def _skipped(data: Mapping[str, Any]) -> list[str]:
    return [line for text in data["skipped"] for line in (f"Not measured: {text}.", "")]


def _one_room(data: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{row['cpu_s_per_utterance']:.3f}",
            _number("{:.3f}", row["broker_cpu_s_per_utterance"]),
            _number("{:.3f}", row["latency_s"]["p50"]),
            _number("{:.3f}", row["latency_s"]["p95"]),
            _number("{:.3f}", row["told_latency_s"]["p50"]),
            f"{row['corpora']['all']['wer']:.2%}",
            f"{row['without_words']['clips']}",
            row["counters"].get("second_looks", ""),
            f"{row['peak_mb']:.0f}",
        ]
        for name, row in data["one_room"].items()
    ]
    header = [
        "per utterance",
        "CPU s",
        "CPU s, broker",
        "median s",
        "p95 s",
        "median s, as told",
        "WER",
        "without words",
        "second looks",
        "peak MB",
    ]
    return [*bench.table(header, rows), ""]


def _larger(data: Mapping[str, Any]) -> list[str]:
    """The larger model under this engine beside the small one under the usual server."""
    larger, usual = data["larger"], data["usual"]
    if larger is None:
        return []
    ours, theirs = figures(data, larger), figures(data, usual)
    rows = [
        [
            goal.figure,
            _number(goal.unit, theirs[goal.key]),
            _number(goal.unit, ours[goal.key]),
            ratio_text(ratio_of(ours[goal.key], theirs[goal.key])),
        ]
        for goal in GOALS
        if goal.key in LARGER_FIGURES and ours[goal.key] is not None
    ]
    return [
        "A larger model under stt-mqtt for the price of the small one under the usual server:",
        "",
        *bench.table(["figure", usual, larger, "ratio"], rows),
        "",
    ]


def _corpora(data: Mapping[str, Any]) -> list[str]:
    programs = data["one_room"]
    first = next(iter(programs.values()))["corpora"]
    rows = [
        [
            corpus,
            row["clips"],
            *(f"{one['corpora'][corpus]['wer']:.2%}" for one in programs.values()),
        ]
        for corpus, row in first.items()
    ]
    return [*bench.table(["corpus", "clips", *programs], rows), ""]


def _rooms(data: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{row['utterances_per_s']:.2f}",
            _number("{:.3f}", row["latency_s"]["p50"]),
            _number("{:.3f}", row["latency_s"]["p95"]),
            f"{row['cpu_s_per_utterance']:.3f}",
            f"{row['peak_mb']:.0f}",
            f"{row['after_mb']:.0f}",
            row["counters"].get("second_looks", ""),
        ]
        for name, row in data["rooms"].items()
    ]
    header = [
        "program",
        "utterances/s",
        "median s",
        "p95 s",
        "CPU s each",
        "peak MB",
        "after MB",
        "second looks",
    ]
    return [*bench.table(header, rows), ""]


def _noise(data: Mapping[str, Any]) -> list[str]:
    if not data["noise"]:
        return ["Not measured.", ""]
    rows = [
        [name, row["clips"], row["with_text"], f"{row['share']:.1%}"]
        for name, row in data["noise"].items()
    ]
    return [*bench.table(["program", "clips", "with any text", "share"], rows), ""]


def _batches(data: Mapping[str, Any]) -> list[str]:
    batches = data["batches"]
    windows = " to ".join(f"{end} s" for end in dict.fromkeys(_ends(batches["windows_s"])))
    rows = [
        [row["size"], f"{row['cpu_s_per_utterance']:.4f}", f"{row['seconds_per_utterance']:.4f}"]
        for row in batches["sizes"]
    ]
    return [
        f"The engine alone, the {batches['utterances']} utterances with the shortest windows "
        f"({windows}), median of {batches['rounds']} round(s).",
        "",
        *bench.table(["decoded together", "CPU s each", "seconds each"], rows),
        "",
        *(["![Seconds per utterance over batch size](engine_batches.png)", ""] * data["plot"]),
    ]


def _ends(values: list[int]) -> tuple[int, int]:
    return values[0], values[-1]


def _number(unit: str, value: float | None) -> str:
    return "" if value is None else unit.format(value)


def _words(found: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())
