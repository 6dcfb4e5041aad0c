"""From the queue into the inference threads and back, with every wait bounded.

Runs on the event loop; `now` is monotonic seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stt_mqtt.config import LimitsConfig
from stt_mqtt.engine.pool import Verdict
from stt_mqtt.engine.queue import FairQueue, QueueLimits
from stt_mqtt.errors import (
    ExpiredError,
    InferenceTimeoutError,
    OverloadedError,
    ShuttingDownError,
)
from stt_mqtt.types import DeviceKey, Utterance

log = logging.getLogger(__name__)


class Pool(Protocol):
    """Threads that transcribe; each job is answered once through `Dispatcher.delivered`."""

    def submit(self, job: int, utterance: Utterance) -> None:
        """Have an utterance transcribed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a queued utterance. `wait_s`: time in the queue, in seconds."""

    utterance: Utterance
    verdict: Verdict
    wait_s: float


AnswerSink: TypeAlias = Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class _Running:
    utterance: Utterance
    started_at: float


class Dispatcher:
    """Keeps the inference threads busy and answers every utterance exactly once."""

    def __init__(self, limits: LimitsConfig, workers: int, pool: Pool, answer: AnswerSink) -> None:
        self._limits = limits
        self._queue = FairQueue(
            QueueLimits(
                limits.max_queued,
                limits.max_queued_audio_s,
                limits.max_queue_age_s,
                limits.max_utterance_s,
            )
        )
        self._pool = pool
        self._answer = answer
        self._workers = workers
        self._free_workers = workers
        self._stuck: set[int] = set()
        self._next_job = 0
        self._running: dict[int, _Running] = {}

    @property
    def queue(self) -> FairQueue:
        """What waits, to be looked at."""
        return self._queue

    @property
    def drained(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return self._queue.jobs == 0 and not self._running

    @property
    def healthy(self) -> bool:
        """Whether no inference thread hangs."""
        return not self._stuck

    @property
    def hopeless(self) -> bool:
        """Whether every inference thread hangs, so that nothing will be transcribed any more."""
        return len(self._stuck) >= self._workers

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        timeouts = [
            running.started_at + self._limits.inference_timeout_s
            for running in self._running.values()
        ]
        expiry = self._queue.next_expiry
        return min([*timeouts, *([] if expiry is None else [expiry])], default=None)

    def put(self, utterance: Utterance, now: float) -> None:
        """Queue an utterance and start it if a thread is free."""
        if self._queue.is_expired(utterance, now):
            self._expire(utterance, now)
            return
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

    def delivered(self, job: int, verdict: Verdict, now: float) -> None:
        """A thread is done with a job; an answer after its timeout only frees the thread."""
        self._free_workers += 1
        self._stuck.discard(job)
        running = self._running.pop(job, None)
        if running is not None:
            self._finish(running, verdict)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Answer what is too old, give up on what takes too long, start what can start."""
        for expired in self._queue.expire(now):
            self._expire(expired, now)
        for job, running in list(self._running.items()):
            if now - running.started_at >= self._limits.inference_timeout_s:
                del self._running[job]
                self._stuck.add(job)
                log.error(
                    "an inference thread hangs and is given up until it answers (%d of %d now)",
                    len(self._stuck),
                    self._workers,
                    extra={"device": str(running.utterance.key), "utterance": running.utterance.id},
                )
                self._finish(
                    running,
                    InferenceTimeoutError(f"no answer in {self._limits.inference_timeout_s:g} s"),
                )
        while self._free_workers > 0 and (utterance := self._queue.pop()) is not None:
            self._free_workers -= 1
            self._next_job += 1
            self._running[self._next_job] = _Running(utterance, now)
            self._pool.submit(self._next_job, utterance)

    def abandon(self, now: float) -> None:
        """Answer everything that is left `shutting_down`."""
        for utterance in self._queue.clear():
            self._reply(utterance, ShuttingDownError("the service stops"), now - utterance.ended_at)
        for job, running in list(self._running.items()):
            del self._running[job]
            self._finish(running, ShuttingDownError("the service stops"))

    def _expire(self, utterance: Utterance, now: float) -> None:
        error = ExpiredError(f"older than {self._limits.max_queue_age_s:g} s before its turn")
        self._reply(utterance, error, now - utterance.ended_at)

    def _refuse_overloaded(self, utterance: Utterance, now: float) -> None:
        error = OverloadedError("more speech arrives than this machine can transcribe")
        self._reply(utterance, error, now - utterance.ended_at)

    def _finish(self, running: _Running, verdict: Verdict) -> None:
        utterance = running.utterance
        self._queue.done(utterance.key)
        self._reply(utterance, verdict, running.started_at - utterance.ended_at)

    def _reply(self, utterance: Utterance, verdict: Verdict, wait_s: float) -> None:
        self._answer(Answer(utterance, verdict, max(wait_s, 0.0)))
