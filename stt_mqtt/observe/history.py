"""The last hour in buckets of one minute: utterances, latency, load and rung. Pure and bounded.

`now` is monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, log

from stt_mqtt.types import Outcome, OutcomeKind

BUCKET_S = 60.0
BUCKETS = 60
"""Buckets that are kept: one hour."""
LATENCY_STEP = 1.05
"""Upper end of a range of latencies against its lower end. A quantile is as exact as that."""
LEAST_LATENCY_S, MOST_LATENCY_S = 0.001, 3600.0
"""Shorter and longer latencies are each in one range."""
ANSWERED = frozenset({OutcomeKind.TRANSCRIPT, OutcomeKind.NO_SPEECH})
"""Outcomes whose latency says how quick the service is. An error may be answered at once."""


class Latencies:
    """All latencies of a time, counted in narrow ranges. It has at most 310 of them."""

    def __init__(self) -> None:
        self._ranges: dict[int, tuple[int, float]] = {}
        """The count and the sum of the latencies of each range, in seconds."""

    def note(self, latency_s: float) -> None:
        """Count a latency."""
        bounded_s = min(max(latency_s, LEAST_LATENCY_S), MOST_LATENCY_S)
        self._add(int(log(bounded_s / LEAST_LATENCY_S, LATENCY_STEP)), 1, latency_s)

    @classmethod
    def of(cls, parts: Iterable[Latencies]) -> Latencies:
        """Those of all parts. Each latency counts the same."""
        whole = cls()
        for part in parts:
            for number, (count, sum_s) in part._ranges.items():
                whole._add(number, count, sum_s)
        return whole

    def quantile(self, share: float) -> float | None:
        """The latency that `share` of all do not exceed: the mean of the range in which it is.

        None: there are no latencies.
        """
        rank = max(ceil(share * sum(count for count, _ in self._ranges.values())), 1)
        for _, (count, sum_s) in sorted(self._ranges.items()):
            rank -= count
            if rank <= 0:
                return sum_s / count
        return None

    def _add(self, number: int, count: int, sum_s: float) -> None:
        counted, summed_s = self._ranges.get(number, (0, 0.0))
        self._ranges[number] = (counted + count, summed_s + sum_s)


@dataclass(slots=True)
class Bucket:
    """One minute. `minute`: its number since the start of the clock."""

    minute: int
    utterances: int = 0
    transcripts: int = 0
    silent: int = 0
    """Utterances in which nobody spoke."""
    aborted: int = 0
    errors: int = 0
    """Utterances that failed, and messages that were refused."""
    latencies: Latencies = field(default_factory=Latencies)
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


class History:
    """Collects outcomes and samples of the load."""

    def __init__(self) -> None:
        self._buckets: deque[Bucket] = deque(maxlen=BUCKETS)

    def outcome(self, outcome: Outcome, now: float) -> None:
        """Count the outcome of an utterance."""
        bucket = self._at(now)
        bucket.utterances += is_utterance(outcome)
        bucket.transcripts += outcome.kind is OutcomeKind.TRANSCRIPT
        bucket.silent += outcome.kind is OutcomeKind.NO_SPEECH
        bucket.aborted += outcome.kind is OutcomeKind.ABORTED
        bucket.errors += outcome.kind is OutcomeKind.ERROR
        if outcome.kind in ANSWERED and outcome.latency_s is not None:
            bucket.latencies.note(outcome.latency_s)

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


def is_utterance(outcome: Outcome) -> bool:
    """Whether it ends an utterance. Of a message that is refused, such as a start, nothing ends."""
    return outcome.error is None or outcome.end is not None


def column(
    buckets: Sequence[Bucket], value: Callable[[Bucket], float | None]
) -> list[float | None]:
    """One value of each bucket, rounded for a plot."""
    values = map(value, buckets)
    return [None if number is None else round(number, 4) for number in values]
