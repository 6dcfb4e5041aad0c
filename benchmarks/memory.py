"""Resident memory with tiny.en int8 after 200 utterances, and where it goes.

The service hears them over MQTT. Then what each part needs, in fresh processes. How much memory the
peer needs is on the page of `hearing`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from benchmarks import harness, report, speech
from benchmarks.harness import Cores, rss_mb, say
from benchmarks.speech import Clip
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.resources import choose_parallelism, usable_cores
from tools.clients import Hear, NativeClient, answer_of

MODEL = "tiny.en"
UTTERANCES = 200
QUICK_UTTERANCES = 3
ROOMS = 4
"""That speak at once; each has its answer before it speaks again."""
IDLE_S = 26.0
"""The service gives memory back after 20 s of rest."""
START_TIMEOUT_S = 60.0

STEPS = {
    "Python": "",
    "numpy": "import numpy",
    "pydantic, PyYAML, paho-mqtt, webrtcvad": "import pydantic, yaml, paho.mqtt.client, webrtcvad",
    "PyAV": "import av",
    "the service itself": "import stt_mqtt.commands.run",
    "CTranslate2": "import ctranslate2",
    "weights": "w = ctranslate2.models.Whisper(folder, compute_type='int8', intra_threads=2)",
    "tokenizer": "import tokenizers as t; w2 = t.Tokenizer.from_file(folder + '/tokenizer.json')",
}
"""Each in a fresh process, after those before it."""

LOADED = """
import stt_mqtt.commands.run
from stt_mqtt.engine.loading import load_rung
from stt_mqtt.config import GateConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.resources import give_back_freed_memory
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.types import *
rung = Rung('default', 'tiny.en', 5, 'int8')
transcriber = load_rung(rung, Parallelism(1, 2))
listener = Recognizer(transcriber, VoiceDetector.load())
"""
HEARD = """
pipeline = Pipeline(listener, GateConfig(), 30.0, rung.name, transcriber.languages)
for sample in SAMPLES:
    audio = EncodedAudio(AudioFormat(), sample.pcm())
    pipeline.transcribe(Utterance(DeviceKey('a', 'b'), 'c', audio, None, None, None, 0.0))
"""
WORKING = {
    "the model has warmed up": LOADED,
    "nine commands heard": LOADED + HEARD,
    "given back when idle": LOADED + HEARD + "give_back_freed_memory()",
}
REPORT = """
import json
kinds = ('VmRSS', 'RssAnon', 'RssFile')
lines = (line.split() for line in open('/proc/self/status'))
print(json.dumps({line[0][:-1]: int(line[1]) * 1024 for line in lines if line[0][:-1] in kinds}))
"""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The service on two cores and with its defaults; then the parts."""
    idle_s = 0.0 if options.quick else IDLE_S
    settings = {"on two cores": Cores(harness.two_cores().program)}
    if not options.quick:
        settings["on all cores"] = Cores()
    with tempfile.TemporaryDirectory() as folder:
        clips = chosen(options.quick, Path(folder))
        runs = [
            {"setting": name, **of_service(cores, clips, idle_s)}
            for name, cores in settings.items()
        ]
    return {
        "utterances": len(clips),
        "audio_s": round(sum(clip.seconds for clip in clips), 1),
        "idle_s": idle_s,
        "default_parallelism": dataclasses.asdict(choose_parallelism(usable_cores(), None, None)),
        "runs": runs,
        "parts": parts(options.quick),
    }


def chosen(quick: bool, folder: Path) -> list[Clip]:
    """So many clips of the speech data; without it, samples of the demo again and again."""
    recorded = not quick and os.environ.get(speech.VARIABLE)
    clips = speech.recordings() if recorded else speech.samples(folder)
    random.Random(0).shuffle(clips)
    count = QUICK_UTTERANCES if quick else UTTERANCES
    return list(itertools.islice(itertools.cycle(clips), count))


def of_service(cores: Cores, clips: Sequence[Clip], idle_s: float) -> dict[str, Any]:
    """The service, through the broker, with several rooms at once."""
    engine = {"model": MODEL}
    # How much memory words take is measured, not how fast they come.
    limits = {"max_queue_age_s": 60}
    with harness.a_service(cores=cores, engine=engine, limits=limits) as running:
        rooms = [NativeClient(running.broker, f"room-{number}") for number in range(ROOMS)]
        try:
            return watch(running.process, [room.hear for room in rooms], clips, idle_s)
        finally:
            for room in rooms:
                room.close()


def watch(
    process: psutil.Process, rooms: Sequence[Hear], clips: Sequence[Clip], idle_s: float
) -> dict[str, Any]:
    """What a program needs before, while and after it hears the utterances."""
    say(f"{process.name()} hears {len(clips)} utterances")
    started_mb, cpu_s, began = rss_mb(process), harness.cpu_s(process), time.monotonic()

    def live(number: int) -> int:
        answers = [answer_of(rooms[number], clip.pcm) for clip in clips[number :: len(rooms)]]
        return sum(answer.error is None for answer in answers)

    with ThreadPoolExecutor(len(rooms)) as pool:
        answered = sum(pool.map(live, range(len(rooms))))
    seconds, used_s = time.monotonic() - began, harness.cpu_s(process) - cpu_s
    after_mb = rss_mb(process)
    time.sleep(idle_s)
    return {
        "answered": answered,
        "started_mb": started_mb,
        "after_mb": after_mb,
        "peak_mb": max(harness.peak_mb(process), after_mb),
        "idle_mb": rss_mb(process),
        "cpu_s_per_utterance": round(used_s / max(answered, 1), 3),
        "seconds": round(seconds, 1),
    }


def parts(quick: bool) -> list[dict[str, Any]]:
    """Resident memory of fresh processes that go one step further each; with `quick` the last."""
    say("where it goes")
    head = f"folder = {str(resolve(MODEL, default_models_dir()).folder)!r}\n"
    together = itertools.accumulate(STEPS.values(), lambda before, step: f"{before}\n{step}")
    programs = WORKING if quick else dict(zip(STEPS, together, strict=True)) | WORKING

    def sizes(code: str) -> dict[str, int]:
        command = [sys.executable, "-c", head + code + REPORT]
        done = subprocess.run(command, capture_output=True, timeout=START_TIMEOUT_S, check=True)
        found: dict[str, int] = json.loads(done.stdout)
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(sizes, programs.values()))
    before = [{"VmRSS": 0}, *found]
    names = {"rss_mb": "VmRSS", "anonymous_mb": "RssAnon", "files_mb": "RssFile"}
    return [
        {"step": name, "added_mb": round((size["VmRSS"] - last["VmRSS"]) / 1e6, 1)}
        | {key: round(size[kind] / 1e6, 1) for key, kind in names.items()}
        for name, size, last in zip(programs, found, before, strict=False)
    ]


def lost(data: Mapping[str, Any]) -> list[str]:
    """Utterances that were not answered."""
    missing = sum(data["utterances"] - run["answered"] for run in data["runs"])
    return [f"{missing} utterances"] if missing else []


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    sizes = ("started_mb", "after_mb", "peak_mb", "idle_mb")
    keys = ("answered", *sizes, "cpu_s_per_utterance", "seconds")
    runs = [[run["setting"], *(run[key] for key in keys)] for run in data["runs"]]
    header = ["", "answered", "MB at the start", "after", "peak", "idle", "CPU s each", "seconds"]
    columns = ("step", "rss_mb", "added_mb", "anonymous_mb", "files_mb")
    steps = [[part[key] for key in columns] for part in data["parts"]]
    ours = data["default_parallelism"]
    return [
        "# Memory",
        "",
        f"Model {MODEL}, int8, beam 5; {data['utterances']} utterances, {data['audio_s']:.0f} s. "
        f"{ROOMS} rooms speak at once. Idle: {data['idle_s']:g} s after the last answer. The "
        f"defaults here: {ours['workers']} worker(s) with {ours['threads']} thread(s) each.",
        "",
        *report.table(header, runs),
        "",
        "Where it goes: fresh processes, each with all that stands above it (one worker, two "
        "threads).",
        "",
        *report.table(["MB", "resident", "added", "anonymous", "files"], steps),
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("memory", measure, page, lost, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
