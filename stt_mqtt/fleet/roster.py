"""The live workers of a fleet, known from their heartbeats. Pure: `now` in monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stt_mqtt.nodes import WorkerStatus

GONE_AFTER_S = 3.0
"""A worker without a heartbeat for this long is gone. It sends one a second."""
MAX_WORKERS = 1000
"""Most workers that are known. Others are ignored."""


@dataclass(frozen=True, slots=True)
class _Heard:
    status: WorkerStatus
    at: float


class Roster:
    """Remembers the last heartbeat of each live worker."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}
        self._serves_until: float | None = None

    def heard(self, status: WorkerStatus, now: float) -> bool:
        """Take a heartbeat. Return whether something new is in it beside counts and the cost.

        A worker that is `leaving` is gone at once.
        """
        before = self._heard.get(status.worker)
        if before is None and (status.leaving or len(self._heard) >= MAX_WORKERS):
            return False
        if status.threads:
            self._serves_until = now + GONE_AFTER_S
        if status.leaving:
            return self.forget(status.worker)
        self._heard[status.worker] = _Heard(status, now)
        return before is None or _lasting(before.status) != _lasting(status)

    def forget(self, worker: str) -> bool:
        """Forget a worker. Return whether it was known."""
        return self._heard.pop(worker, None) is not None

    def expire(self, now: float) -> list[str]:
        """Forget the workers that are gone, and return their names."""
        gone = [name for name, one in self._heard.items() if now >= one.at + GONE_AFTER_S]
        for name in gone:
            del self._heard[name]
        if self._serves_until is not None and now >= self._serves_until:
            self._serves_until = None
        return gone

    @property
    def serves(self) -> bool:
        """Whether a worker that has threads was heard in the last `GONE_AFTER_S` before `expire`.

        One that leaves ends what it has begun, so it may have results for as long.
        """
        return self._serves_until is not None

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """The live workers, by name."""
        return tuple(self._heard[name].status for name in sorted(self._heard))

    @property
    def slots(self) -> int:
        """Jobs that all live workers can hold at the same time."""
        return sum(one.status.slots for one in self._heard.values())

    @property
    def slowest_cost(self) -> float:
        """Seconds of a thread for a second of speech at the slowest live worker; 0: none lives."""
        return max((one.status.cost for one in self._heard.values()), default=0.0)

    @property
    def deadline(self) -> float | None:
        """When the next worker is gone or none `serves` any more, unless one is heard before."""
        moments = [one.at + GONE_AFTER_S for one in self._heard.values()]
        if self._serves_until is not None:
            moments.append(self._serves_until)
        return min(moments, default=None)


def _lasting(status: WorkerStatus) -> WorkerStatus:
    """What of a heartbeat stays for longer than an utterance."""
    return replace(status, busy=0, cost=0.0, done=0, failed=0)
