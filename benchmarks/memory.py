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
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bench, speech
from benchmarks.speech import Clip
from stt_mqtt.engine.cpu import choose_parallelism, usable_cores
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.types import SAMPLE_RATE
from tests.brokers import eventually, free_port
from tests.e2e.program import Peer

MODEL = "tiny.en"
UTTERANCES = 200
QUICK_UTTERANCES = 3
ROOMS = 4
"""Devices that speak in turn; each has its answer before it speaks again."""
CHUNK_BYTES = 32_000
"""One second: the way the audio is cut does not matter here."""
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
    "faster-whisper and what it imports": "import faster_whisper",
    "weights": (
        "whisper = ctranslate2.models.Whisper(folder, compute_type='int8', intra_threads=2)"
    ),
    "tokenizer": "words = faster_whisper.transcribe.tokenizers.Tokenizer.from_file(tokenizer)",
}
"""Each in a fresh process, after those before it."""

LOADED = """
import stt_mqtt.commands.run
from pathlib import Path
from stt_mqtt.config import EngineConfig, GateConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.cpu import Parallelism
from stt_mqtt.engine.memory import give_back_freed_memory
from stt_mqtt.engine.cpu import choose_parallelism, usable_cores
from stt_mqtt.engine.models import ResolvedModel
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.whisper import load
from stt_mqtt.types import *
transcriber = load(ResolvedModel('tiny.en', Path(folder)), EngineConfig(), Parallelism(1, 2))
"""
HEARD = """
pipeline = Pipeline(transcriber, GateConfig(), 30.0)
for sample in SAMPLES:
    audio = EncodedAudio(AudioFormat(), sample.pcm())
    pipeline.run(Utterance(DeviceKey('a', 'b'), 'c', audio, None, None, None, 0.0))
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


@contextmanager
def a_wyoming(program: str, setting: Setting, folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """wyoming-faster-whisper on a free loopback port."""
    port = free_port()
    options = {
        "--uri": f"tcp://127.0.0.1:{port}",
        "--model": resolve(MODEL, default_models_dir()).folder,
        "--data-dir": folder,
        "--stt-library": "faster-whisper",
        "--compute-type": "int8",
        "--beam-size": 5,
        "--language": "en",
    }
    if setting.threads is not None:
        options["--cpu-threads"] = setting.threads
    words = [str(word) for pair in options.items() for word in pair]
    log = folder / "wyoming.log"
    with log.open("wb") as output, bench.pinned(setting.cores):
        process = subprocess.Popen(
            [program, *words],
            stdout=output,
            stderr=output,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        eventually(lambda: _listens(port, process), START_TIMEOUT_S)
        yield psutil.Process(process.pid), port
    except BaseException:
        bench.say(f"the last words of the other: {log.read_text()[-bench.TAIL_CHARACTERS :]}")
        raise
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def speak_wyoming(port: int, clip: Clip) -> str:
    """One connection, one utterance, one transcript, as Home Assistant does it."""
    audio = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S) as sock:
        sock.sendall(_event("transcribe", {"language": "en"}) + _event("audio-start", audio))
        for chunk in _chunks(clip.pcm):
            sock.sendall(_event("audio-chunk", audio, chunk))
        sock.sendall(_event("audio-stop", {}))
        with sock.makefile("rb") as stream:
            while line := stream.readline():
                header = json.loads(line)
                data = stream.read(header.get("data_length") or 0)
                stream.read(header.get("payload_length") or 0)
                if header["type"] == "transcript":
                    fields = {**header.get("data", {}), **json.loads(data or b"{}")}
                    return str(fields["text"])
    raise ConnectionError("wyoming-faster-whisper closed the connection without a transcript")


def speak_mqtt(peer: Peer, room: str, clip: Clip) -> None:
    """One utterance of one device."""
    chunks = _chunks(clip.pcm)
    peer.publish(f"stt/{room}/audio/start", "{}")
    for chunk in chunks:
        peer.publish(f"stt/{room}/audio", chunk)
    peer.publish(f"stt/{room}/audio/stop", json.dumps({"chunks": len(chunks)}))


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
        a_wyoming(program, setting, Path(name)) as (process, port),
    ):

        def speak() -> int:
            for number, clip in enumerate(clips):
                speak_wyoming(port, clip)
                _progress(number)
            return len(clips)

        return {"program": "wyoming-faster-whisper", **_watch(setting, process, speak, idle_s)}


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
                "rss_mb": _mb(size["VmRSS"]),
                "anonymous_mb": _mb(size["RssAnon"]),
                "files_mb": _mb(size["RssFile"]),
                "added_mb": _mb(size["VmRSS"] - before),
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
        "started_mb": _mb(started),
        "after_mb": _mb(after),
        "peak_mb": _mb(max(_peak(process), after)),
        "idle_mb": _mb(process.memory_info().rss),
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


def _peak(process: psutil.Process) -> int:
    """The most memory that was ever resident, as the kernel remembers it (to about a MB)."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "wyoming-faster-whisper ended"
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


def _event(kind: str, data: Mapping[str, object], payload: bytes = b"") -> bytes:
    header: dict[str, object] = {"type": kind, "data": data}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + payload


def _chunks(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]


def _mb(size: int) -> float:
    return round(size / 1e6, 1)


if __name__ == "__main__":
    arguments = bench.parser(__doc__)
    arguments.add_argument("--wyoming", help="the wyoming-faster-whisper program, to compare with")
    sys.exit(main(arguments.parse_args()))
