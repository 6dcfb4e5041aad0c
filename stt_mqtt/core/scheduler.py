"""Passes utterances from the queue to the inference threads, and returns their answers.

Runs on the event loop; `now` is in monotonic seconds. Every wait is bounded. Every method that can
answer utterances returns the answers, so the state is consistent before an outlet is called.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.outcomes import Answer, Glimpse
from stt_mqtt.core.queue import FairQueue, Name, QueueLimits
from stt_mqtt.core.running import Running
from stt_mqtt.core.shares import Speaking, held_back, threads_of
from stt_mqtt.engine.load_meter import LoadMeter
from stt_mqtt.errors import (
    ExpiredError,
    InferenceTimeoutError,
    ModelUnavailableError,
    OverloadedError,
    ShuttingDownError,
    TooShortError,
    UtteranceError,
)
from stt_mqtt.observe.histogram import Histogram
from stt_mqtt.types import Batch, DeviceKey, EndReason, Utterance, Verdict

log = logging.getLogger(__name__)

STOOD_STILL_S = 5.0
"""A deadline that is noticed this late means that the process stood still or the machine slept."""
BATCH_SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
"""Bounds of the histogram of batches. A batch is rarely larger than 8."""


class Pool(Protocol):
    """The inference threads.

    They call `Scheduler.verdict` once for each utterance of a batch, then `Scheduler.finished` once
    for the batch.
    """

    def submit(self, batch: Batch) -> None:
        """Transcribe a batch in a thread."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many batches are transcribed at once, and the most utterances in each."""

    workers: int
    max_batch: int


class Scheduler:
    """Keeps the inference threads busy and answers every queued utterance exactly once."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self._queue = FairQueue(
            QueueLimits(
                limits.max_queued,
                limits.max_queued_audio_s,
                limits.max_queue_age_s,
                limits.max_age_s,
                limits.max_utterance_s,
            )
        )
        self.arrivals = LoadMeter()
        """The rate of utterances and audio, for the choice of the rung."""
        self._pool: Pool | None = None
        self.workers = 0
        """Number of inference threads."""
        self.max_batch = 1
        """Most utterances in a batch. `LadderRunner` sets it when it changes the model."""
        self.batches = Histogram(BATCH_SIZES)
        """Utterances in each batch. Glimpses do not count."""
        self._last_number = 0
        self._running: dict[int, Running] = {}
        self.speaking = Speaking()

    @property
    def queue(self) -> FairQueue:
        """The queue, for reading its figures."""
        return self._queue

    @property
    def drained(self) -> bool:
        """Whether no utterance is queued or being transcribed."""
        return self._queue.jobs == 0 and not any(
            running.unanswered and not running.is_glimpse for running in self._running.values()
        )

    @property
    def healthy(self) -> bool:
        """Whether no inference thread is stuck."""
        return self.hanging == 0

    @property
    def all_stuck(self) -> bool:
        """Whether every inference thread is stuck, so that nothing can be transcribed."""
        return 0 < self.workers <= self.hanging

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next."""
        timeouts = [
            running.deadline(self._limits.inference_timeout_s)
            for running in self._running.values()
            if not running.stuck
        ]
        timeouts += [running.awaited_until for running in self._running.values() if running.holds]
        if (expiry := self._queue.next_expiry) is not None:
            timeouts.append(expiry)
        return min(timeouts, default=None)

    def attach_pool(self, pool: Pool, capacity: Capacity, now: float) -> None:
        """Start to transcribe with these threads. Before that, utterances wait in the queue."""
        self._pool = pool
        self.workers = capacity.workers
        self.max_batch = capacity.max_batch
        self._start(now)

    def withdraw(self, key: DeviceKey, now: float) -> list[Answer]:
        """Remove the queued utterances of a device. One that is being transcribed continues."""
        return [_answer_after_wait(utterance, None, now) for utterance in self._queue.withdraw(key)]

    def put(self, utterance: Utterance, now: float, starts: bool = True) -> list[Answer | Glimpse]:
        """Queue an utterance and, if it `starts`, `tick`. An empty one is answered at once."""
        if not utterance.audio.data:
            return [Answer(utterance, _no_audio_error(utterance), 0.0)]
        if self._queue.is_expired(utterance, now):
            return [self._expired(utterance, now)]
        if not utterance.glimpsed:
            self._release(utterance.key)
        self.arrivals.note(now, self._queue.length_s(utterance))
        refused = [_overloaded(refused, now) for refused in self._queue.put(utterance)]
        return [*refused, *(self.tick(now) if starts else ())]

    def may_glimpse(self, key: DeviceKey) -> bool:
        """Whether a thread is free for an open utterance: nothing final waits for it.

        Of several threads glimpses never take all.
        """
        glimpses = sum(running.is_glimpse for running in self._running.values())
        return (
            self._pool is not None
            and not self._queue.jobs_but(self._held_back())
            and len(self._running) < self.workers
            and glimpses < max(self.workers - 1, 1)
            and not self._queue.is_busy(key)
        )

    def glimpse(self, utterance: Utterance, now: float) -> None:
        """Transcribe an open utterance. It must be allowed by `may_glimpse`.

        Until its verdict the device is busy, so that the final utterance can use what was found.
        Nothing waits for a draft.
        """
        if utterance.draft_after is None:
            self._queue.hold(utterance.key)
        self._submit((utterance,), now, is_glimpse=True)

    def evict(self, name: Name, now: float) -> list[Answer]:
        """Remove the newest queued utterance of a name. Empty: nothing of it is queued."""
        evicted = self._queue.evict(name)
        return [] if evicted is None else [_overloaded(evicted, now)]

    def verdict(
        self, batch: int, index: int, verdict: Verdict, now: float
    ) -> list[Answer | Glimpse]:
        """Take the verdict on one utterance. It is ignored after the timeout.

        The next utterance of the device may then be started, even before the batch is finished.
        A glimpse ends only when its thread is free, so that the next one can be taken.
        """
        running = self._running[batch]
        answers: list[Answer | Glimpse] = []
        if running.is_glimpse:
            running.found = verdict
        elif index in running.unanswered:
            answers.append(
                self._finish(running, index, self._unless_old(running, index, verdict, now))
            )
            running.progress_at = now
        return answers + self.tick(now)

    def finished(self, batch: int, now: float) -> list[Answer | Glimpse]:
        """A thread has finished a batch and is free for another one."""
        running = self._running.pop(batch)
        found = [] if running.found is None else self._finish_all(running, running.found)
        return found + self.tick(now)

    def tick(self, now: float) -> list[Answer | Glimpse]:
        """Answer expired utterances, time out stuck batches, and start new batches."""
        answers: list[Answer | Glimpse] = [
            self._expired(utterance, now) for utterance in self._queue.expire(now)
        ]
        timeout_s = self._limits.inference_timeout_s
        for running in self._running.values():
            if running.holds and now >= running.awaited_until:
                self._let_go(running)
            late_s = now - running.deadline(timeout_s)
            if running.stuck or late_s < 0:
                continue
            if late_s > STOOD_STILL_S and not running.excused:
                # The whole process stood still, so the thread could not work either.
                running.excused = True
                running.progress_at = now
            else:
                running.stuck = True
                log.error(
                    "an inference thread hangs and is given up until it answers (%d of %d now)",
                    self.hanging,
                    self.workers,
                )
                error = InferenceTimeoutError(f"no answer in {timeout_s:g} s")
                answers += self._finish_all(running, error)
        self._start(now)
        return answers

    def abandon(self, now: float) -> list[Answer | Glimpse]:
        """Answer all remaining utterances with `shutting_down`."""
        error = ShuttingDownError("the service stops")
        answers: list[Answer | Glimpse] = [
            _answer_after_wait(utterance, error, now) for utterance in self._queue.clear()
        ]
        for running in self._running.values():
            answers += self._finish_all(running, error)
        return answers

    @property
    def hanging(self) -> int:
        """How many inference threads are stuck."""
        return sum(running.stuck for running in self._running.values())

    def _start(self, now: float) -> None:
        """Share the utterances that are ready equally among the free threads."""
        if self._pool is None:
            return
        batches: list[tuple[Utterance, ...]] = []
        for free_workers in range(self.workers - len(self._running), 0, -1):
            but = self._held_back(batches)
            share = math.ceil(self._queue.ready(but) / free_workers)
            if utterances := self._queue.pop_batch(min(share, self.max_batch), but):
                batches.append(utterances)
        for utterances in batches:
            self._submit(utterances, now, may_retry=self._queue.jobs == 0)

    def _held_back(self, batches: Iterable[tuple[Utterance, ...]] = ()) -> set[Name]:
        """The names that may take no further thread. `batches`: those that are about to run."""
        if self.workers < 2 or self._queue.jobs <= self.workers:
            return set()
        taken = [*(one.unanswered.values() for one in self._running.values()), *batches]
        waiting, speaking = self._queue.waiting, self.speaking.names
        return held_back(self.workers, threads_of(taken), waiting, speaking)

    def _submit(
        self,
        utterances: tuple[Utterance, ...],
        now: float,
        may_retry: bool = True,
        is_glimpse: bool = False,
    ) -> None:
        assert self._pool is not None
        self._last_number += 1
        if not is_glimpse:
            self.batches.observe(len(utterances))
        is_draft = utterances[0].draft_after is not None
        self._running[self._last_number] = Running(
            now, dict(enumerate(utterances)), now, is_glimpse=is_glimpse, released=is_draft
        )
        self._pool.submit(Batch(self._last_number, utterances, may_retry, self.max_batch))

    def _release(self, key: DeviceKey) -> None:
        """Do not wait for a glimpse of a device: the speaker went on after it."""
        for running in self._running.values():
            if running.holds and running.of(key):
                self._let_go(running)

    def _let_go(self, running: Running) -> None:
        """Let the device use another thread before its glimpse ends."""
        running.released = True
        for utterance in running.unanswered.values():
            self._queue.done(utterance.key)

    def _unless_old(self, running: Running, index: int, verdict: Verdict, now: float) -> Verdict:
        """The verdict, or `expired` if the machine slept and the speech is too old now."""
        slept = running.excused or now >= running.deadline(self._limits.inference_timeout_s)
        utterance, max_age_s = running.unanswered[index], self._limits.max_age_s
        if not slept or now - utterance.ended_at + utterance.age_s < max_age_s:
            return verdict
        return ExpiredError(
            f"older than {max_age_s:g} s (limits.max_age_s): the machine slept while it was heard"
        )

    def _expired(self, utterance: Utterance, now: float) -> Answer:
        return _answer_after_wait(utterance, self._too_old(utterance, now), now)

    def _too_old(self, utterance: Utterance, now: float) -> UtteranceError:
        limits, waited_s = self._limits, now - utterance.ended_at
        if waited_s < limits.max_queue_age_s:
            return ExpiredError(
                f"spoken {waited_s + utterance.age_s:.0f} s before its turn, "
                f"at most {limits.max_age_s:g} s are taken (limits.max_age_s)"
            )
        if self._pool is None:
            return ModelUnavailableError("the model is still being loaded")
        return ExpiredError(
            f"no turn within {limits.max_queue_age_s:g} s (limits.max_queue_age_s): "
            "more speech arrives than this machine can transcribe"
        )

    def _finish(self, running: Running, index: int, verdict: Verdict) -> Answer | Glimpse:
        utterance = running.unanswered.pop(index)
        self._queue.answered(utterance.key, verdict, running.released)
        if running.is_glimpse:
            return Glimpse(utterance, verdict)
        return _answer_after_wait(utterance, verdict, running.started_at)

    def _finish_all(self, running: Running, verdict: Verdict) -> list[Answer | Glimpse]:
        return [self._finish(running, index, verdict) for index in list(running.unanswered)]


def _answer_after_wait(utterance: Utterance, verdict: Verdict | None, until: float) -> Answer:
    """The answer to an utterance that was in the queue until `until`."""
    return Answer(utterance, verdict, max(until - utterance.ended_at, 0.0))


def _overloaded(utterance: Utterance, now: float) -> Answer:
    error = OverloadedError("more speech arrives than this machine can transcribe")
    return _answer_after_wait(utterance, error, now)


def _no_audio_error(utterance: Utterance) -> UtteranceError:
    """Why there is no audio: the service stopped, or the device sent none."""
    if utterance.end is EndReason.SHUTDOWN:
        return ShuttingDownError("the service stops")
    return TooShortError("no audio came")
