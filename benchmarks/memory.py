"""Resident memory with tiny.en int8: after 200 utterances, with long pieces, and of the parts.

The service hears the utterances over MQTT, the long pieces over MQTT and Wyoming at once. What each
part needs is measured in fresh processes. How much memory wyoming-faster-whisper needs is on the
page of `hearing`.
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
from stt_mqtt.types import SAMPLE_RATE
from tools.brokers import free_port
from tools.clients import answers_of_rooms, ask_wyoming
from tools.program import PATIENT

MODEL = "tiny.en"
UTTERANCES = 200
QUICK_UTTERANCES = 3
ROOMS = 4
"""That speak at once; each has its answer before it speaks again."""
PIECE_S = 28.0
QUICK_PIECE_S = 10.0
PIECES = 12
"""At each of the two doors."""
LONG_ROOMS = 2
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
    "weights": (
        "from pathlib import Path\nfrom stt_mqtt.engine.int8_weights import weights_folder\n"
        "with weights_folder(Path(folder), 'int8') as at:\n"
        "    w = ctranslate2.models.Whisper(str(at), compute_type='int8', intra_threads=2)"
    ),
    "tokenizer": (
        "from stt_mqtt.engine.byte_pairs import BytePairs; pairs = BytePairs.of(Path(folder))"
    ),
}
"""Each in a fresh process, after those before it."""

LOADED = """
import stt_mqtt.commands.run
from stt_mqtt.engine.resources import share_one_heap
share_one_heap()
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
    piece_s = QUICK_PIECE_S if options.quick else PIECE_S
    long = joined(clips, piece_s)
    long = long[:1] if options.quick else list(itertools.islice(itertools.cycle(long), PIECES))
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
        "piece_s": piece_s,
        "pieces": [{"setting": name, **of_pieces(cores, long)} for name, cores in settings.items()],
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


def joined(clips: Sequence[Clip], seconds: float) -> list[bytes]:
    """The speech of all clips, one after the other, in pieces of that length."""
    speech_of_all = b"".join(clip.pcm for clip in clips)
    size = 2 * round(seconds * SAMPLE_RATE)
    speech_of_all *= -(-size // len(speech_of_all))
    return [speech_of_all[at : at + size] for at in range(0, len(speech_of_all) - size + 1, size)]


def of_pieces(cores: Cores, pieces: Sequence[bytes]) -> dict[str, Any]:
    """Resident MB and CPU time of the service while rooms of both doors speak long pieces."""
    say(f"the service hears {len(pieces)} long pieces at both doors")
    port = free_port()
    wyoming = {"enabled": True, "listen": [f"tcp://127.0.0.1:{port}"]}
    with (
        harness.a_service(
            cores=cores, engine={"model": MODEL}, limits=PATIENT, wyoming=wyoming
        ) as running,
        ThreadPoolExecutor(LONG_ROOMS) as pool,
    ):
        process = running.process
        cpu_s = harness.cpu_s(process)
        over_wyoming = [pool.submit(ask_wyoming, port, piece) for piece in pieces]
        answers = answers_of_rooms(running.broker, pieces, LONG_ROOMS)
        heard = [text for one in over_wyoming if (text := one.result().text)]
        answered = sum(answer.error is None for answer in answers) + len(heard)
        return {
            "asked": 2 * len(pieces),
            "answered": answered,
            "after_mb": rss_mb(process),
            "peak_mb": harness.peak_mb(process),
            "cpu_s_per_piece": round((harness.cpu_s(process) - cpu_s) / max(answered, 1), 3),
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
    missing += sum(run["asked"] - run["answered"] for run in data["pieces"])
    return [f"{missing} utterances"] if missing else []


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    keys = ("answered", "started_mb", "after_mb", "peak_mb", "idle_mb", "cpu_s_per_utterance")
    header = ["MB resident", "answered", "at the start", "after", "peak", "idle", "CPU s each"]
    runs = [[run["setting"], *(run[key] for key in keys)] for run in data["runs"]]
    long_keys = ("answered", "after_mb", "peak_mb", "cpu_s_per_piece")
    long_header = ["MB resident", "answered", "after", "peak", "CPU s each"]
    long = [[run["setting"], *(run[key] for key in long_keys)] for run in data["pieces"]]
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
        f"Pieces of {data['piece_s']:g} s, which {LONG_ROOMS} native rooms and {LONG_ROOMS} "
        "Wyoming clients speak at once. Texts without a word count as not answered.",
        "",
        *report.table(long_header, long),
        "",
        "The parts: fresh processes, each with all that stands above it (one worker, two threads).",
        "",
        *report.table(["MB", "resident", "added"], steps),
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("memory", measure, page, lost, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
