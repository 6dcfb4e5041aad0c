"""From the queue into the inference threads and back, with every wait bounded.

Runs on the event loop; `now` is monotonic seconds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.queue import FairQueue, QueueLimits
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
from stt_mqtt.types import Batch, DeviceKey, EndReason, Utterance, Verdict

log = logging.getLogger(__name__)

STOOD_STILL_S = 5.0
"""A deadline that is looked at so late shows that the process stood still, or the machine slept."""


class Pool(Protocol):
    """Threads that transcribe.

    Each utterance of a batch is answered once through `Scheduler.delivered`, and then the batch
    once through `Scheduler.batch_finished`.
    """

    def submit(self, batch: Batch) -> None:
        """Have a batch transcribed."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many batches are transcribed at once, and how many utterances each holds at most."""

    workers: int
    max_batch: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a queued utterance. `wait_s`: time in the queue, in seconds.

    `verdict` None: its device took it back.
    """

    utterance: Utterance
    verdict: Verdict | None
    wait_s: float


AnswerSink: TypeAlias = Callable[[Answer], None]


@dataclass(slots=True)
class _Running:
    """A batch until it is finished. `unanswered`: utterances by their index."""

    started_at: float
    unanswered: dict[int, Utterance]
    progress_at: float
    """When it began, or when the last verdict came."""
    stuck: bool = False
    excused: bool = False
    """Whether it has got its time anew, because the process stood still or the machine slept."""

    def deadline(self, timeout_s: float) -> float:
        """When it hangs: each utterance that it owes has so much time."""
        return self.progress_at + timeout_s * max(len(self.unanswered), 1)


class Scheduler:
    """Keeps the inference threads busy and answers every utterance exactly once."""

    def __init__(self, limits: LimitsConfig, answer: AnswerSink) -> None:
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
        """What is put into the queue, for the choice of the rung."""
        self._pool: Pool | None = None
        self._answer = answer
        self._workers = 0
        self.max_batch = 1
        """Most utterances in a batch from the next one on; follows the model that serves."""
        self._last_number = 0
        self._running: dict[int, _Running] = {}

    @property
    def queue(self) -> FairQueue:
        """What waits, to be looked at."""
        return self._queue

    @property
    def drained(self) -> bool:
        """Whether no utterance waits for its turn or its verdict."""
        return self._queue.jobs == 0 and not any(
            running.unanswered for running in self._running.values()
        )

    @property
    def healthy(self) -> bool:
        """Whether no inference thread hangs."""
        return self._stuck == 0

    @property
    def hopeless(self) -> bool:
        """Whether every inference thread hangs, so that nothing will be transcribed any more."""
        return 0 < self._workers <= self._stuck

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        timeouts = [
            running.deadline(self._limits.inference_timeout_s)
            for running in self._running.values()
            if not running.stuck
        ]
        expiry = self._queue.next_expiry
        return min([*timeouts, *([] if expiry is None else [expiry])], default=None)

    def serve(self, pool: Pool, capacity: Capacity, now: float) -> None:
        """Have threads transcribe from now on; until then everything waits."""
        self._pool = pool
        self._workers = capacity.workers
        self.max_batch = capacity.max_batch
        self._start(now)

    def withdraw(self, key: DeviceKey, now: float) -> None:
        """Take back what a device has waiting; what is being transcribed goes on."""
        for utterance in self._queue.withdraw(key):
            self._reply(utterance, None, now - utterance.ended_at)

    def put(self, utterance: Utterance, now: float) -> None:
        """Queue an utterance and start it if a thread is free. An empty one takes no place."""
        if not utterance.audio.data:
            self._reply(utterance, _nothing_came(utterance), 0.0)
            return
        if self._queue.is_expired(utterance, now):
            self._expire(utterance, now)
            return
        self.arrivals.note(now, self._queue.length_s(utterance))
        for refused in self._queue.put(utterance):
            self._refuse_overloaded(refused, now)
        self.tick(now)

    def make_room(self, for_key: DeviceKey, now: float) -> bool:
        """Take audio from the device that hoards most; return whether there was one."""
        evicted = self._queue.evict_from_hog(for_key)
        if evicted is None:
            return False
        self._refuse_overloaded(evicted, now)
        return True

    def delivered(self, batch: int, index: int, verdict: Verdict, now: float) -> None:
        """The verdict on one utterance; ignored after its timeout.

        Its device may have its next one transcribed, also while the batch goes on.
        """
        running = self._running[batch]
        if index in running.unanswered:
            self._finish(running, index, self._unless_too_old(running, index, verdict, now))
            running.progress_at = now
        self.tick(now)

    def batch_finished(self, batch: int, now: float) -> None:
        """A thread is done with a batch and free for another one."""
        del self._running[batch]
        self.tick(now)

    def tick(self, now: float) -> None:
        """Answer what is too old, give up on what takes too long, start what can start."""
        for expired in self._queue.expire(now):
            self._expire(expired, now)
        timeout_s = self._limits.inference_timeout_s
        for running in self._running.values():
            late_s = now - running.deadline(timeout_s)
            if running.stuck or late_s < 0:
                continue
            if late_s > STOOD_STILL_S and not running.excused:
                # Nobody looked in time, so its thread had no time either.
                running.excused = True
                running.progress_at = now
            else:
                running.stuck = True
                log.error(
                    "an inference thread hangs and is given up until it answers (%d of %d now)",
                    self._stuck,
                    self._workers,
                )
                self._finish_all(running, InferenceTimeoutError(f"no answer in {timeout_s:g} s"))
        self._start(now)

    def abandon(self, now: float) -> None:
        """Answer everything that is left `shutting_down`."""
        error = ShuttingDownError("the service stops")
        for utterance in self._queue.clear():
            self._reply(utterance, error, now - utterance.ended_at)
        for running in self._running.values():
            self._finish_all(running, error)

    @property
    def _stuck(self) -> int:
        return sum(running.stuck for running in self._running.values())

    def _start(self, now: float) -> None:
        """Share what is ready among the free threads: none waits for company, none stays idle."""
        if self._pool is None:
            return
        batches: list[tuple[Utterance, ...]] = []
        for free_workers in range(self._workers - len(self._running), 0, -1):
            share = math.ceil(self._queue.ready / free_workers)
            if utterances := self._queue.pop_batch(min(share, self.max_batch)):
                batches.append(utterances)
        nothing_waits = self._queue.jobs == 0
        for utterances in batches:
            self._last_number += 1
            self._running[self._last_number] = _Running(now, dict(enumerate(utterances)), now)
            self._pool.submit(Batch(self._last_number, utterances, nothing_waits, self.max_batch))

    def _unless_too_old(
        self, running: _Running, index: int, verdict: Verdict, now: float
    ) -> Verdict:
        """A verdict, unless its words were spoken before the machine slept."""
        slept = running.excused or now >= running.deadline(self._limits.inference_timeout_s)
        utterance, max_age_s = running.unanswered[index], self._limits.max_age_s
        if not slept or now - utterance.ended_at + utterance.age_s < max_age_s:
            return verdict
        return ExpiredError(
            f"older than {max_age_s:g} s (limits.max_age_s): the machine slept while it was heard"
        )

    def _expire(self, utterance: Utterance, now: float) -> None:
        self._reply(utterance, self._too_old(utterance, now), now - utterance.ended_at)

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

    def _refuse_overloaded(self, utterance: Utterance, now: float) -> None:
        error = OverloadedError("more speech arrives than this machine can transcribe")
        self._reply(utterance, error, now - utterance.ended_at)

    def _finish(self, running: _Running, index: int, verdict: Verdict) -> None:
        utterance = running.unanswered.pop(index)
        self._queue.done(utterance.key)
        self._reply(utterance, verdict, running.started_at - utterance.ended_at)

    def _finish_all(self, running: _Running, error: UtteranceError) -> None:
        for index in list(running.unanswered):
            self._finish(running, index, error)

    def _reply(self, utterance: Utterance, verdict: Verdict | None, wait_s: float) -> None:
        self._answer(Answer(utterance, verdict, max(wait_s, 0.0)))


def _nothing_came(utterance: Utterance) -> UtteranceError:
    """Why there is no audio: whoever is cut off by the end of the service was not too short."""
    if utterance.end is EndReason.SHUTDOWN:
        return ShuttingDownError("the service stops")
    return TooShortError("no audio came")
