"""Passes utterances from the queue to inference threads or a fleet, and returns their answers.

Runs on the event loop; `now` is in monotonic seconds. Every wait is bounded. Every method that can
answer utterances returns the answers, so the state is consistent before an outlet is called.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.outcomes import Answer, Glimpse
from stt_mqtt.core.overflow import Fleet, Overflow, Utterances
from stt_mqtt.core.queue import FairQueue, Name, name_of
from stt_mqtt.core.queue_limits import QueueLimits
from stt_mqtt.core.refusals import answer_after_wait, expired, overloaded, without_audio
from stt_mqtt.core.regulars import Regulars
from stt_mqtt.core.running import Running
from stt_mqtt.core.shares import Shares, Speaking
from stt_mqtt.engine.load_meter import LoadMeter
from stt_mqtt.errors import ExpiredError, InferenceTimeoutError, ShuttingDownError
from stt_mqtt.observe.histogram import Histogram
from stt_mqtt.types import Batch, DeviceKey, Utterance, Verdict

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

    def __init__(
        self, limits: LimitsConfig, is_configured: Callable[[str], bool] = lambda _name: False
    ) -> None:
        self._limits = limits
        self._queue = FairQueue(QueueLimits.of(limits), Regulars(is_configured))
        self.arrivals = LoadMeter()
        """The rate of utterances and audio, for the choice of the rung."""
        self._pool: Pool | None = None
        self.workers = 0
        """Number of inference threads of this process."""
        self.max_batch = 1
        """Most utterances in a batch. `LadderRunner` sets it when it changes the model."""
        self._overflow = Overflow(self._queue)
        self.batches = Histogram(BATCH_SIZES)
        """Utterances in each batch. Glimpses do not count."""
        self._last_number = 0
        self._running: dict[int, Running] = {}
        self.speaking = Speaking()
        self._shares = Shares(self._queue, self.speaking)

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
    def lanes(self) -> int:
        """Batches that can be transcribed at the same time, here and by the fleet."""
        return self.workers + self._overflow.lanes

    @property
    def absence(self) -> str | None:
        """Why nothing can be transcribed, as a sentence. None: something can."""
        if self.lanes:
            return None
        fleet = self._overflow.fleet
        return "the model is still being loaded" if fleet is None else fleet.absence

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
            if not (running.stuck or running.is_remote)
        ]
        timeouts += [running.awaited_until for running in self._running.values() if running.holds]
        others = (self._queue.next_expiry, self._overflow.next_at)
        return min([*timeouts, *(at for at in others if at is not None)], default=None)

    def attach_pool(self, pool: Pool, capacity: Capacity, now: float) -> None:
        """Start to transcribe with these threads. Before that, utterances wait in the queue."""
        self._pool = pool
        self.workers = capacity.workers
        self.max_batch = capacity.max_batch
        self._start(now)

    def attach_fleet(self, fleet: Fleet, promised_wait_s: float) -> None:
        """Let a fleet have what would wait longer than that for a thread. See `resize`."""
        self._overflow.fleet, self._overflow.promised_wait_s = fleet, promised_wait_s

    def resize(self, remote: int, now: float) -> None:
        """The fleet can hold `remote` utterances at the same time from now on."""
        self._overflow.lanes = remote
        self._start(now)

    def withdraw(self, key: DeviceKey, now: float) -> list[Answer]:
        """Remove the queued utterances of a device. One that is being transcribed continues."""
        return [answer_after_wait(utterance, None, now) for utterance in self._queue.withdraw(key)]

    def put(self, utterance: Utterance, now: float, starts: bool = True) -> list[Answer | Glimpse]:
        """Queue an utterance and, if it `starts`, `tick`. An empty one is answered at once."""
        if not utterance.audio.data:
            return [without_audio(utterance)]
        if self._queue.is_expired(utterance, now):
            return [self._expired(utterance, now)]
        if not utterance.glimpsed:
            self._release(utterance.key)
        self.arrivals.note(now, self._queue.length_s(utterance))
        refused = [overloaded(refused, now) for refused in self._queue.put(utterance)]
        return [*refused, *(self.tick(now) if starts else ())]

    def may_glimpse(self, key: DeviceKey) -> bool:
        """Whether a thread is free for an open utterance: nothing final waits for it.

        Of several threads glimpses never take all. The fleet gets none.
        """
        glimpses = sum(running.is_glimpse for running in self._running.values())
        return (
            len(self._own) < self.workers
            and not self._queue.jobs_but(self._held_back())
            and glimpses < max(self.workers - 1, 1)
            and not self._queue.is_busy(key)
            and self._shares.may_take_one(name_of(key), self.workers, _utterances_in(self._own))
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
        return [] if evicted is None else [overloaded(evicted, now)]

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
            if not running.is_remote:
                self._overflow.pace.note(verdict)
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
            if running.stuck or running.is_remote or late_s < 0:
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
            answer_after_wait(utterance, error, now) for utterance in self._queue.clear()
        ]
        for running in self._running.values():
            answers += self._finish_all(running, error)
        return answers

    @property
    def hanging(self) -> int:
        """How many inference threads are stuck."""
        return sum(running.stuck for running in self._running.values())

    def _start(self, now: float) -> None:
        """Share the utterances that are ready equally among the free threads, then the fleet."""
        self._overflow.take_back(self.workers - self.hanging, self._running, now)
        batches: list[Utterances] = []
        for free_workers in range(self.workers - len(self._own), 0, -1):
            but = self._held_back(batches)
            share = math.ceil(self._queue.ready(but) / free_workers)
            if utterances := self._queue.pop_batch(min(share, self.max_batch), but):
                batches.append(utterances)
        running = self._running.values()
        spilled = self._overflow.take(self.workers, running, batches, self._held_back, now)
        may_retry = self._queue.jobs == 0
        for utterances in batches:
            self._submit(utterances, now, may_retry)
        for utterances in spilled:
            self._submit(utterances, now, may_retry, is_remote=True)

    @property
    def _own(self) -> list[Running]:
        """What runs in threads of this process."""
        return [running for running in self._running.values() if not running.is_remote]

    def _held_back(self, batches: Iterable[Utterances] = ()) -> set[Name]:
        """The names that may take no further lane. `batches`: those that are about to run."""
        return self._shares.held_back(
            self.lanes, [*_utterances_in(self._running.values()), *batches]
        )

    def _submit(
        self,
        utterances: Utterances,
        now: float,
        may_retry: bool = True,
        is_glimpse: bool = False,
        is_remote: bool = False,
    ) -> None:
        pool = self._overflow.fleet if is_remote else self._pool
        assert pool is not None
        self._last_number += 1
        if not is_glimpse:
            self.batches.observe(len(utterances))
        is_draft = utterances[0].draft_after is not None
        unanswered = dict(enumerate(utterances))
        self._running[self._last_number] = Running(
            now, unanswered, now, is_glimpse=is_glimpse, released=is_draft, is_remote=is_remote
        )
        pool.submit(Batch(self._last_number, utterances, may_retry, self.max_batch))

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
        return expired(utterance, now, self._limits, self.absence)

    def _finish(self, running: Running, index: int, verdict: Verdict) -> Answer | Glimpse:
        utterance = running.unanswered.pop(index)
        self._queue.answered(utterance.key, verdict, running.released)
        if running.is_glimpse:
            return Glimpse(utterance, verdict)
        return answer_after_wait(utterance, verdict, running.started_at)

    def _finish_all(self, running: Running, verdict: Verdict) -> list[Answer | Glimpse]:
        return [self._finish(running, index, verdict) for index in list(running.unanswered)]


def _utterances_in(running: Iterable[Running]) -> list[Collection[Utterance]]:
    """What is transcribed in each busy lane."""
    return [one.unanswered.values() for one in running]
