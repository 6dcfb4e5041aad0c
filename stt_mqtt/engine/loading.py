"""Loads models. At the start each rung is loaded and measured once, and one is kept.

The cost of a rung on this machine is measured with artificial speech. The memory of a model is
estimated from the size of its weights.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from stt_mqtt.config import AUTO, Config
from stt_mqtt.engine.ladder import Candidate, RungCost, shares_model
from stt_mqtt.engine.models import WEIGHTS, ResolvedModel, default_models_dir, resolve
from stt_mqtt.engine.resources import (
    Parallelism,
    choose_parallelism,
    free_mb,
    give_back_freed_memory,
    usable_cores,
)
from stt_mqtt.engine.tokenizer import languages_in
from stt_mqtt.engine.whisper import WhisperTranscriber, load
from stt_mqtt.errors import ModelError, NotEnoughMemoryError
from stt_mqtt.rungs import Rung

log = logging.getLogger(__name__)

SHORT_S, LONG_S = 1.0, 8.0
"""Lengths of the speech for the measurement. The window grows between them."""
REHEARSALS = 3
WORKING_MB = 60
"""Memory of a model beside its weights during inference."""
BATCH_SHARE = 0.1
"""Memory of one more utterance in a batch, as a share of the model (tiny.en: 10 MB)."""
UNLIMITED_MB = 1e6


@dataclass(frozen=True, slots=True)
class LoadedLadder:
    """The rungs with their costs, and the index and model of the one that is loaded."""

    candidates: tuple[Candidate, ...]
    index: int
    transcriber: WhisperTranscriber


def parallelism_of(config: Config) -> Parallelism:
    """Workers and threads for this configuration on this machine."""
    return choose_parallelism(usable_cores(), config.engine.workers, config.engine.threads)


def preferred_rung(config: Config) -> Rung:
    """The configured rung, or the best one with `auto`. For work without a queue."""
    wanted = config.ladder.rung
    return next((rung for rung in config.rungs if rung.name == wanted), config.rungs[0])


def supported_languages(config: Config) -> frozenset[str]:
    """Codes of the languages that every rung supports, read from the files of the models.

    A rung whose model is missing does not count. Empty: all are missing.
    """
    spoken: list[frozenset[str]] = []
    for rung in config.rungs:
        with suppress(ModelError):
            spoken.append(languages_in(resolve(rung.model, default_models_dir()).folder))
    return frozenset.intersection(*spoken) if spoken else frozenset()


def load_rung(rung: Rung, parallelism: Parallelism) -> WhisperTranscriber:
    """Find, check, load and warm up the model of a rung. Raises `ModelError`."""
    model = resolve(rung.model, default_models_dir())
    log.info("loading model %s", model.name)
    transcriber = load(model, rung, parallelism)
    give_back_freed_memory()
    log.info(
        "model %s is ready: %d worker(s), %d thread(s) each",
        transcriber.model,
        parallelism.workers,
        parallelism.threads,
    )
    if not transcriber.loaded.is_calibrated:
        log.warning(
            "model %s is not calibrated, so every utterance is padded to 30 s; "
            "stt-mqtt calibrate measures how to make it several times faster",
            transcriber.model,
        )
    return transcriber


def load_ladder(config: Config) -> LoadedLadder:
    """Load and measure each rung, and keep the one to start with.

    Raises `ModelError` if no rung or not the configured one can be used.
    """
    parallelism = parallelism_of(config)
    if parallelism.oversubscribes(usable_cores()):
        log.warning(
            "engine.workers %d x engine.threads %d is more than the cores of this process",
            parallelism.workers,
            parallelism.threads,
        )
    rungs = config.rungs
    if len(rungs) == 1:
        transcriber = load_rung(rungs[0], parallelism)
        return LoadedLadder((Candidate(rungs[0], None),), 0, transcriber)
    return _Probe(rungs, parallelism).run(config.ladder.rung)


class _Probe:
    """Loads and measures the rungs one by one, with one model in memory at a time."""

    def __init__(self, rungs: tuple[Rung, ...], parallelism: Parallelism) -> None:
        self._rungs = rungs
        self._parallelism = parallelism
        self._loaded: tuple[Rung, WhisperTranscriber] | None = None

    def run(self, wanted: str) -> LoadedLadder:
        """Measure all rungs and keep the one called `wanted`, or the best one with `auto`."""
        order = list(reversed(range(len(self._rungs))))
        if wanted != AUTO:
            order.sort(key=lambda index: self._rungs[index].name == wanted)
        found = {index: self._measured(self._rungs[index]) for index in order}
        candidates = tuple(found[index] for index in range(len(self._rungs)))
        asked = [n for n, one in enumerate(candidates) if wanted in (AUTO, one.name)]
        usable = [index for index in asked if candidates[index].cost is not None]
        if not usable:
            failed = "no rung of the ladder can" if wanted == AUTO else "ladder.rung cannot"
            why = "; ".join(f"{candidates[n].name}: {candidates[n].reason}" for n in asked)
            raise ModelError(f"{failed} be used: {why}")
        transcriber = self._load(self._rungs[usable[0]])
        return LoadedLadder(candidates, usable[0], transcriber)

    def _measured(self, rung: Rung) -> Candidate:
        try:
            mb = needed_mb(rung)
            transcriber = self._load(rung)
        except ModelError as error:
            log.warning("rung %s cannot be used: %s", rung.name, error)
            return Candidate(rung, None, str(error))
        cost = measure(transcriber, mb)
        log.info(
            "rung %s: %.3f s per utterance and %.3f s per second of audio",
            rung.name,
            cost.utterance_s,
            cost.per_audio_s,
        )
        return Candidate(rung, cost)

    def _load(self, rung: Rung) -> WhisperTranscriber:
        """Load the model of a rung in place of the previous one."""
        if self._loaded is not None:
            before, transcriber = self._loaded
            if shares_model(before, rung):
                return transcriber.with_beam(rung.beam_size)
            self._loaded = None
            transcriber.close()
        check_memory(rung)
        transcriber = load_rung(rung, self._parallelism)
        self._loaded = rung, transcriber
        return transcriber


@dataclass(frozen=True, slots=True)
class ModelLoader:
    """Loads models while the service runs."""

    parallelism: Parallelism
    max_batch: int

    def load_beside(self, rung: Rung) -> WhisperTranscriber:
        """Load a rung beside the one in use. Raises `ModelError`, also if memory is short."""
        check_memory(rung)
        return load_rung(rung, self.parallelism)

    def largest_batch(self, rung: Rung) -> int:
        """How many utterances the rung may decode together, given the free memory."""
        return largest_batch(needed_mb(rung), free_mb(), self.parallelism.workers, self.max_batch)


def model_loader(config: Config) -> ModelLoader:
    """The loader for this configuration."""
    return ModelLoader(parallelism_of(config), config.engine.max_batch)


def needed_mb(rung: Rung) -> float:
    """Most memory for loading a rung, in MB. Raises `ModelError`."""
    return memory_mb(resolve(rung.model, default_models_dir()), rung.compute_type)


def check_memory(rung: Rung) -> None:
    """Raise `NotEnoughMemoryError` if a rung does not fit into the free memory."""
    needed, free = needed_mb(rung), free_mb()
    if needed > free:
        raise NotEnoughMemoryError(
            f"model {rung.model} needs about {needed:.0f} MB and {free:.0f} MB are free"
        )


def memory_mb(model: ResolvedModel, compute_type: str) -> float:
    """Most memory for loading the model, in MB.

    The weights on disk have 16 bits, so int8 needs half of their size and float32 twice their size.
    While a model loads, both are in memory.
    """
    weights_mb = (model.folder / WEIGHTS).stat().st_size / 1e6
    return weights_mb * (3 if compute_type == "float32" else 1.5) + WORKING_MB


def largest_batch(memory_mb: float, free_mb: float, workers: int, most: int) -> int:
    """How many utterances may be decoded together, from 1 to `most`.

    `memory_mb` is that of the model. All batches together get half of the free memory.
    """
    each_mb = memory_mb * BATCH_SHARE
    room_mb = min(free_mb, UNLIMITED_MB) / 2
    return min(max(int(room_mb / (workers * each_mb)), 1), most)


def measure(transcriber: WhisperTranscriber, memory_mb: float) -> RungCost:
    """Measure the cost with a short and a long utterance.

    The quickest of several runs counts, because other programs may use the cores.
    """
    short_s, long_s = (
        min(timed(transcriber, speech_s) for _ in range(REHEARSALS))
        for speech_s in (SHORT_S, LONG_S)
    )
    per_audio_s = max((long_s - short_s) / (LONG_S - SHORT_S), 0.0)
    return RungCost(max(short_s - per_audio_s * SHORT_S, 0.0), per_audio_s, memory_mb)


def timed(transcriber: WhisperTranscriber, speech_s: float) -> float:
    """Seconds of work for artificial speech of `speech_s` seconds, now."""
    started = time.perf_counter()
    transcriber.rehearse(speech_s)
    return time.perf_counter() - started
