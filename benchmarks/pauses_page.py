"""The page of `pauses` for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import bench
from benchmarks.pauses_material import MOST_QUIETER_DB


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "# Two commands in one utterance",
        "",
        bench.describe(data["machine"]),
        "",
        f"{data['pairs']} pairs of clips of {data['model']}'s speech data, drawn by corpus with "
        f"seed {data['seed']}, one up to {MOST_QUIETER_DB:g} dB quieter than the other, with a "
        "pause of room tone between them. The ratio is that of the wrong words to those that are "
        "wrong when each is heard alone, with its 95 % interval over the pairs; lost: recordings "
        "with so many more errors that half of a command or more is missing. CPU: against "
        "hearing each alone.",
    ]
    header = ["way", "pause, s", "WER", "alone", "ratio", "95 %", "lost", "CPU"]
    for part, title in (
        ("joined", "Two commands"),
        ("hesitations", "One sentence with a hesitation"),
    ):
        if part == "hesitations":
            lines += [
                "",
                f"## {title}",
                "",
                f"{data['sentences']} sentences of three words or more, with a pause at the "
                "quietest place of the middle third, which is often within a word: worse than "
                "people are. 0 s: as it is.",
            ]
        else:
            lines += ["", f"## {title}"]
        cells = [
            [
                way,
                pause,
                f"{row['wer']:.1%}",
                f"{row['wer_alone']:.1%}",
                f"{row['ratio']:.2f}",
                "{:.2f} to {:.2f}".format(*row["ratio_95"]),
                f"{row['lost']} of {row['recordings']}",
                f"{row['cpu_ratio']:.2f}",
            ]
            for way, by_pause in data[part].items()
            for pause, row in by_pause.items()
        ]
        lines += ["", *bench.table(header, cells)]
    lines += [
        "",
        "## The shortest pause to cut at, held out",
        "",
        "Chosen by the wrong words of all corpora but one, judged on that one.",
        "",
        *bench.table(
            ["corpus", "chosen, s", "words", "errors", "errors in one piece"],
            [
                [
                    corpus,
                    row["least_s"],
                    row["words"],
                    row["errors"],
                    row["errors_in_one_piece"],
                ]
                for corpus, row in data["held_out"].items()
            ],
        ),
    ]
    return lines
