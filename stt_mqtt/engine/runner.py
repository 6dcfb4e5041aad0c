"""The inference threads and their model, which can be exchanged while they work."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.config import Config
from stt_mqtt.engine.loaded import LoadedModel
from stt_mqtt.engine.pipeline import Pipeline
from stt_mqtt.engine.recognizer import Recognizer
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.rungs import Rung
from stt_mqtt.types import Batch, Verdict

if TYPE_CHECKING:
    from stt_mqtt.engine.phrases import CurrentBook

log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[Batch], Iterator[tuple[int, Verdict]]]
"""Yields the index and verdict of each utterance in a batch as soon as it is known."""
OnVerdict: TypeAlias = Callable[[int, int, Verdict], None]
"""Called with the number of the batch, the index in it and the verdict."""
OnFinished: TypeAlias = Callable[[int], None]
"""Called with the number of the batch after all its verdicts. The thread is free again."""


class Engine:
    """Runs batches on the rung in use. Call its methods from one thread only.

    An exchanged model is closed when its last batch has ended. `languages`: codes of the allowed
    languages, for all rungs. `book`: the phrase book; None: there is none.
    """

    def __init__(
        self,
        config: Config,
        rung: Rung,
        transcriber: WhisperTranscriber,
        languages: frozenset[str],
        voice: VoiceDetector,
    ) -> None:
        self._config = config
        self._rung = rung
        self._transcriber = transcriber
        self._languages = languages
        self._voice = voice
        self.book: CurrentBook | None = None
        """The phrase book; None: there is none. Set it before `start`."""
        self.decoders: Decoders = IN_THIS_PROCESS
        """Who decodes the audio. Set it before `start`."""
        self._lock = threading.Lock()
        self._users: Counter[LoadedModel] = Counter({transcriber.loaded: 1})
        """Number of pipelines that may still use a model. Guarded by `_lock`."""

    def start(self, workers: int, verdict: OnVerdict, finished: OnFinished) -> InferencePool:
        """Start the threads. See `InferencePool` for the callbacks."""
        self._pool = InferencePool(self._pipeline().run, workers, verdict, finished)
        return self._pool

    @property
    def rung(self) -> Rung:
        """The rung in use."""
        return self._rung

    @property
    def transcriber(self) -> WhisperTranscriber:
        """The model in use, with the beam of its rung."""
        return self._transcriber

    def reconfigure(self, config: Config) -> None:
        """Apply a new configuration from the next batch on."""
        self._config = config
        self._install(self._rung, self._transcriber)

    def exchange(self, rung: Rung, transcriber: WhisperTranscriber) -> None:
        """Use another rung from the next batch on. Running batches continue."""
        self._install(rung, transcriber)

    def close(self, timeout_s: float) -> bool:
        """Stop the threads and free the model; return whether all threads stopped in time."""
        clean = self._pool.close(timeout_s)
        self._transcriber.close()
        return clean

    def _install(self, rung: Rung, transcriber: WhisperTranscriber) -> None:
        before = self._transcriber.loaded
        with self._lock:
            self._users[transcriber.loaded] += 1
        self._rung, self._transcriber = rung, transcriber
        self._pool.replace_work(self._pipeline().run, partial(self._leave, before))

    def _leave(self, model: LoadedModel) -> None:
        """Release a model. Its last pipeline closes it. May run in an inference thread."""
        with self._lock:
            self._users[model] -= 1
            unused = self._users[model] == 0
            if unused:
                del self._users[model]
        if unused:
            model.close()

    def _pipeline(self) -> Pipeline:
        return Pipeline(
            Recognizer(self._transcriber, self._voice, self.book),
            self._config.gate,
            self._config.limits.max_decoded_s,
            self._rung.name,
            self._languages,
            self.decoders,
        )


@dataclass(slots=True)
class _InUse:
    """A work function and the number of batches that run it. `retired` is set when replaced."""

    work: Work
    batches: int = 0
    retired: Callable[[], None] | None = None


class InferencePool:
    """A fixed number of daemon threads that run batches.

    Each utterance of a submitted batch gets exactly one verdict, whatever the work does. After
    these the batch is reported as finished once. `verdict` and `finished` are called in an
    inference thread and must not raise.
    """

    def __init__(self, work: Work, workers: int, verdict: OnVerdict, finished: OnFinished) -> None:
        self._current = _InUse(work)
        self._lock = threading.Lock()
        """Guards `_current` and the counts of every `_InUse`."""
        self._verdict, self._finished = verdict, finished
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"inference-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> None:
        """Transcribe a batch. Its number is returned with the verdicts."""
        self._batches.put(batch)

    def replace_work(self, work: Work, retired: Callable[[], None]) -> None:
        """Use another work function for all batches that start from now on.

        `retired` is called once, when no batch uses the replaced function any more: at once if none
        does, else in the inference thread that ends the last such batch.
        """
        with self._lock:
            replaced, self._current = self._current, _InUse(work)
            replaced.retired = retired
            unused = replaced.batches == 0
        if unused:
            retired()

    def close(self, timeout_s: float) -> bool:
        """Stop the threads; return whether all stopped in time."""
        for _ in self._threads:
            self._batches.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._transcribe(batch)
            # An idle thread must not keep audio or a replaced model in a local variable.
            del batch

    def _transcribe(self, batch: Batch) -> None:
        with self._lock:
            used = self._current
            used.batches += 1
        self._report_verdicts(used.work, batch)
        self._finished(batch.number)
        with self._lock:
            used.batches -= 1
            retired = used.retired if used.batches == 0 else None
        if retired is not None:
            retired()

    def _report_verdicts(self, work: Work, batch: Batch) -> None:
        unanswered = set(range(len(batch.utterances)))
        reason = "the engine gave no verdict on it, please report this"
        try:
            for index, verdict in work(batch):
                if index in unanswered:
                    unanswered.remove(index)
                    self._verdict(batch.number, index, verdict)
        # Not only Exception: a panic in a Rust library is a BaseException.
        except BaseException as error:
            reason = f"unexpected {type(error).__name__}, see the log"
            log.exception("inference failed unexpectedly, %d without a verdict", len(unanswered))
        for index in sorted(unanswered):
            utterance = batch.utterances[index]
            log.error(
                "inference failed: %s",
                reason,
                extra={"device": str(utterance.key), "utterance": utterance.id},
            )
            self._verdict(batch.number, index, InferenceFailedError(reason))
