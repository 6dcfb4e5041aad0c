"""The parts of the page that stand for themselves: the steps, the satellite's ear, the spool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import bench
from benchmarks.savings.texts import ABLATION, MINUS, change, counts, number, percent, yes

FOUND_MUST = 0.99
WER_POINTS = 0.5
"""What VAD and Opus may cost."""


def steps(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each step alone."""
    first = measured[0]
    rows = [
        [
            step["name"],
            f"{step['cpu_s']:.1f}",
            change(step["cpu_s"], first["cpu_s"]),
            f"{step['peak_mb']:.0f}",
            step["threads"],
            f"{step['bytes'] / 1e6:.2f}",
            number("{:.2f}", step["latency_s"]),
            percent(step["wer"]),
        ]
        for step in measured
    ]
    header = ["", "CPU s", "change", "MB at most", "threads", "MB sent", "latency s", "WER"]
    worth = [f"- **{step['name']}**: {_worth(step, first)}" for step in measured[1:]]
    return [
        "## Each step alone",
        "",
        *bench.table(header, rows),
        "",
        *worth,
        "",
        f"![CPU time, memory and bytes of each step]({ABLATION})",
        "",
    ]


def _worth(step: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    """What a step changes by more than a twentieth, in words."""
    told = []
    for key, words in (
        ("cpu_s", "CPU time"),
        ("peak_mb", "memory"),
        ("threads", "threads"),
        ("bytes", "bytes"),
        ("latency_s", "latency"),
    ):
        before, after = first[key], step[key]
        if before and after is not None and abs(after / before - 1) >= 0.05:
            told.append(f"{words} {change(after, before)}")
    if step["wer"] is not None and first["wer"] is not None:
        points = 100 * (step["wer"] - first["wer"])
        if abs(points) >= 1:
            told.append(f"WER {points:+.1f} points".replace("-", MINUS))
    return (", ".join(told) or "changes nothing by 5 % on its own") + "."


def edge(rooms: Mapping[str, Any]) -> list[str]:
    """What the ear of the satellite finds."""
    alone = rooms["on_noise_alone"]
    share = rooms["found"] / rooms["utterances"] if rooms["utterances"] else 0.0
    clipped = rooms["clipped_onsets"]
    rows: list[list[object]] = [
        [
            "utterances found",
            f"{rooms['found']} of {rooms['utterances']} ({share:.1%})",
            "≥ 99 %",
            yes(share >= FOUND_MUST),
        ],
        [
            "clipped onsets",
            f"{len(clipped)}" + (f" (by {max(clipped) * 1000:.0f} ms at most)" if clipped else ""),
            "none",
            yes(not clipped),
        ],
        ["clipped ends", len(rooms["clipped_ends"]), "", ""],
        ["utterances in two or more pieces", rooms["split"], "", ""],
        [
            "utterances without speech",
            f"{rooms['false']} ({rooms['false_per_room_hour']} per hour and room)",
            "counted",
            "",
        ],
        ["share of the sound that is sent", percent(rooms["sent_share"]), "", ""],
        [
            "share of the sound that is speech",
            percent(rooms["speech_s"] / rooms["seconds"] if rooms["seconds"] else None),
            "",
            "",
        ],
    ]
    by_label = "; ".join(
        f"{label} {false} of {clips}"
        for label, (false, clips) in sorted(alone["by_label"].items(), key=lambda row: -row[1][0])
        if false
    )
    return [
        "## The ear of the satellite",
        "",
        f"Its voice detector, offline, over {rooms['seconds'] / 60:.0f} minutes of rooms; an "
        "utterance is found when half of it or more was sent, and clipped when what was sent "
        "begins after its labelled start.",
        "",
        *bench.table(["", "", "must", "reached"], rows),
        "",
        f"Without speech, by what was heard: {counts(rooms['false_by_label']) or 'none'}. "
        f"{alone['clips']} clips of noise ({alone['seconds']:.0f} s), each alone in a quiet room, "
        f"gave {alone['false']} utterances"
        + (f" ({by_label})" if by_label else "")
        + ". Whether there are words in them is for the service to say.",
        "",
    ]


def edge_words(words: Mapping[str, Any]) -> list[str]:
    """What ear and codec cost."""
    rows = [
        [
            name,
            percent(row["wer"]),
            number("{:+.2f}", row["points"]),
            " to ".join(number("{:+.1f}", points) for points in row["points_95"]),
            yes(row["points"] <= WER_POINTS),
            number("{:+.2f}", row["points_capped"]),
            f"{row['clips_better']}, {row['clips_worse']}",
            row["without_words"],
            f"{row['bytes'] / 1e6:.2f}",
        ]
        for name, row in words["ways"].items()
    ]
    header = [
        "",
        "WER",
        "points",
        "95 %",
        f"within {WER_POINTS:g}",
        "points, capped",
        "clips better, worse",
        "without words",
        "MB",
    ]
    return [
        "## Words after the edge",
        "",
        f"{words['clips']} clips ({words['seconds']:.0f} s), each in {words['rooms']} quiet "
        "room(s), heard whole or through the satellite's ear and codec; the pipeline of the "
        "service in one process. 95 %: between what limits the difference would be with other "
        "clips like these (bootstrap over the clips). Capped: no clip counts with more errors than "
        "it has words, so that one phantom sentence for one word does not decide.",
        "",
        *bench.table(header, rows),
        "",
    ]


def spool(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What became of the speech while the broker was away."""
    table = [
        [
            f"{row['away_s']:g} s",
            row["utterances"],
            row["while_away"],
            row["with_words"],
            row["cut_short"],
            row["twice"],
            row["refused"],
            row["dropped_as_told"],
            row["too_old"],
            row["lost"],
            f"{row['oldest_text_s']:.1f} s",
            row["acted_on"],
            row["acted_late"],
        ]
        for row in rows
    ]
    header = [
        "broker away",
        "utterances",
        "while it was away",
        "with their text",
        "cut short",
        "twice",
        "refused",
        "dropped, as told",
        "too old to send",
        "lost",
        "oldest at its text",
        "acted on",
        "acted on late",
    ]
    return [
        "## A broker that is away",
        "",
        "Mosquitto is ended and started again while somebody says a command every few seconds. "
        "Dropped: as the satellite itself counts it. Too old: ended more than `spool_max_age_s` "
        "(30) before the return, so these must have been dropped. Refused: answered by the "
        "service without words. Cut short: a text of a part of it only. Lost: neither answered "
        "as a whole nor counted as dropped. Acted on: runs of the satellite's `--on-text` "
        "command; late if the speech was older than `spool_max_age_s` by then. The service runs "
        "with `limits.max_queue_age_s: 35`; with its own 10 it would refuse (`expired`) what "
        "comes later than that.",
        "",
        *bench.table(header, table),
        "",
    ]
