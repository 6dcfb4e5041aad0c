"""This engine beside what people use: the same clips, model files and cores, in one run.

`stt-mqtt run` behind a broker; wyoming-faster-whisper, if `--wyoming` names its program;
faster-whisper's own `transcribe`; and a larger model under stt-mqtt, if it is on this machine.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import bench, engine_batches, engine_goals, engine_page, speech, wyoming
from benchmarks.engine_parts import ROOMS, TURN_CLIPS, Material, one_room, together
from benchmarks.engine_programs import (
    THREADS,
    Contender,
    Cores,
    faster_whisper_transcribe,
    stt_mqtt,
    wyoming_faster_whisper,
)
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.errors import ModelError

MODEL = "tiny.en"
SEED = 3
ROOM_UTTERANCES = 160
QUICK_CLIPS = 3
QUICK_ROOM_UTTERANCES = 8


def contenders(options: argparse.Namespace, cores: Cores) -> tuple[list[Contender], list[str]]:
    """What is compared, ours first and then the usual server; and what is not, and why."""
    # A smoke test is about words, also on a machine that is too slow for them.
    limits = {"max_queue_age_s": 60} if options.quick else {}
    model = resolve(MODEL, default_models_dir())
    found, skipped = [stt_mqtt(MODEL, cores, limits)], []
    if options.wyoming:
        found.append(wyoming_faster_whisper(options.wyoming, model, cores))
    else:
        skipped.append(f"{wyoming.NAME} (`--wyoming` names no program)")
    found.append(faster_whisper_transcribe(model, cores))
    try:
        resolve(options.model2, default_models_dir())
    except ModelError as error:
        bench.say(str(error))
        skipped.append(f"a larger model under stt-mqtt ({options.model2} is not on this machine)")
    else:
        found.append(replace(stt_mqtt(options.model2, cores, limits), is_larger=True))
    return found, skipped


def spoken(quick: bool, folder: Path) -> Material:
    """The clips in their order; `folder` takes the samples of the demo."""
    clips = speech.samples(folder) if quick else speech.recordings()
    random.Random(SEED).shuffle(clips)
    some = itertools.cycle(clips)
    if quick:
        return Material(
            clips[:QUICK_CLIPS], [], list(itertools.islice(some, QUICK_ROOM_UTTERANCES))
        )
    return Material(clips, speech.noises(), list(itertools.islice(some, ROOM_UTTERANCES)))


def main(options: argparse.Namespace) -> int:
    """Run the benchmark; 1 if an utterance was answered with an error."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
        return 2
    machine = {**bench.machine(), "broker": bench.broker_name()}
    cores = Cores(*bench.two_cores())
    compared, skipped = contenders(options, cores)
    for text in skipped:
        bench.say(f"not measured: {text}")
    ours, usual = compared[:2]
    with tempfile.TemporaryDirectory() as name, bench.pinned(cores.others):
        material = spoken(options.quick, Path(name))
        parts = one_room(compared, material)
        rooms = {
            contender.name: together(contender, material.together)
            for contender in (ours, usual)
            if contender.most_rooms >= ROOMS
        }
        batches = engine_batches.measure(MODEL, material.clips, cores, options.quick)
    data: dict[str, Any] = {
        "benchmark": "engine",
        "quick": options.quick,
        "machine": machine,
        "versions": {wyoming.NAME: wyoming.versions(options.wyoming) if options.wyoming else {}},
        "model": MODEL,
        "threads": THREADS,
        "seed": SEED,
        "clips": len(material.clips),
        "audio_s": round(sum(clip.seconds for clip in material.clips), 1),
        "turn_clips": TURN_CLIPS,
        "room_count": ROOMS,
        "room_utterances": len(material.together),
        "ours": ours.name,
        "usual": usual.name,
        "larger": next((one.name for one in compared if one.is_larger), None),
        "skipped": skipped,
        **parts,
        "rooms": rooms,
        "batches": batches,
    }
    data["worse_corpora"] = engine_goals.worse_corpora(data)
    data["goals"] = engine_goals.judge(data)
    data["plot"] = _plotted(batches, options)
    bench.finish("engine", options, data, engine_page.markdown(data))
    errors = {
        name: row["errors"]
        for part in (data["one_room"], rooms)
        for name, row in part.items()
        if row["errors"]
    }
    if errors:
        bench.say(f"answered with an error: {errors}")
    return 1 if errors else 0


def _plotted(batches: dict[str, Any], options: argparse.Namespace) -> bool:
    folder: Path | None = options.results or (None if options.quick else bench.RESULTS)
    if folder is None:
        return False
    try:
        engine_batches.plot(batches, MODEL, folder / "engine_batches.png")
    except ImportError:
        bench.say("matplotlib is not installed: no plot")
        return False
    return True


if __name__ == "__main__":
    arguments = bench.parser(__doc__)
    arguments.add_argument(
        "--wyoming", metavar="PROGRAM", help="the wyoming-faster-whisper program, to compare with"
    )
    arguments.add_argument(
        "--model2",
        metavar="NAME",
        default="base",
        help="a larger model that is measured under stt-mqtt too (default: %(default)s)",
    )
    sys.exit(main(arguments.parse_args()))
