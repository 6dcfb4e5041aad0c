"""The processes of a fleet, as they tell of themselves. Immutable values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a process of a fleet does."""

    GATEWAY = "gateway"
    """It has the doors, devices and outcomes, and no model."""
    WORKER = "worker"
    """It has the model, and no doors."""
    BOTH = "both"
    """A gateway that also transcribes; the fleet does what it cannot do in time."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker tells of itself about once a second.

    `threads`: utterances that it transcribes at the same time; 0: the model is being loaded.
    `max_batch`: most utterances that a thread transcribes together. `busy`: threads at work.
    `cost`: seconds of a thread for a second of speech, with the model in use. `languages`: codes of
    the languages that it understands. `done`, `failed`: jobs since its start. `leaving`: it takes
    no more jobs. `instance`: differs between two processes with the same name.
    """

    worker: str
    threads: int
    max_batch: int
    busy: int
    cost: float
    rung: str
    model: str
    languages: frozenset[str]
    done: int = 0
    failed: int = 0
    leaving: bool = False
    instance: str = ""

    @property
    def slots(self) -> int:
        """Jobs that it can hold at the same time."""
        return 0 if self.leaving else self.threads * self.max_batch


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The fleet as one of its gateways sees it.

    `gateway`: the name of this one. `leads`: whether it speaks for all of them on the topics of the
    service. `gateways`: the live ones, this one included. `workers`: the live ones, by name.
    `in_flight`: jobs of this gateway that have no result yet. `late`: results that came too late or
    twice. `again`: jobs that were published again. `failure`: why it is not connected, without
    secrets; None: it is, or has not tried yet.
    """

    name: str
    gateway: str
    connected: bool
    leads: bool
    gateways: tuple[str, ...]
    workers: tuple[WorkerStatus, ...]
    in_flight: int
    late: int
    again: int
    failure: str | None = None

    @property
    def threads(self) -> int:
        """Utterances that all workers transcribe at the same time."""
        return sum(worker.threads for worker in self.workers)

    @property
    def busy(self) -> int:
        """Threads of all workers that are at work, for any gateway."""
        return sum(worker.busy for worker in self.workers)

    @property
    def slots(self) -> int:
        """Jobs that all workers can hold at the same time."""
        return sum(worker.slots for worker in self.workers)

    @property
    def problem(self) -> str | None:
        """Why no worker would take a job now, as a sentence; None: one would."""
        if not self.connected:
            reason = (self.failure or "not connected yet").rstrip(".")
            return f"The fleet cannot be used: {reason}."
        if self.slots:
            return None
        if all(worker.leaving for worker in self.workers):
            return "No worker of the fleet is there."
        return "The workers of the fleet are still loading their models."
