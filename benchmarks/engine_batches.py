"""What batches save: the engine alone, in a process of its own, in batches of several sizes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bench, speech
from benchmarks.engine_programs import LANGUAGE, Cores
from benchmarks.speech import Clip
from stt_mqtt.audio.gate import find_speech
from stt_mqtt.config import GateConfig
from stt_mqtt.engine.cpu import Parallelism
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.transcriber import Speech
from stt_mqtt.engine.whisper import WhisperTranscriber, load
from stt_mqtt.engine.window import window_s
from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import SAMPLE_RATE, Rung

SIZES = (1, 2, 4, 8, 16)
QUICK_SIZES = (1, 2)
UTTERANCES = 64
"""Those with the shortest windows: a batch is decoded together where windows are equal."""
ROUNDS = 3
TIMEOUT_S = 900.0
CURVES = {
    "cpu_s_per_utterance": ("CPU time", "#c2410c", 7),
    "seconds_per_utterance": ("time on the clock", "#1d4ed8", -15),
}
"""What is drawn: its name, its colour, and how far above its points the numbers stand."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the child measures."""

    model: str
    files: list[str]
    sizes: list[int]
    utterances: int
    rounds: int


def measure(model: str, clips: Sequence[Clip], cores: Cores, quick: bool) -> dict[str, Any]:
    """Seconds per utterance by batch size, from a fresh process on the cores of the programs."""
    bench.say("batches")
    task = Task(
        model,
        [str(clip.file) for clip in clips],
        list(QUICK_SIZES if quick else SIZES),
        UTTERANCES,
        1 if quick else ROUNDS,
    )
    with bench.pinned(cores.program):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.engine_batches"],
            input=json.dumps(asdict(task)),
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def plot(measured: dict[str, Any], model: str, file: Path) -> None:
    """Draw the curve. Raises `ImportError` where matplotlib is not installed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    sizes = [row["size"] for row in measured["sizes"]]
    highest = max(row[key] for row in measured["sizes"] for key in CURVES)
    for key, (label, colour, offset) in CURVES.items():
        values = [row[key] for row in measured["sizes"]]
        axes.plot(sizes, values, "o-", color=colour, label=label)
        for size, value in zip(sizes, values, strict=True):
            axes.annotate(
                f"{value:.3f}", (size, value), (0, offset), textcoords="offset points", ha="center"
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(0, 1.2 * highest)
    axes.margins(x=0.08)
    axes.set_xlabel("utterances decoded together")
    axes.set_ylabel("seconds per utterance")
    axes.set_title(f"{model}, one thread, {measured['utterances']} short utterances")
    axes.grid(alpha=0.25)
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)


def run(task: Task) -> dict[str, Any]:
    """In the child: transcribe all utterances in batches of each size, in several rounds."""
    model = resolve(task.model, default_models_dir())
    rung = Rung("default", model.name, 5, "int8")
    transcriber = load(model, rung, Parallelism(1, 1))
    speeches = shortest(transcriber, task)
    transcriber.transcribe(speeches[: max(task.sizes)])
    took: dict[int, list[tuple[float, float]]] = {size: [] for size in task.sizes}
    for number in range(task.rounds):
        for size in task.sizes:
            took[size].append(_seconds_each(transcriber, speeches, size))
        bench.say(f"batches: round {number + 1} of {task.rounds}")
    windows = [_window_s(transcriber, spoken) for spoken in speeches]
    return {
        "utterances": len(speeches),
        "windows_s": sorted(set(windows)),
        "rounds": task.rounds,
        "sizes": [
            {
                "size": size,
                "seconds_per_utterance": round(statistics.median(wall for wall, _ in rounds), 4),
                "cpu_s_per_utterance": round(statistics.median(cpu for _, cpu in rounds), 4),
            }
            for size, rounds in took.items()
        ],
    }


def shortest(transcriber: WhisperTranscriber, task: Task) -> list[Speech]:
    """The speech of those clips that need the shortest windows, the shortest first."""
    spoken = []
    for file in task.files:
        pcm = np.frombuffer(speech.read_pcm(Path(file)), "<i2")
        samples = pcm.astype(np.float32) / np.float32(32768)
        found = find_speech(samples, GateConfig())
        if found is not None:
            spoken.append(Speech(samples[found.start : found.end], LANGUAGE))
    spoken.sort(key=lambda one: _window_s(transcriber, one))
    return spoken[: task.utterances]


def main() -> None:
    """The child: a task on standard input, what was measured on standard output."""
    json.dump(run(Task(**json.load(sys.stdin))), sys.stdout)


def _seconds_each(
    transcriber: WhisperTranscriber, speeches: Sequence[Speech], size: int
) -> tuple[float, float]:
    """Seconds on the clock and of CPU time, per utterance."""
    clock, cpu = time.perf_counter(), time.process_time()
    for at in range(0, len(speeches), size):
        for answer in transcriber.transcribe(speeches[at : at + size]):
            if isinstance(answer, UtteranceError):
                raise answer
    wall_s, cpu_s = time.perf_counter() - clock, time.process_time() - cpu
    return wall_s / len(speeches), cpu_s / len(speeches)


def _window_s(transcriber: WhisperTranscriber, spoken: Speech) -> int:
    first = transcriber.loaded.calibration.first
    return window_s(first, len(spoken.samples) / SAMPLE_RATE)


if __name__ == "__main__":
    main()
