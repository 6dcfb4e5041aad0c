"""The last hour in buckets of one minute: utterances, latency, load and rung. Pure and bounded.

`now` is monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

from stt_mqtt.types import Outcome, OutcomeKind

BUCKET_S = 60.0
BUCKETS = 60
"""Buckets that are kept: one hour."""
LATENCIES = 64
"""Latencies that are kept of a minute, the newest ones."""
ANSWERED = frozenset({OutcomeKind.TRANSCRIPT, OutcomeKind.NO_SPEECH})
"""Outcomes whose latency says how quick the service is. An error may be answered at once."""


@dataclass(slots=True)
class Bucket:
    """One minute. `minute`: its number since the start of the clock."""

    minute: int
    transcripts: int = 0
    silent: int = 0
    """Utterances in which nobody spoke, or that were aborted."""
    errors: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    cpu_s: float = 0.0
    cpu_samples: int = 0
    most_jobs: int = 0
    """Most utterances that waited in the queue."""
    rung: str | None = None
    """The last rung of the minute."""

    @property
    def cpu(self) -> float | None:
        """Mean number of cores in use. None: it was not sampled."""
        return self.cpu_s / self.cpu_samples if self.cpu_samples else None


@dataclass(frozen=True, slots=True)
class Latency:
    """The median and the 95th percentile of latencies, in seconds."""

    p50_s: float
    p95_s: float

    @classmethod
    def of(cls, latencies_s: Sequence[float]) -> Latency | None:
        """Those of `latencies_s`. None: there are none."""
        if not latencies_s:
            return None
        ordered = sorted(latencies_s)
        return cls(_quantile(ordered, 0.5), _quantile(ordered, 0.95))


class History:
    """Collects outcomes and samples of the load."""

    def __init__(self) -> None:
        self._buckets: deque[Bucket] = deque(maxlen=BUCKETS)

    def outcome(self, outcome: Outcome, now: float) -> None:
        """Count the outcome of an utterance."""
        bucket = self._at(now)
        if outcome.kind is OutcomeKind.TRANSCRIPT:
            bucket.transcripts += 1
        elif outcome.kind is OutcomeKind.ERROR:
            bucket.errors += 1
        else:
            bucket.silent += 1
        if outcome.kind in ANSWERED and outcome.latency_s is not None:
            bucket.latencies_s.append(outcome.latency_s)

    def sample(self, cpu: float | None, jobs: int, rung: str, now: float) -> None:
        """Note the load: cores in use (None: unknown), waiting utterances, and the active rung."""
        bucket = self._at(now)
        if cpu is not None:
            bucket.cpu_s += cpu
            bucket.cpu_samples += 1
        bucket.most_jobs = max(bucket.most_jobs, jobs)
        bucket.rung = rung

    def minutes(self, now: float) -> list[Bucket]:
        """The last `BUCKETS` minutes, oldest first, those without events included."""
        last = self._minute(now)
        known = {bucket.minute: bucket for bucket in self._buckets}
        return [
            known.get(minute) or Bucket(minute) for minute in range(last - BUCKETS + 1, last + 1)
        ]

    def _at(self, now: float) -> Bucket:
        """The bucket of `now`. Should the clock go back, it is the newest one."""
        minute = self._minute(now)
        if not self._buckets or self._buckets[-1].minute < minute:
            self._buckets.append(Bucket(minute))
        return self._buckets[-1]

    @staticmethod
    def _minute(now: float) -> int:
        return int(now // BUCKET_S)


def column(
    buckets: Sequence[Bucket], value: Callable[[Bucket], float | None]
) -> list[float | None]:
    """One value of each bucket, rounded for a plot."""
    values = map(value, buckets)
    return [None if number is None else round(number, 4) for number in values]


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    return ordered[max(ceil(share * len(ordered)) - 1, 0)]
