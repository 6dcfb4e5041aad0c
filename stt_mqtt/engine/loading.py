"""Which models there are at the start: each rung loaded once and measured, one kept."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass

from stt_mqtt.config import AUTO, Config
from stt_mqtt.engine.cost import largest_batch, measure, memory_mb
from stt_mqtt.engine.cpu import Parallelism, choose_parallelism, usable_cores
from stt_mqtt.engine.ladder import Candidate
from stt_mqtt.engine.memory import free_mb, give_back_freed_memory
from stt_mqtt.engine.models import default_models_dir, resolve
from stt_mqtt.engine.whisper import WhisperTranscriber, load
from stt_mqtt.engine.words import languages_in
from stt_mqtt.errors import ModelError, NotEnoughMemoryError
from stt_mqtt.types import Rung

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedLadder:
    """The ladder, and the rung of it that is loaded."""

    candidates: tuple[Candidate, ...]
    index: int
    transcriber: WhisperTranscriber


def parallelism_of(config: Config) -> Parallelism:
    """Workers and threads for the model under this configuration, on this machine."""
    return choose_parallelism(usable_cores(), config.engine.workers, config.engine.threads)


def preferred_rung(config: Config) -> Rung:
    """The rung that is asked for; with `auto` the best one, for work that nobody waits behind."""
    wanted = config.ladder.rung
    return next((rung for rung in config.rungs if rung.name == wanted), config.rungs[0])


def spoken_languages(config: Config) -> frozenset[str]:
    """Codes of the languages that every rung speaks, from the files of their models alone.

    Rungs whose model is missing do not count, for they are never used; empty: all are missing.
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
    """Load each rung, measure it, and keep the one to begin with.

    Raises `ModelError` where there is none, or where the one that is asked for cannot be used.
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
    return _Probe(rungs, parallelism).start_on(config.ladder.rung)


class _Probe:
    """The rungs as they are loaded one after the other; the model of one at a time in memory."""

    def __init__(self, rungs: tuple[Rung, ...], parallelism: Parallelism) -> None:
        self._rungs = rungs
        self._parallelism = parallelism
        self._loaded: tuple[Rung, WhisperTranscriber] | None = None

    def start_on(self, wanted: str) -> LoadedLadder:
        """Measure all rungs and begin on the one called `wanted`, or on the best with `auto`."""
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
            memory_mb = needed_mb(rung)
            transcriber = self._load(rung)
        except ModelError as error:
            log.warning("rung %s cannot be used: %s", rung.name, error)
            return Candidate(rung, None, str(error))
        cost = measure(transcriber, memory_mb)
        log.info(
            "rung %s: %.3f s per utterance and %.3f s per second of audio",
            rung.name,
            cost.utterance_s,
            cost.per_audio_s,
        )
        return Candidate(rung, cost)

    def _load(self, rung: Rung) -> WhisperTranscriber:
        """The rung's model, in the place of the one before."""
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
    """Where the ladder takes models from while the service runs."""

    parallelism: Parallelism
    max_batch: int

    def load_beside(self, rung: Rung) -> WhisperTranscriber:
        """Load a rung beside the one in use. Raises `ModelError`, also for want of memory."""
        check_memory(rung)
        return load_rung(rung, self.parallelism)

    def largest_batch(self, rung: Rung) -> int:
        """How many utterances the rung may decode together now."""
        return largest_batch(needed_mb(rung), free_mb(), self.parallelism.workers, self.max_batch)


def model_loader(config: Config) -> ModelLoader:
    """Where models come from under this configuration."""
    return ModelLoader(parallelism_of(config), config.engine.max_batch)


def needed_mb(rung: Rung) -> float:
    """Memory that loading a rung may take, in MB. Raises `ModelError`."""
    return memory_mb(resolve(rung.model, default_models_dir()), rung.compute_type)


def shares_model(one: Rung, other: Rung) -> bool:
    """Whether two rungs are the same model in memory."""
    return (one.model, one.compute_type) == (other.model, other.compute_type)


def check_memory(rung: Rung) -> None:
    """Raise `NotEnoughMemoryError` where a rung does not fit beside what is loaded."""
    needed, free = needed_mb(rung), free_mb()
    if needed > free:
        raise NotEnoughMemoryError(
            f"model {rung.model} needs about {needed:.0f} MB and {free:.0f} MB are free"
        )
