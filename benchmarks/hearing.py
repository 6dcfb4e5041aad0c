"""Words, phantoms and costs judged from outside, beside the usual server: one run, same cores.

`stt-mqtt run` behind a broker; and wyoming-faster-whisper, if `--wyoming` names its program, with
the same model files. `--noises` names a folder that `python -m benchmarks.noises` has built.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bench, hearing_figures, hearing_material, hearing_page, noises, speech
from benchmarks import wyoming as wyoming_server
from benchmarks.hearing_figures import GOALS, Compared, by_corpus
from benchmarks.hearing_material import Material
from benchmarks.hearing_parts import (
    ROOMS,
    TURN_CLIPS,
    OneRoom,
    errors,
    one_room,
    spread,
    together,
)
from benchmarks.programs import THREADS, Contender, Cores, stt_mqtt, wyoming_faster_whisper
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.errors import ModelError

MODEL = "tiny.en"
LANGUAGE = "en"
OTHER_MODEL = "base"
OTHER_LANGUAGE = "fr"


def contenders(
    options: argparse.Namespace, cores: Cores, model: str, language: str
) -> list[Contender]:
    """This service, and its peer where it is named."""
    # A smoke test is about words, also on a machine that is too slow for them.
    limits = {"max_queue_age_s": 60} if options.quick else {}
    files = resolve(model, default_models_dir())
    found = [stt_mqtt(model, cores, limits, language)]
    if options.wyoming:
        found.append(wyoming_faster_whisper(options.wyoming, files, cores, language))
    return found


def figures(
    material: Material, rooms: Sequence[OneRoom], crowds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All figures from what the programs did, this service's first."""
    ours, *others = (room.heard for room in rooms)
    peer = others[0] if others else None
    corpora = by_corpus(material.spoken, ours, peer, hearing_figures.words)
    worst = hearing_figures.worst(corpora)
    found: dict[str, Compared | None] = {
        **hearing_figures.figures(material, ours, peer),
        "worst_corpus": None if worst is None else corpora[worst],
        "cpu_rooms": hearing_figures.of_rooms(crowds),
    }
    talk = [*material.spoken, *material.orders]
    return {
        "goals": [
            {**asdict(goal), "found": _plain(row := found[goal.key]), "met": goal.met(row)}
            for goal in GOALS
        ],
        "worst_corpus": worst,
        "corpora": _rows(corpora),
        "exact": _rows(by_corpus(material.spoken, ours, peer, hearing_figures.exact)),
        "noise": _rows(by_corpus(material.noises, ours, peer, hearing_figures.any_text)),
        "noise_with_text": [
            [clip.id for clip in material.noises if room.heard[clip.id].answer.has_words]
            for room in rooms
        ],
        "one_room": [
            {
                "latency_s": spread([room.heard[clip.id].answer for clip in talk]),
                "errors": errors(heard.answer for heard in room.heard.values()),
                "counters": room.counters,
            }
            for room in rooms
        ],
        "rooms": list(crowds),
    }


def other_language(
    options: argparse.Namespace, cores: Cores, material: Material
) -> dict[str, Any] | None:
    """The words of another language with a larger model; None where one of both is missing."""
    if not material.other:
        return None
    try:
        compared = contenders(options, cores, OTHER_MODEL, OTHER_LANGUAGE)
    except ModelError as error:
        bench.say(str(error))
        return None
    rooms = one_room(compared, material.other)
    ours, *others = (room.heard for room in rooms.values())
    words = partial(hearing_figures.words, language=OTHER_LANGUAGE)
    found = hearing_figures.compare(
        material.other, ours, others[0] if others else None, words, is_ratio=True
    )
    return {"model": OTHER_MODEL, "language": OTHER_LANGUAGE, "words": _plain(found)}


def main(options: argparse.Namespace) -> int:
    """Run the benchmark; 1 if an utterance was answered with an error."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
        return 2
    machine = {**bench.machine(), "broker": bench.broker_name()}
    cores = Cores(*bench.two_cores())
    compared = contenders(options, cores, options.model, LANGUAGE)
    with tempfile.TemporaryDirectory() as name, bench.pinned(cores.others):
        material = _material(options, Path(name))
        alone = one_room(compared, material.english)
        _keep(options.heard, alone)
        rooms = list(alone.values())
        crowds = [together(one, material.together) for one in compared]
        other = other_language(options, cores, material)
    data: dict[str, Any] = {
        "benchmark": "hearing",
        "quick": options.quick,
        "machine": machine,
        "versions": wyoming_server.versions(options.wyoming) if options.wyoming else {},
        "model": options.model,
        "threads": THREADS,
        "programs": [one.name for one in compared],
        "turn_clips": TURN_CLIPS,
        "room_count": ROOMS,
        "clips": {
            "spoken": len(material.spoken),
            "orders": len(material.orders),
            "pairs": len(material.pairs),
            "noises": len(material.noises),
            "together": len(material.together),
        },
        **figures(material, rooms, crowds),
        "other_language": other,
    }
    bench.finish("hearing", options, data, hearing_page.markdown(data))
    failed = [row["errors"] for row in (*data["one_room"], *crowds) if row["errors"]]
    if failed:
        bench.say(f"answered with an error: {failed}")
    return 1 if failed else 0


def _material(options: argparse.Namespace, folder: Path) -> Material:
    if options.quick:
        return hearing_material.quick(folder)
    built: Path | None = options.noises
    if built is None:
        bench.say("no --noises: those of the speech data, and those that are made")
        built = folder
        noises.build(built, None)
    return hearing_material.gathered(built, options.clips)


def _keep(file: Path | None, rooms: Mapping[str, OneRoom]) -> None:
    """Write every answer to a file, if one was named; it holds words of the speech data."""
    if file is not None:
        answers = {
            name: {clip_id: asdict(one) for clip_id, one in room.heard.items()}
            for name, room in rooms.items()
        }
        file.write_text(json.dumps(answers, indent=1) + "\n")


def _rows(found: Mapping[str, Compared]) -> dict[str, Any]:
    return {name: asdict(row) for name, row in found.items()}


def _plain(found: Compared | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


if __name__ == "__main__":
    arguments = bench.parser(__doc__)
    arguments.add_argument(
        "--wyoming", metavar="PROGRAM", help="the wyoming-faster-whisper program, to compare with"
    )
    arguments.add_argument(
        "--noises", metavar="FOLDER", type=Path, help="noises that benchmarks.noises has built"
    )
    arguments.add_argument(
        "--model", metavar="NAME", default=MODEL, help="of both programs (default: %(default)s)"
    )
    arguments.add_argument(
        "--clips", metavar="N", type=int, help="of each part only so many, by chance"
    )
    arguments.add_argument(
        "--heard", metavar="FILE", type=Path, help="also write all answers here, with their words"
    )
    sys.exit(main(arguments.parse_args()))
