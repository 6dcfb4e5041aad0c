"""The doors beside the native one: what silence costs, how they compare, and hostile bytes."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import bench, doors_hostile, doors_silence, doors_wyoming
from benchmarks.speech import VARIABLE
from stt_mqtt.engine.models import default_models_dir, resolve

MODEL = "tiny.en"
SILENCE = doors_silence.Plan(satellites=30, seconds=20.0, rest_s=20.0)
QUICK_SILENCE = doors_silence.Plan(satellites=30, seconds=5.0, rest_s=2.0)
WYOMING = doors_wyoming.Plan(clips=30, turns=3)
QUICK_WYOMING = doors_wyoming.Plan(clips=3, turns=1)
HOSTILE = doors_hostile.Plan(calm_s=10.0, attack_s=6.0, all_s=15.0, rest_s=50.0, one_by_one=True)
QUICK_HOSTILE = doors_hostile.Plan(1.5, 3.0, 3.0, 0.0, one_by_one=False)


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    return [
        "# Doors",
        "",
        "The service runs on two cores, with all its doors open and its defaults otherwise; broker "
        "and clients have the other cores.",
        "",
        *doors_silence.page(data["silence"]),
        *doors_wyoming.page(data["wyoming"]),
        *doors_hostile.page(data["hostile"]),
        f"{bench.describe(data['machine'])} wyoming {data['machine']['wyoming']}. {data['date']}.",
    ]


def main(options: argparse.Namespace) -> int:
    """Run the benchmark; 1 if anything got lost."""
    compares = options.wyoming is not None and options.wyoming_bench is not None
    if compares and VARIABLE not in os.environ:
        print(f"set {VARIABLE} to the folder with the speech data", file=sys.stderr)
        return 2
    machine = {
        **bench.machine(),
        "broker": bench.broker_name(),
        "wyoming": importlib.metadata.version("wyoming"),
    }
    quick = options.quick
    silence = doors_silence.measure(QUICK_SILENCE if quick else SILENCE)
    compared = None
    if compares:
        programs = doors_wyoming.Programs(options.wyoming, options.wyoming_bench)
        model = resolve(MODEL, default_models_dir())
        compared = doors_wyoming.measure(programs, model, QUICK_WYOMING if quick else WYOMING)
    hostile = doors_hostile.measure(QUICK_HOSTILE if quick else HOSTILE)
    data = {
        "benchmark": "doors",
        "quick": quick,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine,
        "silence": silence,
        "wyoming": compared,
        "hostile": hostile,
    }
    bench.finish("doors", options, data, markdown(data))
    good = (
        doors_silence.complete(silence)
        and (compared is None or doors_wyoming.complete(compared))
        and doors_hostile.complete(hostile)
    )
    return 0 if good else 1


if __name__ == "__main__":
    arguments = bench.parser(__doc__)
    arguments.add_argument("--wyoming", metavar="PROGRAM", help="wyoming-faster-whisper's program")
    arguments.add_argument("--wyoming-bench", metavar="PROGRAM", help="wyoming-bench's program")
    sys.exit(main(arguments.parse_args()))
