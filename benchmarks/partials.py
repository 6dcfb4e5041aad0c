"""How soon partial results come, whether they hold, and what they cost.

`stt-mqtt satellite` hears the recordings of the benchmark `live` in real time, without planted
pauses, in one room and in eight rooms, each without and with `partials`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import live, report
from benchmarks.harness import spread
from benchmarks.playing import SEED, Heard, Played, Sent, play

ROOMS = (1, 8)
CLIPS = 12
"""Recordings of a kind for a room."""
KINDS = ("commands", "orders", "words")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Play the scenes four times."""
    runs = []
    for rooms in (1,) if options.quick else ROOMS:
        asked = argparse.Namespace(
            quick=options.quick, rooms=rooms, endpointing=None, clips=CLIPS * rooms
        )
        service = live.configuration(asked)
        with tempfile.TemporaryDirectory() as folder:
            scenes = live.scenes_of(asked, Path(folder), with_pauses=False)
        without = play(scenes, rooms, **service)
        service["device_defaults"]["partials"] = True
        runs.append(figures(rooms, without, play(scenes, rooms, **service)))
    return {"seed": SEED, "runs": runs}


def figures(rooms: int, without: Heard, with_partials: Heard) -> dict[str, Any]:
    """What partial results gave and cost."""
    played = with_partials.played
    sent = [one for each in played for one in each.sent]
    return {
        "rooms": rooms,
        "recordings": len(played),
        "first_s": {kind: first(played, kind) for kind in KINDS},
        "partials": sum(len(one.partials) for one in sent),
        "taken_back": sum(taken_back(one) for one in sent),
        "contradicted": sum(is_contradicted(one) for one in sent),
        "utterances": len(sent),
        "cpu_s_per_s": [without.cpu_s_per_s, with_partials.cpu_s_per_s],
        "end_to_text_s": [
            spread([float(one.result["latency_s"]) for each in heard.played for one in each.sent])
            for heard in (without, with_partials)
        ],
    }


def first(played: Sequence[Played], kind: str) -> dict[str, float | None]:
    """Seconds from the first sound to the first partial result."""
    return spread(
        [
            min(one.partials[0][0] for one in each.sent if one.partials) - each.first_word_at
            for each in played
            if each.scene.kind == kind and any(one.partials for one in each.sent)
        ]
    )


def taken_back(sent: Sent) -> int:
    """How many revisions change what was stable."""
    fields = [one for _, one in sent.partials]
    return sum(
        not later["text"].startswith(earlier["text"][: earlier["stable"]])
        for earlier, later in pairwise(fields)
    )


def is_contradicted(sent: Sent) -> bool:
    """Whether the final text does not begin with what was stable."""
    if not sent.partials or sent.result["outcome"] != "transcript":
        return False
    last = sent.partials[-1][1]
    return not str(sent.result["heard"]).startswith(last["text"][: last["stable"]])


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    columns = ["recordings", "first, median", "first, 95 %", "revisions", "taken back"]
    columns += ["contradicted", "CPU", "end to text"]
    return [
        "# Partial results",
        "",
        f"Seed {data['seed']}. *First*: seconds from the first sound of a recording to its first "
        "partial result at a client of the broker, for recordings that had one: commands, orders "
        "and single words. *Taken back*: revisions that change a stable character. *Contradicted*: "
        "utterances whose final text does not begin with the stable characters. *CPU*: time of the "
        "service with partial results, divided by the time without. *End to text*: seconds from "
        "the end mark to the text, median and 95 %, without and with partial results.",
        "",
        *report.table(["rooms", *columns], [_row(one) for one in data["runs"]]),
    ]


def _row(run: Mapping[str, Any]) -> list[object]:
    without, with_partials = run["cpu_s_per_s"]
    first_s = run["first_s"].values()
    seconds = [" / ".join(report.number("{:.2f}", one[at]) for one in first_s) for at in _AT]
    ends = [
        "/".join(report.number("{:.3f}", one[at]) for at in _AT) for one in run["end_to_text_s"]
    ]
    return [
        run["rooms"],
        run["recordings"],
        *seconds,
        run["partials"],
        run["taken_back"],
        f"{run['contradicted']} of {run['utterances']}",
        f"{with_partials / without:.2f}",
        ", ".join(ends),
    ]


_AT = ("p50", "p95")

if __name__ == "__main__":
    sys.exit(report.run(report.Benchmark("partials", measure, page), report.parser(__doc__)))
