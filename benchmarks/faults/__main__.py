"""Faults of broker, network, machine and model while four rooms speak.

Three rooms speak as satellites over MQTT, one as Home Assistant does over Wyoming. For each fault:
what became of every utterance, what the service said, and when all was well again.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, sounds, speech
from benchmarks.faults import clients, machine, network
from benchmarks.faults.house import Fault, Setup, open_house
from benchmarks.faults.ledger import Recording
from benchmarks.faults.rooms import encoded
from benchmarks.faults.rows import row_of
from benchmarks.harness import say, transcribed
from stt_mqtt.audio.decode import decode
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio
from tools.brokers import MOSQUITTO
from tools.words import words

FAULTS: tuple[Fault, ...] = (*network.FAULTS, *clients.FAULTS, *machine.FAULTS)
CALM_S, QUICK_CALM_S = 15.0, 0.5
MAX_S, MIN_WORDS = 3.5, 3
"""Length of the recordings that are taken: commands."""
ENGLISH = ("--language", "en")
CLEAR = ("living-room", "bedroom")
"""Rooms of the demo's samples whose words survive Opus."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def recordings(quick: bool) -> list[Recording]:
    """Commands that `stt-mqtt transcribe` understands to the letter, however rooms send them."""
    if quick:
        return [Recording(one.text, one.pcm()) for one in SAMPLES if one.file.startswith(CLEAR)]
    clips = [
        clip
        for clip in speech.recordings()
        if clip.seconds <= MAX_S and len(words(clip.text)) >= MIN_WORDS
    ]
    say(f"stt-mqtt transcribe hears {len(clips)} recordings")
    with tempfile.TemporaryDirectory() as folder:
        sent = {clip.id: [clip.file, _as_opus(clip, Path(folder))] for clip in clips}
        texts = transcribed([file for files in sent.values() for file in files], *ENGLISH)
    return [
        Recording(clip.text, clip.pcm)
        for clip in clips
        if all(words(texts[file]) == words(clip.text) for file in sent[clip.id])
    ]


def _as_opus(clip: speech.Clip, folder: Path) -> Path:
    """A WAV file of what a satellite's Opus makes of a clip."""
    data = b"".join(chunk for _, chunk in encoded(clip.pcm, Codec.OPUS))
    samples = decode(EncodedAudio(AudioFormat(Codec.OPUS), data), MAX_S + 1).samples
    file = folder / f"{clip.file.stem}.wav"
    speech.write_wav(file, sounds.pcm(samples))
    return file


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
    for setup, faults in _by_setup(chosen):
        if (why := setup.missing()) is not None:
            missing |= {fault.name: why for fault in faults}
            continue
        with open_house(setup, spoken, QUICK_CALM_S if options.quick else CALM_S) as house:
            house.quick = options.quick
            for fault in faults:
                house.suffer(fault)
        rows += [row_of(one, house) for one in house.happened]
    order = [fault.name for fault in FAULTS]
    rows.sort(key=lambda row: order.index(row["fault"]))
    return {"recordings": len(spoken), "rows": rows, "missing": missing}


def _by_setup(faults: Sequence[Fault]) -> list[tuple[Setup, list[Fault]]]:
    """The faults of each house."""
    houses: list[tuple[Setup, list[Fault]]] = []
    for fault in faults:
        for setup, others in houses:
            if setup == fault.setup:
                others.append(fault)
                break
        else:
            houses.append((fault.setup, [fault]))
    return houses


def lost(data: Mapping[str, Any]) -> list[str]:
    """Where the promise does not hold."""
    return [f"{row['fault']}: {what}" for row in data["rows"] for what in row["broken"]]


HEADER = (
    "fault", "hit", "opened", "heard", "otherwise", "again", "lost", "twice", "p95 beside",
    "well after", "what the program says and counts",
)  # fmt: skip


def fault_table(data: Mapping[str, Any]) -> list[str]:
    """The table, as in docs/reliability.md."""
    rule = ["---", "---", "---:", "---:", "---", *["---:"] * 5, "---"]
    rows = [list(map(_shown, _cells(row))) for row in data["rows"]]
    return ["| " + " | ".join(cells) + " |" for cells in (HEADER, rule, *rows)]


def _shown(cell: object) -> str:
    return report.DASH if cell is None else str(cell).replace("|", "\\|")


def _cells(row: Mapping[str, Any]) -> Sequence[object]:
    outcomes = dict(row["outcomes"])
    heard, gone = outcomes.pop("text", 0), outcomes.pop("lost", 0) + outcomes.pop("open", 0)
    beside = None
    if row["factor"] is not None:
        beside = f"{row['p95_s']:.2f} s ({row['factor']:.1f}-fold)"
    told = [f"“{row['says']}”"] if row["says"] else []
    told += [f"counts {report.counts(row['counted'])}"] if row["counted"] else []
    told += [f"restarted {row['restarts']} times"] if row["restarts"] > 1 else []
    pieces = sum(row["pieces"].values())
    told += [f"{pieces} outcomes of pieces without an id"] if pieces else []
    return [
        row["fault"],
        row["hits"],
        row["opened"],
        heard,
        report.counts(outcomes) if outcomes else None,
        row["said_again"],
        gone,
        row["doubled"],
        beside,
        report.number("{:.1f} s", row["well_after_s"]),
        "; ".join([*told, *row["notes"]]) or None,
    ]


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = data["rows"]
    broken = [f"- {text}" for text in lost(data)]
    missing = [f"- {name}: {why}" for name, why in data["missing"].items()]
    return [
        "# Faults",
        "",
        f"{len(rows)} faults while four rooms speak {data['recordings']} recordings in turn. "
        "[docs/reliability.md](../../docs/reliability.md) explains the columns.",
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
