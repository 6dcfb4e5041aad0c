"""`stt-mqtt calibrate MANIFEST`: finds the calibration of a model on recordings.

`engine/calibration` has the data, `engine/calibration_search` the search.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from stt_mqtt.audio.gate import find_speech
from stt_mqtt.commands.manifest import (
    Clip,
    Scorer,
    positive_int,
    read_audio,
    read_manifest,
    spread,
)
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.commands.screen import open_console
from stt_mqtt.config import GateConfig
from stt_mqtt.engine.calibration import (
    FULL_WINDOW,
    OWN_FILE,
    Calibration,
    Shipped,
    Window,
    as_own,
    save,
    shipped_for,
)
from stt_mqtt.engine.calibration_search import (
    WINDOWS,
    SplitModel,
    Trial,
    calibration,
    choose,
    try_windows,
)
from stt_mqtt.engine.models import WEIGHTS, ResolvedModel, default_models_dir, digest_of, resolve
from stt_mqtt.engine.quality import is_loop
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.transcriber import MAX_SPEECH_S, Hypothesis, Speech
from stt_mqtt.engine.whisper import load_with
from stt_mqtt.errors import ConfigError
from stt_mqtt.observe import logs
from stt_mqtt.types import SAMPLE_RATE

MAX_SAMPLES = round(MAX_SPEECH_S * SAMPLE_RATE)
ONE_THREAD = Parallelism(1, 1)
"""One thread, because threads that wait for each other use CPU time, which is measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)
    parser.add_argument(
        "manifest",
        type=Path,
        metavar="MANIFEST",
        help='recordings, one JSON object per line: {"path": "a.wav", "text": "what is said", '
        '"lang": "en"}; paths are relative to the manifest',
    )
    parser.add_argument(
        "--noise",
        type=Path,
        metavar="MANIFEST",
        help="manifest of recordings in which nobody speaks",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="name or folder of the model (default: the best one of the configuration)",
    )
    parser.add_argument(
        "--limit", type=positive_int, metavar="N", help="use only N recordings of each manifest"
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="save the result beside the model, where the service finds it",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON instead of a table"
    )


def run(options: argparse.Namespace) -> int:
    """Measure and choose. Raises ConfigError, ModelError and MissingExtraError."""
    config = config_source(options).load()
    logs.set_up(config.log)
    logging.getLogger(logs.ROOT).setLevel(logging.WARNING)
    scorer = Scorer()
    clips = spread(read_manifest(options.manifest), options.limit)
    noise = () if options.noise is None else read_manifest(options.noise, spoken=False)
    rung = config.rungs[0]
    rung = replace(rung, model=options.model or rung.model)
    model = resolve(rung.model, default_models_dir())
    # Without an existing calibration.
    transcriber = load_with(None, model, rung, ONE_THREAD)
    subject = Subject(SplitModel.of(transcriber), transcriber.languages, config.gate)
    with _progress() as progress:
        measured = subject.measure(clips, scorer, progress)
        window, _ = choose(measured.trials, measured.languages)
        in_noise = subject.in_noise(spread(noise, options.limit), window, progress)
    chosen = calibration(measured.trials, measured.languages, in_noise)
    known = shipped_for(model)
    if known is not None:
        # The search does not measure it.
        chosen = replace(chosen, takes_names=known.calibration.takes_names)
    if options.json:
        print(as_shipped(model, chosen, measured.described(len(in_noise))))
    else:
        _print(measured, chosen, model)
    if options.save:
        _save(chosen, model)
    elif not options.json:
        print("Nothing was saved. --save saves the result beside the model.")
    return 0


@dataclass(slots=True)
class Measured:
    """The trials of all windows on `clips`, and the clips that were left out."""

    clips: list[Clip] = field(default_factory=list)
    trials: tuple[Trial, ...] = tuple(
        Trial(window, (), cpu_s=0.0, loops=frozenset()) for window in WINDOWS
    )
    left_out: list[str] = field(default_factory=list)

    @property
    def languages(self) -> tuple[str, ...]:
        """The language of each clip."""
        return tuple(clip.language for clip in self.clips)

    def described(self, noise: int) -> str:
        """A description of the recordings."""
        corpora = len({clip.corpus for clip in self.clips if clip.corpus})
        spoken = Counter(self.languages).most_common()
        parts = [f"{len(self.clips)} clip{'' if len(self.clips) == 1 else 's'}"]
        if len(spoken) > 1:
            parts.append(f" ({', '.join(f'{number} {code}' for code, number in spoken)})")
        parts += [f" of {corpora} corpora"] * (corpora > 1)
        parts += [f" and {noise} of noise"] * (noise > 0)
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class Subject:
    """The measured model, with the speech gate of the configuration."""

    model: SplitModel
    languages: frozenset[str]
    gate: GateConfig

    @property
    def language(self) -> str:
        """The language for noise: English, or else one that the model supports."""
        return "en" if "en" in self.languages else min(self.languages)

    def measure(self, clips: Sequence[Clip], scorer: Scorer, progress: Progress) -> Measured:
        """Try every window on every clip. Raises ConfigError if no clip can be used."""
        measured = Measured()
        for clip in _shown(clips, "speech", progress):
            speech = self._speech(clip)
            if isinstance(speech, str):
                measured.left_out.append(f"{clip.where}: {speech}")
                continue
            number = len(measured.clips)
            measured.clips.append(clip)
            found = try_windows(self.model, speech, WINDOWS, time.process_time)
            measured.trials = tuple(
                Trial(
                    trial.window,
                    (*trial.scores, scorer.score(clip, hypothesis.text)),
                    trial.cpu_s + cpu_s,
                    trial.loops | ({number} if is_loop(hypothesis) else set()),
                )
                for trial, (_, hypothesis, cpu_s) in zip(measured.trials, found, strict=True)
            )
        if not measured.clips:
            raise ConfigError(["no recording can be used:", *measured.left_out[:20]])
        return measured

    def in_noise(
        self, noise: Sequence[Clip], window: Window, progress: Progress
    ) -> list[Hypothesis]:
        """The hypotheses of a window on noise that passes the speech gate."""
        hypotheses: list[Hypothesis] = []
        for clip in _shown(noise, "noise", progress):
            samples = read_audio(clip).samples
            span = find_speech(samples, self.gate)
            if span is not None:
                speech = Speech(samples[span.start : span.end][:MAX_SAMPLES], self.language)
                found = try_windows(self.model, speech, [window], time.process_time)
                hypotheses += [hypothesis for _, hypothesis, _ in found]
        return hypotheses

    def _speech(self, clip: Clip) -> Speech | str:
        """The speech of a clip, or why the clip is left out."""
        if clip.language not in self.languages:
            return f"the model does not speak {clip.language}"
        decoded = read_audio(clip)
        span = find_speech(decoded.samples, self.gate)
        if span is None:
            return "the speech gate hears nobody"
        if decoded.truncated or span.end - span.start > MAX_SAMPLES:
            return "longer than a model hears at once"
        return Speech(decoded.samples[span.start : span.end], clip.language)


def as_shipped(model: ResolvedModel, chosen: Calibration, measured: str) -> str:
    """The calibration with the model that it is for, as JSON for `calibrations.json`."""
    weights = model.folder / WEIGHTS
    size = weights.stat().st_size
    entry = Shipped(model.name, size, digest_of(weights), None, measured, chosen)
    return json.dumps(TypeAdapter(Shipped).dump_python(entry), indent=2, ensure_ascii=False)


def table(trials: Sequence[Trial], languages: Sequence[str], chosen: Calibration) -> Table:
    """A table of all windows, the cheapest first. The chosen ones are marked.

    `languages` has the one of each clip; several have a column each.
    """
    several = sorted(set(languages)) if len(set(languages)) > 1 else []
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    shown.add_column("window")
    shown.add_column("tail")
    for name in ("WER %", *several, "exact %", "CPU ms", "loops"):
        shown.add_column(name, justify="right")
    shown.add_column("")
    for trial in sorted(trials, key=lambda trial: trial.cpu_s):
        window = trial.window
        passes = {"first pass": chosen.first, "second pass": chosen.second}
        full = window == FULL_WINDOW
        stride = f", one of {window.tail_stride}" if window.tail_stride > 1 else ""
        shown.add_row(
            "30 s" if full else f"{window.pad_s:g} s behind, {window.min_s:g} s at least",
            "" if full else f"{window.tail_states} states{stride}",
            f"{100 * trial.score.wer:.1f}",
            *(f"{100 * trial.score_in(code, languages).wer:.1f}" for code in several),
            f"{100 * trial.score.exact_share:.1f}",
            f"{trial.cpu_ms_per_clip:.0f}",
            str(len(trial.loops)),
            ", ".join(name for name, taken in passes.items() if taken == window),
            style="bold" if window in passes.values() else None,
        )
    return shown


def _print(measured: Measured, chosen: Calibration, model: ResolvedModel) -> None:
    console = open_console()
    console.print(f"{model.name} on {measured.described(0)}, one thread:\n")
    console.print(table(measured.trials, measured.languages, chosen))
    console.print(f"\nSpeech beyond doubt: no_speech_prob below {chosen.clear_no_speech_prob:g}.")
    if measured.left_out:
        console.print(
            f"{len(measured.left_out)} recordings were left out, the first: {measured.left_out[0]}",
            soft_wrap=True,
        )


def _save(chosen: Calibration, model: ResolvedModel) -> None:
    """Save the calibration. If that fails, print where it belongs."""
    errors = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    try:
        file = save(chosen, model.folder)
    except OSError as error:
        errors.print(
            f"{model.folder / OWN_FILE} cannot be written ({error.strerror}). "
            "Put this into it, or into the same file in a copy of the model:"
        )
        errors.print(as_own(chosen))
    else:
        errors.print(f"Saved: {file}")


def _progress() -> Progress:
    """A progress bar on standard error that does not draw during a measurement."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    )


def _shown(clips: Sequence[Clip], what: str, progress: Progress) -> Iterator[Clip]:
    task = progress.add_task(what, total=len(clips), visible=bool(clips))
    for clip in clips:
        yield clip
        progress.update(task, advance=1, refresh=True)
