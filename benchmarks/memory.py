"""Resident memory with tiny.en int8 after 200 utterances, and where it goes.

The service takes them over MQTT; wyoming-faster-whisper, if `--wyoming` names its program, the
same ones over TCP with the same model. Then what each part needs, in fresh processes.
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bench, speech, wyoming
from benchmarks.speech import Clip
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.resources import choose_parallelism, usable_cores
from tools.program import Peer

MODEL = "tiny.en"
UTTERANCES = 200
QUICK_UTTERANCES = 3
ROOMS = 4
"""Devices that speak in turn; each has its answer before it speaks again."""
IDLE_S = 26.0
"""The service gives memory back after 20 s of rest."""
ANSWER_TIMEOUT_S = 60.0
START_TIMEOUT_S = 60.0

STEPS = {
    "Python": "",
    "numpy": "import numpy",
    "pydantic, PyYAML, paho-mqtt, webrtcvad": "import pydantic, yaml, paho.mqtt.client, webrtcvad",
    "PyAV": "import av",
    "the service itself": "import stt_mqtt.commands.run",
    "CTranslate2": "import ctranslate2",
    "weights": (
        "whisper = ctranslate2.models.Whisper(folder, compute_type='int8', intra_threads=2)"
    ),
    "tokenizer": "import tokenizers; words = tokenizers.Tokenizer.from_file(tokenizer)",
}
"""Each in a fresh process, after those before it."""

LOADED = """
import stt_mqtt.commands.run
from pathlib import Path
from stt_mqtt.config import GateConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.recognizer import Listener
from stt_mqtt.engine.resources import give_back_freed_memory
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.engine.whisper import load
from stt_mqtt.types import *
rung = Rung('default', 'tiny.en', 5, 'int8')
transcriber = load(ResolvedModel('tiny.en', Path(folder)), rung, Parallelism(1, 2))
listener = Listener(transcriber, VoiceDetector.load())
"""
HEARD = """
pipeline = Pipeline(listener, GateConfig(), 30.0, rung.name, transcriber.languages)
for sample in SAMPLES:
    audio = EncodedAudio(AudioFormat(), sample.pcm())
    pipeline.transcribe(Utterance(DeviceKey('a', 'b'), 'c', audio, None, None, None, 0.0))
"""
WORKING = {
    "working memory: the model has warmed up": LOADED,
    "working memory: nine commands heard": LOADED + HEARD,
    "given back when idle": LOADED + HEARD + "give_back_freed_memory()",
}

REPORT = """
import json
kinds = ('VmRSS', 'RssAnon', 'RssFile')
lines = (line.split() for line in open('/proc/self/status'))
print(json.dumps({line[0][:-1]: int(line[1]) * 1024 for line in lines if line[0][:-1] in kinds}))
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run one of the programs. `cores` None: all; `threads` None: its default."""

    name: str
    cores: set[int] | None
    threads: int | None


def speak_mqtt(peer: Peer, room: str, clip: Clip) -> None:
    """One utterance of one device."""
    peer.publish(f"stt/{room}/audio/start", "{}")
    for chunk in clip.chunks:
        peer.publish(f"stt/{room}/audio", chunk)
    peer.publish(f"stt/{room}/audio/stop", json.dumps({"chunks": len(clip.chunks)}))


def of_service(setting: Setting, clips: Sequence[Clip], idle_s: float) -> dict[str, Any]:
    """The service, through the broker."""
    config: dict[str, Any] = {"engine": {"model": MODEL}}
    if setting.threads is not None:
        config["engine"] |= {"workers": 1, "threads": setting.threads}
    with tempfile.TemporaryDirectory() as name, bench.a_broker(Path(name)) as running:
        broker = running.broker
        with (
            bench.a_peer(broker, "stt/+/result", "stt/bridge/state") as peer,
            bench.a_service(Path(name), broker, peer, setting.cores, **config) as process,
        ):

            def answered() -> int:
                return sum(message.topic.endswith("/result") for message in list(peer.messages))

            def speak() -> int:
                for number, clip in enumerate(clips):
                    wanted = number - ROOMS + 1
                    if bench.await_count(answered, wanted, ANSWER_TIMEOUT_S) < wanted:
                        break
                    speak_mqtt(peer, f"room-{number % ROOMS}", clip)
                    _progress(number)
                return bench.await_count(answered, len(clips), ANSWER_TIMEOUT_S)

            return {"program": "stt-mqtt", **_watch(setting, process, speak, idle_s)}


def of_wyoming(
    program: str, setting: Setting, clips: Sequence[Clip], idle_s: float
) -> dict[str, Any]:
    """wyoming-faster-whisper, one utterance after the other: it has a lock around its model."""
    with (
        tempfile.TemporaryDirectory() as name,
        wyoming.a_wyoming(
            Path(name),
            wyoming.Options(
                program,
                resolve(MODEL, default_models_dir()).folder,
                setting.cores,
                setting.threads,
            ),
        ) as (process, port),
    ):

        def speak() -> int:
            for number, clip in enumerate(clips):
                wyoming.speak(port, clip)
                _progress(number)
            return len(clips)

        return {"program": wyoming.NAME, **_watch(setting, process, speak, idle_s)}


def parts() -> list[dict[str, Any]]:
    """Resident memory of fresh processes that go one step further each."""
    bench.say("where it goes")
    folder = resolve(MODEL, default_models_dir()).folder
    head = f"folder = {str(folder)!r}; tokenizer = {str(folder / 'tokenizer.json')!r}\n"
    together = itertools.accumulate(STEPS.values(), lambda before, step: f"{before}\n{step}")
    programs = dict(zip(STEPS, together, strict=True)) | WORKING
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        sizes = list(threads.map(lambda code: _sizes(head + code), programs.values()))
    rows = []
    before = 0
    for name, size in zip(programs, sizes, strict=True):
        rows.append(
            {
                "step": name,
                "rss_mb": bench.mb(size["VmRSS"]),
                "anonymous_mb": bench.mb(size["RssAnon"]),
                "files_mb": bench.mb(size["RssFile"]),
                "added_mb": bench.mb(size["VmRSS"] - before),
            }
        )
        before = size["VmRSS"]
    return rows


def markdown(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    rows = [
        [
            f"{run['program']}, {run['setting']}",
            run["utterances_answered"],
            run["started_mb"],
            run["after_mb"],
            run["peak_mb"],
            run["idle_mb"],
            run["cpu_s_per_utterance"],
            run["seconds"],
        ]
        for run in data["runs"]
    ]
    header = [
        "MB resident",
        "answered",
        "started",
        "after",
        "peak",
        "idle",
        "CPU s each",
        "seconds",
    ]
    steps = [
        [part["step"], part["rss_mb"], part["added_mb"], part["anonymous_mb"], part["files_mb"]]
        for part in data["parts"]
    ]
    return [
        "# Memory",
        "",
        f"Model {MODEL}, int8, beam 5; {data['utterances']} utterances, {data['audio_s']:.0f} s. "
        f"Idle: {data['idle_s']:g} s after the last answer. The defaults of stt-mqtt here: "
        f"{data['default_parallelism']['workers']} worker(s) with "
        f"{data['default_parallelism']['threads']} thread(s) each.",
        "",
        *bench.table(header, rows),
        "",
        "Where it goes: fresh processes, each with all that stands above it (one worker, two "
        "threads).",
        "",
        *bench.table(["MB", "resident", "added", "anonymous", "files"], steps),
        "",
        *(
            []
            if data["wyoming"]
            else ["wyoming-faster-whisper was not measured (`--wyoming`).", ""]
        ),
        bench.describe(data["machine"]),
    ]


def main(options: argparse.Namespace) -> int:
    """Run the benchmark; 1 if an utterance was not answered."""
    idle_s = 0.0 if options.quick else IDLE_S
    machine = {**bench.machine(), "broker": bench.broker_name()}
    two, _ = bench.two_cores()
    settings = [Setting("2 threads on 2 cores", two, 2)]
    if not options.quick:
        settings.append(Setting("its defaults", None, None))
    with tempfile.TemporaryDirectory() as name:
        clips = _clips(options.quick, Path(name))
        runs = [of_service(setting, clips, idle_s) for setting in settings]
        if options.wyoming:
            runs += [of_wyoming(options.wyoming, setting, clips, idle_s) for setting in settings]
        else:
            bench.say("wyoming-faster-whisper is not measured: --wyoming names no program")
    data = {
        "benchmark": "memory",
        "quick": options.quick,
        "machine": machine,
        "utterances": len(clips),
        "audio_s": round(sum(clip.seconds for clip in clips), 1),
        "idle_s": idle_s,
        "default_parallelism": dataclasses.asdict(choose_parallelism(usable_cores(), None, None)),
        "wyoming": bool(options.wyoming),
        "runs": runs,
        "parts": parts(),
    }
    bench.finish("memory", options, data, markdown(data))
    return 0 if all(run["utterances_answered"] == len(clips) for run in runs) else 1


def _watch(
    setting: Setting, process: psutil.Process, speak: Callable[[], int], idle_s: float
) -> dict[str, Any]:
    """What a program needs before, while and after it hears the utterances."""
    bench.say(f"{process.name()} hears the utterances, {setting.name}")
    started = process.memory_info().rss
    cpu, clock = bench.cpu_s(process), time.monotonic()
    answered = speak()
    seconds = time.monotonic() - clock
    used = bench.cpu_s(process) - cpu
    after = process.memory_info().rss
    time.sleep(idle_s)
    return {
        "setting": setting.name,
        "utterances_answered": answered,
        "started_mb": bench.mb(started),
        "after_mb": bench.mb(after),
        "peak_mb": bench.mb(max(bench.peak_bytes(process), after)),
        "idle_mb": bench.mb(process.memory_info().rss),
        "cpu_s_per_utterance": round(used / max(answered, 1), 3),
        "seconds": round(seconds, 1),
    }


def _clips(quick: bool, folder: Path) -> list[Clip]:
    recorded = not quick and os.environ.get(speech.VARIABLE)
    if not recorded:
        bench.say("the samples of the demo are spoken")
    clips = speech.recordings() if recorded else speech.samples(folder)
    random.Random(0).shuffle(clips)
    count = QUICK_UTTERANCES if quick else UTTERANCES
    return list(itertools.islice(itertools.cycle(clips), count))


def _progress(number: int) -> None:
    if (number + 1) % 50 == 0:
        bench.say(f"{number + 1} utterances spoken")


def _sizes(code: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=True,
    )
    sizes: dict[str, int] = json.loads(done.stdout)
    return sizes


if __name__ == "__main__":
    arguments = bench.parser(__doc__)
    arguments.add_argument("--wyoming", help="the wyoming-faster-whisper program, to compare with")
    sys.exit(main(arguments.parse_args()))
