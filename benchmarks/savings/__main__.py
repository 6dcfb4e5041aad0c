"""What the design saves: a naive speech server and this one, on the same minutes of a household.

Four rooms and one room in real time, each step alone, the satellite's ear, and a broker that goes
away. `--steps`, `--edge` and `--spool` measure only that and put it into the page that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import bench, speech
from benchmarks.savings import edge, page, spool
from benchmarks.savings.ablation import ablate
from benchmarks.savings.goals import judge
from benchmarks.savings.household import SEED, Room, make_household, samples_folder
from benchmarks.savings.run import measure
from benchmarks.savings.ways import HANGOVER_S, OURS, naive
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.errors import ModelError

NAME = "savings"
MINUTES = 10.0
QUICK_MINUTES = 0.2
QUICK_ROOMS = 2
QUICK_CLIPS = 3
"""Of one room for each step alone: a little more than the caps hold."""
BASE, TINY = "base", "tiny.en"
PARTS = ("runs", "ablation", "edge", "spool")


def main(options: argparse.Namespace) -> int:
    """Measure what was asked for; 2 if something is missing for that, 1 if speech was lost."""
    folder: Path | None = options.results or (None if options.quick else bench.RESULTS)
    data = _begun(options, folder)
    if not options.page:
        missing = _missing(options)
        if missing is not None:
            print(missing, file=sys.stderr)
            return 2
        with tempfile.TemporaryDirectory() as name:
            data |= _measured(options, Path(name))
    data["goals"] = judge(data["runs"])
    if folder is not None:
        _draw(data, folder)
    bench.finish(NAME, options, data, page.markdown(data))
    return 1 if any(row["lost"] or row["acted_late"] for row in data["spool"]) else 0


def _begun(options: argparse.Namespace, folder: Path | None) -> dict[str, Any]:
    """What there is before anything is measured: another run, of which a part is exchanged."""
    is_part = options.steps or options.edge or options.spool or options.page
    file = None if folder is None else folder / f"{NAME}.json"
    if is_part and not options.quick and file is not None and file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    machine = {**bench.machine(), "broker": bench.broker_name()}
    return {
        "benchmark": NAME,
        "quick": options.quick,
        "machine": machine,
        "seed": SEED,
        "hangover_s": HANGOVER_S,
        **{part: [] for part in PARTS},
    }


def _missing(options: argparse.Namespace) -> str | None:
    """What has to be there and is not."""
    if not options.quick and not os.environ.get(speech.VARIABLE):
        return f"set {speech.VARIABLE} to the folder of the speech data"
    if not (options.edge or options.spool):
        if shutil.which("ffmpeg") is None:
            return "FFmpeg is not installed, which the naive server needs (apt install ffmpeg)"
        if not options.quick:
            try:
                resolve(BASE, default_models_dir())
            except ModelError as error:
                return str(error)
    return None


def _measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The parts that are asked for."""
    everything = not (options.steps or options.edge or options.spool)
    measured: dict[str, Any] = {}
    if not options.spool:
        speech_folder = samples_folder(folder) if options.quick else _speech_folder()
        minutes = QUICK_MINUTES if options.quick else options.minutes
        rooms = make_household(speech_folder, minutes)[: QUICK_ROOMS if options.quick else None]
        if everything:
            measured |= _runs(rooms, minutes, options.quick)
    if options.steps or (everything and not options.quick):
        measured["ablation"] = [asdict(step) for step in ablate(folder, rooms)]
    if options.edge or everything:
        clips = speech.samples(folder)[:QUICK_CLIPS] if options.quick else speech.recordings()
        noises = [] if options.quick else speech.noises()
        measured["edge"] = edge.measure(rooms, noises, clips, options.quick)
    if options.spool or (everything and not options.quick):
        measured["spool"] = spool.measure(options.quick)
    return measured


def _runs(rooms: tuple[Room, ...], minutes: float, quick: bool) -> dict[str, Any]:
    """Both ways, with all rooms and with one."""
    # A machine without the large model can still see that the benchmark works.
    base = TINY if quick else BASE
    ways = (naive(base), OURS)
    counts = (len(rooms),) if quick else (len(rooms), 1)
    return {
        "minutes": minutes,
        "rooms": len(rooms),
        "utterances": sum(len(room.spoken) for room in rooms),
        "base": base,
        "runs": [measure(way, rooms[:count], quick) for count in counts for way in ways],
    }


def _speech_folder() -> Path:
    return Path(os.environ[speech.VARIABLE])


def _draw(data: dict[str, Any], folder: Path) -> None:
    try:
        from benchmarks.savings import plots
    except ImportError:
        bench.say("matplotlib is not installed: no plots")
        return
    if data["runs"]:
        plots.draw(data, folder)


if __name__ == "__main__":
    arguments = bench.parser(__doc__)
    arguments.add_argument(
        "--minutes", type=float, default=MINUTES, help="of each room (default: %(default)g)"
    )
    only = arguments.add_mutually_exclusive_group()
    only.add_argument("--steps", action="store_true", help="only each step alone")
    only.add_argument("--edge", action="store_true", help="only the satellite's ear")
    only.add_argument("--spool", action="store_true", help="only the broker that is away")
    only.add_argument("--page", action="store_true", help="only the page, from its JSON")
    sys.exit(main(arguments.parse_args()))
