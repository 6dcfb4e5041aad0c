"""Simulated rooms that send utterances to the engine without a broker.

Each room sends its next utterance when it has its answer. Queue, scheduler, threads and model are
those of the service.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, takewhile
from queue import Empty, SimpleQueue

import numpy as np

from stt_mqtt.config import LimitsConfig
from stt_mqtt.core.outcomes import Answer, Glimpse
from stt_mqtt.core.scheduler import Capacity, Pool, Scheduler
from stt_mqtt.errors import SttMqttError, UtteranceError
from stt_mqtt.observe.process import rss_mb
from stt_mqtt.types import Batch, DeviceKey, InferenceResult, Utterance, Verdict

MAX_ROOMS = 16
PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class SpokenClip:
    """An utterance, its result, and the seconds from its end to the answer."""

    utterance: Utterance
    result: InferenceResult
    latency_s: float


@dataclass(slots=True)
class Level:
    """The results for a number of rooms."""

    rooms: int
    seconds: float = 0.0
    cpu_s: float = 0.0
    batches: int = 0
    latencies_s: list[float] = field(default_factory=list)
    work_s: float = 0.0
    peak_mb: float = 0.0

    @property
    def utterances(self) -> int:
        """Number of answered utterances."""
        return len(self.latencies_s)

    @property
    def per_s(self) -> float:
        """Utterances per second."""
        return self.utterances / self.seconds

    @property
    def cpu_s_each(self) -> float:
        """CPU seconds of the whole process per utterance."""
        return self.cpu_s / self.utterances

    @property
    def work_s_each(self) -> float:
        """Seconds of an inference thread per utterance."""
        return self.work_s / self.utterances

    @property
    def batch_size(self) -> float:
        """Mean number of utterances per batch."""
        return self.utterances / max(self.batches, 1)

    def latency_s(self, percent: float) -> float:
        """The latency that `percent` of the utterances do not exceed."""
        return float(np.percentile(self.latencies_s, percent))


class Events:
    """A queue of the reports of the inference threads."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[int, int, Verdict] | int] = SimpleQueue()

    def verdict(self, batch: int, index: int, verdict: Verdict) -> None:
        """Report a verdict. Called by the inference threads."""
        self._queue.put((batch, index, verdict))

    def finished(self, batch: int) -> None:
        """Report the end of a batch. Called by the inference threads."""
        self._queue.put(batch)

    def next(self, timeout_s: float | None) -> tuple[int, int, Verdict] | int | None:
        """A verdict with batch and index, or the number of a finished batch. None: timeout."""
        try:
            return self._queue.get(timeout=timeout_s)
        except Empty:
            return None


@dataclass(slots=True)
class _Counted:
    """A pool that counts its batches."""

    pool: Pool
    batches: int = 0
    finished: int = 0

    def submit(self, batch: Batch) -> None:
        self.batches += 1
        self.pool.submit(batch)


class SimulatedRooms:
    """Simulated rooms of one engine. `pool` must report to `events`."""

    def __init__(
        self, limits: LimitsConfig, capacity: Capacity, pool: Pool, events: Events
    ) -> None:
        # Rooms wait for each answer, so they cannot flood the queue, and nothing may expire.
        self._limits = limits.model_copy(
            update={
                "max_queued": max(limits.max_queued, MAX_ROOMS),
                "max_queued_audio_s": max(
                    limits.max_queued_audio_s, MAX_ROOMS * limits.max_utterance_s
                ),
                "max_queue_age_s": PATIENCE_S,
            }
        )
        self._capacity = capacity
        self._pool = _Counted(pool)
        self._events = events

    def talk(
        self,
        level: Level,
        seconds: float,
        sayings: Sequence[Utterance],
        tell: Callable[[float], None],
    ) -> None:
        """Run the rooms of `level` for `seconds`, and until there is an answer per room.

        `tell` is called with the elapsed seconds. Raises SttMqttError if an utterance fails.
        """
        started, cpu, batches = time.monotonic(), time.process_time(), self._pool.batches
        talking = takewhile(lambda _: level.seconds == 0, cycle(sayings))
        for spoken in self.converse(level.rooms, talking):
            if level.seconds > 0:
                continue
            level.latencies_s.append(spoken.latency_s)
            level.work_s += spoken.result.work_s or 0.0
            level.peak_mb = max(level.peak_mb, rss_mb())
            elapsed_s = time.monotonic() - started
            tell(elapsed_s)
            if elapsed_s >= seconds and level.utterances >= level.rooms:
                level.seconds = elapsed_s
                level.cpu_s = time.process_time() - cpu
                level.batches = self._pool.batches - batches

    def converse(self, rooms: int, sayings: Iterator[Utterance]) -> Iterator[SpokenClip]:
        """Send all utterances from `rooms` and yield their results until all are answered.

        Raises SttMqttError if an utterance fails.
        """
        answers: list[Answer | Glimpse] = []
        scheduler = Scheduler(self._limits)
        scheduler.attach_pool(self._pool, self._capacity, time.monotonic())

        def speak(key: DeviceKey) -> None:
            if (saying := next(sayings, None)) is not None:
                now = time.monotonic()
                answers.extend(scheduler.put(replace(saying, key=key, ended_at=now), now))

        for room in range(rooms):
            speak(DeviceKey("bench", f"room-{room + 1}"))
        while self._pool.finished < self._pool.batches:
            answers += self._take_event(scheduler)
            while answers:
                answer = answers.pop(0)
                assert isinstance(answer, Answer)
                yield _spoken(answer)
                speak(answer.utterance.key)

    def _take_event(self, scheduler: Scheduler) -> list[Answer | Glimpse]:
        deadline, now = scheduler.deadline, time.monotonic()
        event = self._events.next(None if deadline is None else max(deadline - now, 0.0))
        now = time.monotonic()
        if event is None:
            return scheduler.tick(now)
        if isinstance(event, int):
            self._pool.finished += 1
            return scheduler.finished(event, now)
        return scheduler.verdict(*event, now)


def _spoken(answer: Answer) -> SpokenClip:
    utterance, verdict = answer.utterance, answer.verdict
    if isinstance(verdict, UtteranceError):
        raise SttMqttError(f"{utterance.id}: {verdict.code}: {verdict}") from verdict
    if verdict is None:
        raise SttMqttError(f"{utterance.id} was taken back")
    return SpokenClip(utterance, verdict, time.monotonic() - utterance.ended_at)
