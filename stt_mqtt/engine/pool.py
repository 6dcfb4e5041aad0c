"""The inference threads. They take batches, run the pipeline and hand back what was found."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import Batch, Verdict

log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[Batch], Iterator[tuple[int, Verdict]]]
"""Gives the verdict on each utterance with its index in the batch, as soon as it is known."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Who is told of the batches. Called in an inference thread, must not raise."""

    verdict: Callable[[int, int, Verdict], None]
    """Given the number of the batch, the index in it and the verdict, as soon as it is known."""
    finished: Callable[[int], None]
    """Given the number of the batch, after all its verdicts: its thread is free again."""


@dataclass(slots=True)
class _InUse:
    """A work and the number of batches that run it. `retired` is set when it is replaced."""

    work: Work
    batches: int = 0
    retired: Callable[[], None] | None = None


class InferencePool:
    """A fixed number of daemon threads.

    Whatever the work does: each utterance of a submitted batch gets exactly one verdict, and
    after those the batch is finished, once.
    """

    def __init__(self, work: Work, workers: int, deliver: Delivery) -> None:
        self._current = _InUse(work)
        self._lock = threading.Lock()
        """Guards `_current` and what every `_InUse` counts."""
        self._deliver = deliver
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"inference-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> None:
        """Have a batch transcribed; its number comes back with the verdicts."""
        self._batches.put(batch)

    def replace_work(self, work: Work, retired: Callable[[], None]) -> None:
        """Use another work for each batch that starts from now on.

        `retired` is called once, when no batch uses the replaced work any more: here and now if
        none does, else by the inference thread that ends the last one, which stays out of use
        meanwhile. It speaks for this one work; what several works share needs all of theirs.
        """
        with self._lock:
            replaced, self._current = self._current, _InUse(work)
            replaced.retired = retired
            unused = replaced.batches == 0
        if unused:
            retired()

    def close(self, timeout_s: float) -> bool:
        """End the threads; return whether all ended within the time."""
        for _ in self._threads:
            self._batches.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._transcribe(batch)
            # An idle thread must hold neither audio nor, by a local variable, a replaced model.
            del batch

    def _transcribe(self, batch: Batch) -> None:
        with self._lock:
            used = self._current
            used.batches += 1
        self._judge(used.work, batch)
        self._deliver.finished(batch.number)
        with self._lock:
            used.batches -= 1
            retired = used.retired if used.batches == 0 else None
        if retired is not None:
            retired()

    def _judge(self, work: Work, batch: Batch) -> None:
        unanswered = set(range(len(batch.utterances)))
        reason = "the engine gave no verdict on it, please report this"
        try:
            for index, verdict in work(batch):
                if index in unanswered:
                    unanswered.remove(index)
                    self._deliver.verdict(batch.number, index, verdict)
        # Not only Exception: a panic in a library that is written in Rust is none.
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
            self._deliver.verdict(batch.number, index, InferenceFailedError(reason))
