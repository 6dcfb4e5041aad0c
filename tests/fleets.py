"""What workers and gateways of a fleet tell of themselves, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stt_mqtt.nodes import FleetStatus, WorkerStatus

WORKER = WorkerStatus(
    worker="cellar",
    threads=4,
    max_batch=2,
    busy=1,
    cost=0.125,
    rung="default",
    model="small.en",
    languages=frozenset({"en"}),
    done=812,
)
FLEET = FleetStatus(
    name="home",
    gateway="hall",
    connected=True,
    leads=True,
    gateways=("hall",),
    workers=(WORKER,),
    in_flight=1,
    late=0,
    again=0,
)


def worker(name: str, **changes: Any) -> WorkerStatus:
    """A worker that is well, except for the changes."""
    return replace(WORKER, worker=name, **changes)


def fleet_of(*workers: WorkerStatus, **changes: Any) -> FleetStatus:
    """A fleet with these workers."""
    return replace(FLEET, workers=workers, **changes)
