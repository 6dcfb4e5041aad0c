"""How soon partial results come, whether they hold, and what they cost.

`stt-mqtt satellite` hears the recordings of the benchmark `live` in real time, without planted
pauses, in one room and in eight rooms, each without and with `partials`. Then four rooms hear all
recordings, free speech as well, with `partials`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile, zip_longest
from pathlib import Path
from typing import Any

import yaml

from benchmarks import live, report
from benchmarks.harness import say, spread
from benchmarks.playing import SEED, Heard, Played, Scene, Sent, play

ROOMS = (1, 8)
CLIPS = 12
"""Recordings of a kind for each of these rooms."""
ALL_ROOMS = 4
"""Rooms that share all recordings."""
ALL_CLIPS = 1000
"""More than there are of any kind."""


@dataclass(frozen=True, slots=True)
class Run:
    """Recordings that were played with partial results, and without if that was compared.

    `differ`: of which `stt-mqtt transcribe` hears other words than were published, without and
    with partial results.
    """

    name: str
    rooms: int
    without: Heard | None
    heard: Heard
    differ: Sequence[int | None]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Play the scenes of each run."""
    runs = []
    for rooms in (1,) if options.quick else ROOMS:
        asked = _asked(options, rooms, CLIPS * rooms)
        name = "1 room" if rooms == 1 else f"{rooms} rooms"
        runs.append(_run(name, rooms, _scenes(asked), live.configuration(asked)))
    if not options.quick:
        # The whole recording is heard, also if it begins with a phrase.
        asked = _asked(options, ALL_ROOMS, ALL_CLIPS, "silence")
        scenes = _scenes(asked) + _scenes(_asked(options, ALL_ROOMS, ALL_CLIPS, "eager"))
        service = live.configuration(asked)
        runs.append(_run("all recordings", ALL_ROOMS, scenes, service, is_compared=False))
    return {"seed": SEED, "runs": [figures(run) for run in runs]}


def _asked(
    options: argparse.Namespace, rooms: int, clips: int, endpointing: str | None = None
) -> argparse.Namespace:
    """The options of `live`."""
    return argparse.Namespace(
        quick=options.quick, rooms=rooms, endpointing=endpointing, clips=clips
    )


def _scenes(asked: argparse.Namespace) -> list[Scene]:
    with tempfile.TemporaryDirectory() as folder:
        return live.scenes_of(asked, Path(folder), with_pauses=False)


def _run(
    name: str,
    rooms: int,
    scenes: Sequence[Scene],
    service: dict[str, Any],
    is_compared: bool = True,
) -> Run:
    without = play(scenes, rooms, **service) if is_compared else None
    defaults = service["device_defaults"] | {"partials": True}
    heard = play(scenes, rooms, **service | {"device_defaults": defaults})
    differ: list[int | None] = []
    for one in (without, heard):
        differ.append(None if one is None else _count_differing(one.played, service))
    return Run(name, rooms, without, heard, differ)


def _count_differing(played: Sequence[Played], service: dict[str, Any]) -> int:
    say("stt-mqtt transcribe hears what they sent")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "offline.yaml"
        config.write_text(yaml.safe_dump(service))
        return len(live.differing(played, Path(folder), config))


def figures(run: Run) -> dict[str, Any]:
    """What partial results gave and cost."""
    played = run.heard.played
    sent = [one for each in played for one in each.sent]
    heard = (run.without, run.heard)
    return {
        "name": run.name,
        "rooms": run.rooms,
        "recordings": len(played),
        "first_s": {kind: first(some) for kind, some in live.by_kind(played).items()},
        "partials": sum(len(one.partials) for one in sent),
        "stable": sum(one.partials[-1][1]["stable"] for one in sent if one.partials),
        "taken_back": sum(taken_back(one) for one in sent),
        "contradicted": sum(is_contradicted(one) for one in sent),
        "utterances": len(sent),
        "differ": list(run.differ),
        "cpu_s_per_s": [None if one is None else one.cpu_s_per_s for one in heard],
        "end_to_text_s": [None if one is None else _end_to_text_s(one) for one in heard],
    }


def _end_to_text_s(heard: Heard) -> dict[str, float | None]:
    return spread([float(one.result["latency_s"]) for each in heard.played for one in each.sent])


def first(played: Sequence[Played]) -> dict[str, Any]:
    """Seconds from the first sound to the first partial result; how many recordings have one."""
    found = [
        min(one.partials[0][0] for one in each.sent if one.partials) - each.first_word_at
        for each in played
        if any(one.partials for one in each.sent)
    ]
    return {"recordings": len(played), "with_partials": len(found), **spread(found)}


def taken_back(sent: Sent) -> int:
    """How many stable characters a later revision changes."""
    changed = 0
    for (_, earlier), (_, later) in pairwise(sent.partials):
        stable = earlier["text"][: earlier["stable"]]
        pairs = zip_longest(stable, later["text"][: len(stable)])
        kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        changed += len(stable) - kept
    return changed


def is_contradicted(sent: Sent) -> bool:
    """Whether the final text does not begin with what was stable."""
    if not sent.partials or sent.result["outcome"] != "transcript":
        return False
    last = sent.partials[-1][1]
    return not str(sent.result["heard"]).startswith(last["text"][: last["stable"]])


def lost(data: Mapping[str, Any]) -> list[str]:
    """Runs in which stable characters were taken back."""
    return [
        f"{run['name']}: {run['taken_back']} characters"
        for run in data["runs"]
        if run["taken_back"]
    ]


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    runs = data["runs"]
    firsts = [
        _first_row(f"{run['name']}, {kind}", row)
        for run in runs
        for kind, row in run["first_s"].items()
    ]
    return [
        "# Partial results",
        "",
        f"Commands, orders and single words, seed {data['seed']}, in one room and in eight, each "
        "without and with partial results. *All recordings*: these and free speech, in "
        f"{ALL_ROOMS} rooms, with partial results and `endpointing: silence`.",
        "",
        "## The first partial result",
        "",
        "Seconds from the first sound of a recording to its first partial result at a client of "
        "the broker. *With one*: the recordings that had a partial result. A short word has none, "
        "and there are few while the machine is busy.",
        "",
        *report.table(["recordings", "played", "with one", "median", "95 %"], firsts),
        "",
        "## Stable text",
        "",
        "- *Revisions*: partial results.",
        "- *Stable*: characters that a partial result called stable.",
        "- *Taken back*: stable characters that a later revision changed.",
        "- *Contradicted*: utterances whose final text does not begin with the stable characters.",
        "- *Other words*: recordings of which `stt-mqtt transcribe` hears other words in what was "
        "sent, without and with partial results.",
        "",
        *report.table(
            ["", "utterances", "revisions", "stable", "taken back", "contradicted", "other words"],
            [_stable_row(run) for run in runs],
        ),
        "",
        "## Cost",
        "",
        "- *CPU*: CPU seconds of the service per second, without and with partial results.",
        "- *Ratio*: the second divided by the first.",
        "- *Answer*: seconds from the end mark to the text, without and with partial results.",
        "",
        *report.table(
            ["", "CPU", "ratio", "answer, median", "answer, 95 %"],
            [_cost_row(run) for run in runs],
        ),
    ]


def _first_row(name: str, row: Mapping[str, Any]) -> list[object]:
    seconds = [report.number("{:.2f}", row[key]) for key in ("p50", "p95")]
    return [name, row["recordings"], row["with_partials"], *seconds]


def _stable_row(run: Mapping[str, Any]) -> list[object]:
    kept = ("utterances", "partials", "stable", "taken_back", "contradicted")
    return [run["name"], *(run[key] for key in kept), _both("{}", run["differ"])]


def _cost_row(run: Mapping[str, Any]) -> list[object]:
    without, with_partials = run["cpu_s_per_s"]
    ratio = with_partials / without if without else None
    answers = [
        _both("{:.3f}", [one and one[key] for one in run["end_to_text_s"]])
        for key in ("p50", "p95")
    ]
    cpu = _both("{:.3f}", (without, with_partials))
    return [run["name"], cpu, report.number("{:.2f}", ratio), *answers]


def _both(form: str, without_and_with: Sequence[float | None]) -> str:
    return " / ".join(report.number(form, one) for one in without_and_with)


if __name__ == "__main__":
    sys.exit(report.run(report.Benchmark("partials", measure, page, lost), report.parser(__doc__)))
