"""What a worker can do in time: its measured cost, its priority, its share of what waits, and the
jobs that it gives back.

Pure: nothing here has a clock or a connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, log2

from stt_mqtt.audio.buffer import estimated_seconds
from stt_mqtt.fleet.wire import Job
from stt_mqtt.nodes import WorkerStatus
from stt_mqtt.types import normalise_language

MAX_PRIORITY = 9
"""The last priority that NATS knows. 0 is the first."""
FASTEST_COST = 0.0125
"""Workers up to this cost have priority 0. Each doubling of the cost is one more."""
START_AUDIO_S = 10.0
"""For how much speech the cost of the start counts, in seconds."""
KEPT_SHARE = 0.9
"""What is left of the weight of earlier work with each job."""
MAX_DELAY_S = 1.0
"""Longest time until another worker may have a job that this one gives back."""
FRESH_S = 5.0
"""The queue of a gateway without a job for so long does not count: others have its work."""


class CostMeter:
    """Seconds of a thread for a second of speech, as the latest jobs took them."""

    def __init__(self) -> None:
        self.restart(1.0)

    @property
    def cost(self) -> float:
        """The cost, always more than 0."""
        return max(self._work_s / self._audio_s, 1e-6)

    def restart(self, cost: float) -> None:
        """Another model is in use, with this cost as far as is known."""
        self._work_s, self._audio_s = cost * START_AUDIO_S, START_AUDIO_S

    def note(self, work_s: float, audio_s: float) -> None:
        """A job with `audio_s` seconds of audio took a thread `work_s` seconds."""
        self._work_s = self._work_s * KEPT_SHARE + work_s
        self._audio_s = self._audio_s * KEPT_SHARE + audio_s


def priority_of(cost: float) -> int:
    """The priority of the pulls of a worker, from 0 to `MAX_PRIORITY`: a free fast one is first."""
    return min(max(ceil(log2(cost / FASTEST_COST)), 0), MAX_PRIORITY)


class Backlog:
    """The share of one worker in what waits at the gateways, as their jobs tell of it.

    `now`: monotonic seconds.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, float, float]] = {}
        """Utterances, their seconds of audio, and when that was told, by gateway."""

    def note(self, job: Job, now: float) -> None:
        """A job came, with what waits behind it."""
        self._told[job.gateway] = (job.waiting, job.waiting_s, now)

    def share(
        self, own: WorkerStatus, others: Iterable[WorkerStatus], now: float
    ) -> tuple[int, float]:
        """Utterances and seconds of audio that this worker will have to do, by its speed."""
        self._told = {
            gateway: told for gateway, told in self._told.items() if now - told[2] < FRESH_S
        }
        speed = _speed(own)
        total = speed + sum(map(_speed, others))
        part = speed / total if total else 1.0
        waiting = sum(told[0] for told in self._told.values())
        waiting_s = sum(told[1] for told in self._told.values())
        return round(part * waiting), part * waiting_s


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job that another worker should do, at the earliest in `delay_s` seconds, and why."""

    delay_s: float
    reason: str


def refusal(
    job: Job, attempt: int, max_deliver: int, own: WorkerStatus, others: Iterable[WorkerStatus]
) -> Refusal | None:
    """Why a worker should not do a job; None: it should.

    It gives back what it does not understand, as long as the job may be delivered again, and once
    what it cannot do in time, if a live worker among `others` can. `attempt`: how often the job was
    delivered, the first time is 1.
    """
    able = [other for other in others if other.slots and _speaks(other, job)]
    if not _speaks(own, job):
        if able and attempt < max_deliver:
            return Refusal(_delay_s(able, job), "it is in a language that this worker lacks")
        return None
    faster = [other for other in able if _work_s(other, job) <= job.left_s]
    if attempt == 1 and faster and _work_s(own, job) > job.left_s:
        return Refusal(_delay_s(faster, job), "this worker would need too long")
    return None


def _speed(worker: WorkerStatus) -> float:
    """Seconds of speech that a worker does in a second."""
    return worker.threads / worker.cost if worker.slots else 0.0


def _speaks(worker: WorkerStatus, job: Job) -> bool:
    """Whether a worker understands a language of the job. If one of the two is unknown, it does."""
    utterance = job.utterance
    wanted = utterance.languages if utterance.language is None else (utterance.language,)
    if not wanted or not worker.languages:
        return True
    return any(normalise_language(tag) in worker.languages for tag in wanted)


def _work_s(worker: WorkerStatus, job: Job) -> float:
    return worker.cost * _audio_s(job)


def _audio_s(job: Job) -> float:
    return job.utterance.seconds or estimated_seconds(job.utterance.audio)


def _delay_s(able: Iterable[WorkerStatus], job: Job) -> float:
    """The time after which one of these workers may be free: until then, this one must not pull it.

    0 if one of them has a free thread now.
    """
    return min(
        min(0.0 if one.busy < one.threads else _work_s(one, job), MAX_DELAY_S) for one in able
    )
