"""The page of the savings: its numbers as tables, and whether what was promised is reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import bench
from benchmarks.savings import page_parts
from benchmarks.savings.goals import GOALS
from benchmarks.savings.texts import (
    LATENCY,
    OVER_TIME,
    counts,
    number,
    percent,
    rooms_text,
    run_name,
)

FLAT_MB_PER_MINUTE = 1.0
"""Memory that grows by less is taken for flat."""


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    lines = ["# What the design saves", ""]
    if data["runs"]:
        lines += [*_intro(data), *_goals(data), *_runs(data), *_latency(data), *_words(data)]
    if data["ablation"]:
        lines += page_parts.steps(data["ablation"])
    if data["edge"]:
        lines += page_parts.edge(data["edge"]["rooms"])
        lines += page_parts.edge_words(data["edge"]["words"])
    if data["spool"]:
        lines += page_parts.spool(data["spool"])
    return [*lines, bench.describe(data["machine"])]


def _intro(data: Mapping[str, Any]) -> list[str]:
    return [
        f"The same {data['minutes']:g} minutes of {data['rooms']} rooms, {data['utterances']} "
        f"utterances, heard in real time, one way after the other in one run (seed "
        f"{data['seed']}). The server has two cores, the broker and the rooms the others.",
        "",
        "**before**: the naive server. One second of base64 after the other, silence included; an "
        "FFmpeg process and a thread for each; base, with all of the growing buffer transcribed "
        "again each second. It is stopped when the sound ends, whatever it still owes.",
        "",
        "**stt-mqtt**: `stt-mqtt run` and `stt-mqtt satellite` with their defaults.",
        "",
    ]


def _goals(data: Mapping[str, Any]) -> list[str]:
    rows = []
    for row in data["goals"]:
        goal = next(one for one in GOALS if one.figure == row["figure"])
        rows.append(
            [
                f"{row['figure']}, {rooms_text(row['rooms'])}",
                ("≥ " if row["at_least"] else "") + number(goal.unit, row["before"]),
                number(goal.unit, row["ours"]),
                number("{:.1%}", row["saved"]),
                goal.plan,
                f"{goal.must:.0%}",
                f"{goal.aim:.0%}",
                row["reached"],
            ]
        )
    header = ["", "before", "stt-mqtt", "saved", "expected", "must", "aim", "reached"]
    growing = [
        f"{rooms_text(run['rooms'])} {run['memory']['growth_mb_per_minute']:+.2f} MB per minute"
        for run in data["runs"]
        if run["way"] != "before" and run["memory"]["growth_mb_per_minute"] is not None
    ]
    flat = all(
        abs(run["memory"]["growth_mb_per_minute"] or 0.0) < FLAT_MB_PER_MINUTE
        for run in data["runs"]
        if run["way"] != "before"
    )
    return [
        *bench.table(header, rows),
        "",
        f"Memory of stt-mqtt after the first minute: {', '.join(growing) or 'not measured'}; "
        f"flat (under {FLAT_MB_PER_MINUTE:g} MB per minute): {'yes' if flat else '**no**'}. "
        "The server of before cannot use more than its two cores, and what it still owes at the "
        "end is not in its CPU time; so it would have cost more. Its latency counts an utterance "
        "that got no text within the run with the time until the end, so where ≥ stands the true "
        "one is larger.",
        "",
        f"![CPU, memory, bytes and arrears over time]({OVER_TIME})",
        "",
    ]


def _runs(data: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            run_name(run),
            f"{run['cpu_s']:.1f}",
            f"{run['cpu_s_per_s']:.3f}",
            f"{run['memory']['at_the_start_mb']:.0f}",
            f"{run['memory']['peak_mb']:.0f}",
            number("{:+.1f}", run["memory"]["growth_mb_per_minute"]),
            run["most_threads"],
            f"{run['bytes'] / 1e6:.2f}",
            f"{run['broker_cpu_s_per_s']:.3f}",
            f"{run['sender_cpu_s_per_s']:.3f}",
            f"{run['others_cpu_s_per_s']:.2f}",
        ]
        for run in data["runs"]
    ]
    header = [
        "",
        "CPU s",
        "cores",
        "MB at first",
        "MB at most",
        "MB per minute",
        "threads",
        "MB sent",
        "cores, broker",
        "cores, per sender",
        "cores, others",
    ]
    stopped = [
        f"{run_name(run)} was stopped after {run['seconds']:.0f} s: {run['stopped_early']}."
        for run in data["runs"]
        if run["stopped_early"]
    ]
    owing = [
        f"{run_name(run)}: "
        + ", ".join(f"{room} {s:.0f} s" for room, s in run["behind"]["at_the_end_s"].items())
        for run in data["runs"]
        if "behind" in run
    ]
    return [
        "## The server",
        "",
        *bench.table(header, rows),
        "",
        *stopped,
        *([""] if stopped else []),
        "CPU time: of the server and all its children, ended ones included, from the first sample "
        "to the end. Memory: resident, looked at once a second; of FFmpeg's processes their own "
        "part and their share of what they have in common. Bytes: what the broker received "
        "(`$SYS/broker/bytes/received`), so sound, marks, texts, confirmations and connections; "
        "who measures hears with QoS 0 and sends nothing but pings. Others: what other programs "
        "took of the server's cores.",
        "",
        "How far behind the naive server was when the sound ended, in seconds of sound that it "
        f"had and were in no text: {'; '.join(owing) or 'not measured'}.",
        "",
    ]


def _latency(data: Mapping[str, Any]) -> list[str]:
    rows = []
    for run in data["runs"]:
        for key, name in (("with_hangover", ""), ("without_hangover", ", without the pause")):
            if key not in run["latency"]:
                continue
            measured = run["latency"][key]
            rows.append(
                [
                    run_name(run) + name,
                    *(number("{:.2f}", measured[spread]) for spread in ("p50", "p95", "max")),
                    f"{measured['utterances'] - measured['not_within_the_run']}"
                    f" of {measured['utterances']}",
                ]
            )
    told = [
        f"{rooms_text(run['rooms'])} {run['latency']['of_the_service_p50']:.3f} s"
        for run in data["runs"]
        if run["latency"].get("of_the_service_p50") is not None
    ]
    return [
        "## From the end of speech to the text",
        "",
        *bench.table(["seconds", "median", "95 %", "longest", "within the run"], rows),
        "",
        "From the labelled end of an utterance to the arrival of a text that holds it, at a client "
        f"of the broker. The satellite waits {data['hangover_s'] * 1000:.0f} ms of silence before "
        "it says that an utterance has ended; without the pause: less that. Median of the "
        f"service's own `latency_s`, from the end mark: {', '.join(told) or 'not measured'}. An "
        "utterance that has no text in the run counts with the time until its end.",
        "",
        f"![share of utterances that have their text after so many seconds]({LATENCY})",
        "",
    ]


def _words(data: Mapping[str, Any]) -> list[str]:
    rows = [
        [run_name(run), percent(run["wer"]["all"]), percent(run["wer"].get("so_far"))]
        for run in data["runs"]
    ]
    strays = [
        f"{rooms_text(run['rooms'])}: {run['strays']['segments']}, with words "
        f"{run['strays']['with_words']} (outcomes: {counts(run['outcomes'])})"
        for run in data["runs"]
        if "strays" in run
    ]
    return [
        "## Words",
        "",
        *bench.table(["word error rate", "of all that was said", "of what it had heard"], rows),
        "",
        "After Whisper's English normalisation (jiwer), each room as one text: the results in "
        "their order, of before its last text. What it had heard: the words within the longest "
        "buffer that it had transcribed and that cuts no utterance in two. before has the model "
        "base, stt-mqtt tiny.en.",
        "",
        f"Utterances without speech that reached the service: {'; '.join(strays)}.",
        "",
    ]
