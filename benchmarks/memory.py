"""Resident memory with tiny.en int8 after 200 utterances, and how it is divided among the parts.

The service hears them over MQTT. What each part needs is measured in fresh processes. How much
memory wyoming-faster-whisper needs is on the page of `hearing`.
"""

from __future__ import annotations

import argparse
import itertools
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

from benchmarks import harness, report, speech
from benchmarks.harness import Cores, rss_mb, say
from benchmarks.speech import Clip
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.resources import choose_parallelism, usable_cores
from tools.clients import answers_of_rooms

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
from stt_mqtt.engine.resources import Parallelism, give_back_freed_memory
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.rungs import Rung
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
RSS = """
import os
print(int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE'))
"""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The service on two cores and on all, then the parts."""
    idle_s = 0.0 if options.quick else IDLE_S
    settings = {"on two cores": Cores(harness.two_cores().program)}
    if not options.quick:
        settings["on all cores"] = Cores()
    with tempfile.TemporaryDirectory() as folder:
        recorded = not options.quick and os.environ.get(speech.VARIABLE)
        clips = speech.recordings() if recorded else speech.samples(Path(folder))
    random.Random(0).shuffle(clips)
    count = QUICK_UTTERANCES if options.quick else UTTERANCES
    clips = list(itertools.islice(itertools.cycle(clips), count))
    runs = [
        {"setting": name, **of_service(cores, clips, idle_s)} for name, cores in settings.items()
    ]
    parallelism = choose_parallelism(usable_cores(), None, None)
    return {
        "utterances": len(clips),
        "audio_s": round(sum(clip.seconds for clip in clips), 1),
        "idle_s": idle_s,
        "default_parallelism": {"workers": parallelism.workers, "threads": parallelism.threads},
        "runs": runs,
        "parts": parts(options.quick),
    }


def of_service(cores: Cores, clips: Sequence[Clip], idle_s: float) -> dict[str, Any]:
    """Resident MB and CPU time of the service before, while and after it hears the utterances."""
    say(f"the service hears {len(clips)} utterances")
    # How much memory words take is measured, not how fast they come.
    limits = {"max_queue_age_s": 60}
    with harness.a_service(cores=cores, engine={"model": MODEL}, limits=limits) as running:
        process = running.process
        started_mb, cpu_s = rss_mb(process), harness.cpu_s(process)
        answers = answers_of_rooms(running.broker, [clip.pcm for clip in clips], ROOMS)
        used_s = harness.cpu_s(process) - cpu_s
        answered = sum(answer.error is None for answer in answers)
        after_mb = rss_mb(process)
        time.sleep(idle_s)
        return {
            "answered": answered,
            "started_mb": started_mb,
            "after_mb": after_mb,
            "peak_mb": max(harness.peak_mb(process), after_mb),
            "idle_mb": rss_mb(process),
            "cpu_s_per_utterance": round(used_s / max(answered, 1), 3),
        }


def parts(quick: bool) -> list[dict[str, Any]]:
    """Resident MB of fresh processes that go one step further each; with `quick` the last."""
    say("the parts")
    head = f"folder = {str(resolve(MODEL, default_models_dir()).folder)!r}\n"
    together = itertools.accumulate(STEPS.values(), lambda before, step: f"{before}\n{step}")
    programs = WORKING if quick else dict(zip(STEPS, together, strict=True)) | WORKING

    def resident_mb(code: str) -> float:
        command = [sys.executable, "-c", head + code + RSS]
        return int(subprocess.check_output(command, timeout=START_TIMEOUT_S)) / 1e6

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(resident_mb, programs.values()))
    return [
        {"step": name, "rss_mb": round(size, 1), "added_mb": round(size - before, 1)}
        for name, before, size in zip(programs, [0.0, *found], found, strict=False)
    ]


def lost(data: Mapping[str, Any]) -> list[str]:
    """Utterances that were not answered."""
    missing = sum(data["utterances"] - run["answered"] for run in data["runs"])
    return [f"{missing} utterances"] if missing else []


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    keys = ("answered", "started_mb", "after_mb", "peak_mb", "idle_mb", "cpu_s_per_utterance")
    header = ["MB resident", "answered", "at the start", "after", "peak", "idle", "CPU s each"]
    runs = [[run["setting"], *(run[key] for key in keys)] for run in data["runs"]]
    steps = [[part[key] for key in ("step", "rss_mb", "added_mb")] for part in data["parts"]]
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
        "The parts: fresh processes, each with all that stands above it (one worker, two threads).",
        "",
        *report.table(["MB", "resident", "added"], steps),
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("memory", measure, page, lost, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
