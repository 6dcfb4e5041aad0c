"""Faults of broker, network, machine and model while four rooms speak.

Three rooms speak as satellites over MQTT, one as Home Assistant does over Wyoming. For each fault:
what became of every utterance, what the service said, and when all was well again.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import report, speech
from benchmarks.faults import machine, network
from benchmarks.faults.house import Fault, open_house
from benchmarks.faults.rooms import Recording, encoded
from benchmarks.harness import say, transcribed
from stt_mqtt.audio.decode import decode
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tools.brokers import MOSQUITTO
from tools.words import words

FAULTS: tuple[Fault, ...] = (*network.FAULTS, *machine.FAULTS)
CALM_S, QUICK_CALM_S = 15.0, 0.5
MAX_S, MIN_WORDS = 3.5, 3
"""Length of the recordings that are taken: commands."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def recordings(quick: bool) -> list[Recording]:
    """Commands that `stt-mqtt transcribe` understands to the letter, also over Opus."""
    with TemporaryDirectory() as folder:
        if quick:
            clips = speech.samples(Path(folder))
        else:
            clips = [
                clip
                for clip in speech.recordings()
                if clip.seconds <= MAX_S and len(words(clip.text)) >= MIN_WORDS
            ]
        say(f"stt-mqtt transcribe hears {len(clips)} recordings")
        coded = {clip.file: Path(folder, f"opus-{at}.wav") for at, clip in enumerate(clips)}
        for clip in clips:
            speech.write_wav(coded[clip.file], over_opus(clip.pcm))
        texts = transcribed([*coded, *coded.values()], "--language", "en")
    return [
        Recording(clip.text, clip.pcm)
        for clip in clips
        if words(texts[clip.file]) == words(texts[coded[clip.file]]) == words(clip.text)
    ]


def over_opus(pcm: bytes) -> bytes:
    """What is left of a recording after the way over Opus."""
    packets = b"".join(packet for _, packet in encoded(pcm, Codec.OPUS))
    decoded = decode(EncodedAudio(AudioFormat(Codec.OPUS), packets), MAX_S + 1)
    return (decoded.samples * 32767).astype("<i2").tobytes()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Have every fault happen, those with the same setup in one house."""
    if MOSQUITTO is None:
        raise FileNotFoundError("the faults need Mosquitto (apt install mosquitto)")
    if options.only and not options.results and not options.quick:
        raise FileNotFoundError("--only needs --results, for the page has all faults")
    chosen = [
        one
        for one in FAULTS
        if (options.only or "") in one.name and (one.quick or not options.quick or options.only)
    ]
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    spoken = recordings(options.quick)
    for setup, faults in groupby(chosen, key=lambda fault: fault.setup):
        if (why := setup.missing()) is not None:
            missing |= {fault.name: why for fault in faults}
            continue
        with open_house(setup, spoken, QUICK_CALM_S if options.quick else CALM_S) as house:
            for fault in faults:
                house.suffer(fault)
        rows += house.rows()
    return {"recordings": len(spoken), "rows": rows, "missing": missing}


def lost(data: Mapping[str, Any]) -> list[str]:
    """Where the promise does not hold."""
    return [f"{row['fault']}: {what}" for row in data["rows"] for what in row["broken"]]


def fault_table(data: Mapping[str, Any]) -> list[str]:
    """The table, as in docs/reliability.md."""
    header = ["fault", "hit", "opened", "text", "other outcomes", "said again", "lost", "doubled"]
    header += ["p95 beside", "well after", "what the service says"]
    return report.table(header, [_cells(row) for row in data["rows"]])


def _cells(row: Mapping[str, Any]) -> Sequence[object]:
    outcomes = dict(row["outcomes"])
    text, gone = outcomes.pop("text", 0), outcomes.pop("lost", 0) + outcomes.pop("open", 0)
    beside = None
    if row["factor"] is not None:
        beside = f"{row['p95_s']:.2f} s ({row['factor']:.1f}-fold)"
    says = [f"“{row['says']}”"] if row["says"] else []
    return [
        row["fault"],
        row["hits"],
        row["opened"],
        text,
        report.counts(outcomes),
        row["said_again"],
        gone,
        row["doubled"],
        beside,
        report.number("{:.1f} s", row["well_after_s"]),
        "; ".join([*says, *row["notes"]]).replace("|", "\\|") or None,
    ]


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = data["rows"]
    broken = [f"- {text}" for text in lost(data)]
    missing = [f"- {name}: {why}" for name, why in data["missing"].items()]
    return [
        "# Faults",
        "",
        f"{len(rows)} faults while four rooms speak {data['recordings']} recordings in turn.",
        "",
        *fault_table(data),
        *(["", "Not done here:", "", *missing] if missing else []),
        *(["", "Broken promises:", "", *broken] if broken else []),
    ]


def write_document(data: Mapping[str, Any], folder: Path) -> None:
    """Put the table into docs/reliability.md, if these are the results of the repository."""
    if folder != report.RESULTS:
        return
    text = DOCUMENT.read_text()
    table = "\n".join([BEGIN, "", *fault_table(data), "", END])
    DOCUMENT.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, text, flags=re.DOTALL))


if __name__ == "__main__":
    arguments = report.parser(__doc__)
    arguments.add_argument("--only", metavar="TEXT", help="faults whose names have this text")
    benchmark = report.Benchmark("faults", measure, page, lost, write_document)
    sys.exit(report.run(benchmark, arguments))
