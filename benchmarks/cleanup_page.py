"""The page of `cleanup` for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import bench
from benchmarks.cleanup_scenes import (
    HANGOVER_S,
    LEAD_S,
    MICROPHONE_DBFS,
    PRE_ROLL_S,
    SPOKEN_BEFORE_S,
    Condition,
)


def condition_name(condition: Condition) -> str:
    """The column of a condition."""
    level = "" if condition.level_dbfs is None else f"{condition.level_dbfs} dBFS"
    if condition.noise is None:
        return level or "as recorded"
    snr = f"{condition.snr_db} dB SNR"
    return f"{level}, {condition.noise}, {snr}" if level else snr


def markdown(data: Mapping[str, Any], nothing: str) -> list[str]:
    """The page."""
    noisy, quiet = data["noisy"], data["quiet"]
    first = noisy[nothing]
    lines = [
        "# Cleaning up the audio of a microphone",
        "",
        bench.describe(data["machine"]),
        "",
        f"Word error rate of {data['model']} ({data['rung']}) behind each way of cleaning up. "
        f"{data['clips']} clips, {data['single_words']} of them single words drawn with seed "
        f"{data['seed']}, the others all English sentences of the speech data. What a satellite "
        f"sends is heard: {PRE_ROLL_S:g} s before the speech and {HANGOVER_S:g} s behind it; the "
        f"clean-up has heard the room for {LEAD_S:g} s before. The microphone itself makes white "
        f"noise of {MICROPHONE_DBFS:g} dBFS.",
        "",
        "## Noise",
        "",
        f"Each clip as recorded, and with one kind of noise at each SNR, the kinds in turns: "
        f"{', '.join(data['noise_kinds'])}. {first['utterances']} utterances with "
        f"{first['words']} words. The difference is that of all of them to `{nothing}`, with its "
        "95 % interval (clips drawn again and again); below zero is better. Phantoms: of "
        f"{data['noise_recordings']} recordings in which nobody speaks, how many give text.",
        "",
        *_table(noisy, "conditions", data["phantoms"]),
        "",
        "By the kind of noise, at all SNRs:",
        "",
        *_kinds(noisy),
        "",
        "## Quiet voices",
        "",
        "Every second clip as recorded, as quiet as voices further and further away, and quiet "
        f"among noise. The same voice has spoken for {SPOKEN_BEFORE_S:g} s before, so the gain "
        f"has settled. {quiet[nothing]['utterances']} utterances with {quiet[nothing]['words']} "
        "words.",
        "",
        *_table(quiet, "conditions", data["phantoms"]),
        "",
    ]
    if data["skipped"]:
        lines += [f"Not measured: {'; '.join(data['skipped'])}.", ""]
    return lines[:-1]


def _table(results: Mapping[str, Any], columns: str, phantoms: Mapping[str, int]) -> list[str]:
    names = list(next(iter(results.values()))[columns])
    rows = [
        [
            name,
            *(f"{row[columns][column]:.1%}" for column in names),
            f"{row['wer']:.1%}",
            _points(row["difference"]),
            f"{row['cpu_ms_per_audio_s']:.1f}",
            phantoms[name],
        ]
        for name, row in results.items()
    ]
    header = ["way", *names, "all", "difference, points", "CPU, ms per s of audio", "phantoms"]
    return bench.table(header, rows)


def _kinds(results: Mapping[str, Any]) -> list[str]:
    kinds: Sequence[str] = sorted(next(iter(results.values()))["noises"])
    rows = [
        [name, *(f"{row['noises'][kind]:.1%}" for kind in kinds)] for name, row in results.items()
    ]
    return bench.table(["way", *kinds], rows)


def _points(difference: Mapping[str, float]) -> str:
    mean, low, high = (100 * difference[name] for name in ("mean", "low", "high"))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
