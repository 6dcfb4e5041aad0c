"""`stt-mqtt bench`: measures speed, memory and accuracy of this configuration."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from stt_mqtt.commands.bench_plot import draw
from stt_mqtt.commands.bench_report import ALL, Report, Setting, rooms_table, words_table
from stt_mqtt.commands.bench_rooms import MAX_ROOMS, Events, Level, SimulatedRooms
from stt_mqtt.commands.manifest import (
    Clip,
    Scorer,
    by_corpus,
    read_audio,
    read_manifest,
    require_scoring,
    spread,
)
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.commands.screen import open_console
from stt_mqtt.config import Config
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.calibration_search import Score
from stt_mqtt.engine.loading import (
    largest_batch,
    load_rung,
    needed_mb,
    parallelism_of,
    preferred_rung,
)
from stt_mqtt.engine.pipeline import MIN_UTTERANCE_S
from stt_mqtt.engine.resources import free_mb, usable_cores
from stt_mqtt.engine.runner import Engine
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.errors import ConfigError, MissingExtraError
from stt_mqtt.observe import logs
from stt_mqtt.observe.process import rss_mb
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    DeviceKey,
    EncodedAudio,
    EndReason,
    Utterance,
)

ROOMS = (1, 4, 8, MAX_ROOMS)
MAX_SECONDS = 3600.0
MAX_SAMPLES = 64
"""Most clips that the simulated rooms use. They are held in memory, which is measured."""
WARM_UP = 4
PICTURE = Path("stt-mqtt-bench.png")
REDRAW_S = 1.0
CLOSE_TIMEOUT_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help='recordings, one JSON object per line: {"path": "a.wav", "text": "what is said"}',
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=20.0,
        metavar="S",
        help="length of the measurement for each number of rooms (default: 20)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        default=PICTURE,
        metavar="FILE",
        help="file for the plot (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure and show. Raises ConfigError, ModelError, MissingExtraError and SttMqttError."""
    config = config_source(options).load()
    logs.set_up(config.log)
    logging.getLogger(logs.ROOT).setLevel(logging.WARNING)
    if not os.access(options.plot.parent, os.W_OK):
        raise ConfigError([f"{options.plot}: the folder is missing or cannot be written"])
    clips: tuple[Clip, ...] = ()
    if options.manifest is not None:
        # Only checked here. It is imported after the memory has been measured.
        require_scoring()
        clips = read_manifest(options.manifest)
    with _progress() as progress:
        report = measure(config, clips, options.seconds, progress)
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    try:
        draw(report, options.plot)
    except MissingExtraError as error:
        print(f"No picture: {error}", file=sys.stderr)
    else:
        print(f"Picture: {options.plot}", file=sys.stderr)
    return 0


def measure(config: Config, clips: Sequence[Clip], seconds: float, progress: Progress) -> Report:
    """Measure all numbers of rooms, and the accuracy on `clips`. Default: the demo samples."""
    rung = preferred_rung(config)
    parallelism = parallelism_of(config)
    transcriber = load_rung(rung, parallelism)
    usable = tuple(clip for clip in clips if clip.language in transcriber.languages)
    sayings = _sayings(usable) if clips else _samples()
    if not sayings:
        raise ConfigError(["no recording of the manifest is in a language that the model speaks"])
    model_mb = needed_mb(rung)
    most = largest_batch(model_mb, free_mb(), parallelism.workers, config.engine.max_batch)
    events = Events()
    engine = Engine(config, rung, transcriber, transcriber.languages, VoiceDetector.load())
    start_mb = rss_mb()
    pool = engine.start(parallelism.workers, events.verdict, events.finished)
    rooms = SimulatedRooms(config.limits, Capacity(parallelism.workers, most), pool, events)
    try:
        levels = _levels(rooms, sayings, seconds, progress)
        words = _words(rooms, usable, progress) if clips else {}
    finally:
        engine.close(CLOSE_TIMEOUT_S)
    return Report(Setting(rung, parallelism, most, usable_cores()), start_mb, levels, words)


def _samples() -> list[Utterance]:
    """The utterances of the demo."""
    return [_utterance(sample.file, sample.pcm(), "en") for sample in SAMPLES]


def _sayings(clips: Sequence[Clip]) -> list[Utterance]:
    """The utterances of a manifest for the simulated rooms."""
    some = spread(tuple(clips), MAX_SAMPLES)
    return [said for clip in some if (said := _said(clip)) is not None]


def _said(clip: Clip) -> Utterance | None:
    """A clip as an utterance. None: it is too short, or it would be cut."""
    decoded = read_audio(clip)
    if decoded.truncated or len(decoded.samples) < MIN_UTTERANCE_S * SAMPLE_RATE:
        return None
    pcm = np.rint(np.clip(decoded.samples, -1, 1) * 32767).astype("<i2").tobytes()
    return _utterance(clip.where, pcm, clip.language)


def _utterance(name: str, pcm: bytes, language: str) -> Utterance:
    return Utterance(
        key=DeviceKey("bench", "nobody"),
        id=name,
        audio=EncodedAudio(AudioFormat(), pcm),
        language=language,
        prompt=None,
        end=EndReason.STOP,
        ended_at=0.0,
        seconds=len(pcm) / 2 / SAMPLE_RATE,
    )


def _levels(
    rooms: SimulatedRooms, sayings: Sequence[Utterance], seconds: float, progress: Progress
) -> list[Level]:
    """Measure each number of rooms, after a few utterances that do not count."""
    for _ in rooms.converse(1, iter(sayings[:WARM_UP])):
        pass
    bar = Bar(progress, "rooms", len(ROOMS) * seconds)
    levels = [Level(count) for count in ROOMS]
    for number, level in enumerate(levels):
        bar.name = f"{level.rooms} room{'s' if level.rooms > 1 else ''}"
        bar.begins_at = number * seconds
        rooms.talk(level, seconds, sayings, bar.show)
    return levels


def _words(rooms: SimulatedRooms, clips: Sequence[Clip], progress: Progress) -> dict[str, Score]:
    """The scores of all clips, per corpus and in total."""
    scorer = Scorer()
    named = {clip.where: clip for clip in clips}
    bar = Bar(progress, "words", len(clips))
    scores: list[tuple[Clip, Score]] = []
    sayings = (said for clip in clips if (said := _said(clip)) is not None)
    for spoken in rooms.converse(1, sayings):
        clip, transcript = named[spoken.utterance.id], spoken.result.transcript
        text = "" if transcript is None else transcript.text
        scores.append((clip, scorer.score(clip, text)))
        bar.show(len(scores))
    corpora = by_corpus(scores)
    everything = {ALL: sum(corpora.values(), Score())}
    return {**corpora, **everything} if len(corpora) > 1 else everything


class Bar:
    """A progress bar that draws at most once a second, because drawing affects the measurement."""

    def __init__(self, progress: Progress, name: str, total: float) -> None:
        self.name = name
        self.begins_at = 0.0
        self._progress = progress
        self._task = progress.add_task(name, total=total)
        self._drawn_at = 0.0

    def show(self, done: float) -> None:
        """Show the progress since `begins_at`."""
        now = time.monotonic()
        if now - self._drawn_at >= REDRAW_S:
            self._drawn_at = now
            done += self.begins_at
            self._progress.update(self._task, description=self.name, completed=done, refresh=True)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    )


def _print(report: Report) -> None:
    console = open_console()
    console.print(f"{report.setting}\n")
    console.print(rooms_table(report.levels))
    memory = f"{report.start_mb:.0f} MB with the model loaded, {report.peak_mb:.0f} MB at most"
    console.print(f"\nMemory: {memory}.")
    if report.words:
        console.print()
        console.print(words_table(report.words))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {MAX_SECONDS:g}")
    return seconds
