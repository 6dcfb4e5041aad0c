"""What waits in the queues of the gateways, as their jobs tell of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from stt_mqtt.fleet.wire import Job
from stt_mqtt.nodes import WorkerStatus

FRESH_S = 5.0
"""A queue without a job for so long does not count: others have its work."""


class Backlog:
    """The share of one worker in what waits at the gateways. `now`: monotonic seconds."""

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


def _speed(worker: WorkerStatus) -> float:
    """Seconds of speech that a worker does in a second."""
    return worker.threads / worker.cost if worker.slots else 0.0
