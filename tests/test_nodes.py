from __future__ import annotations

import pytest

from stt_mqtt.nodes import WorkerStatus
from tests.fleets import FLEET, WORKER, fleet_of, worker

LOADING = worker("attic", threads=0, busy=0)
LEAVING = worker("garage", leaving=True)


def test_a_worker_holds_a_batch_for_each_thread_until_it_leaves() -> None:
    assert WORKER.slots == 8
    assert LOADING.slots == 0
    assert LEAVING.slots == 0


def test_a_fleet_has_the_threads_of_all_its_workers() -> None:
    fleet = fleet_of(WORKER, worker("attic", threads=2, max_batch=1, busy=2), LEAVING)
    assert (fleet.threads, fleet.busy, fleet.slots) == (10, 4, 10)
    empty = fleet_of()
    assert (empty.threads, empty.busy, empty.slots) == (0, 0, 0)


@pytest.mark.parametrize(
    ("workers", "problem"),
    [
        ([WORKER], None),
        ([LOADING, WORKER, LEAVING], None),
        ([], "No worker of the fleet is there."),
        ([LEAVING], "No worker of the fleet is there."),
        ([LOADING], "The workers of the fleet are still loading their models."),
        ([LEAVING, LOADING], "The workers of the fleet are still loading their models."),
    ],
)
def test_a_fleet_works_if_one_worker_takes_jobs(
    workers: list[WorkerStatus], problem: str | None
) -> None:
    assert fleet_of(*workers).problem == problem


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(None, "not connected yet"), ("nats://cellar:4222 hangs up.", "nats://cellar:4222 hangs up")],
)
def test_without_its_servers_a_fleet_does_not_work(failure: str | None, reason: str) -> None:
    fleet = fleet_of(WORKER, connected=False, failure=failure)
    assert fleet.problem == f"The fleet cannot be used: {reason}."
    assert FLEET.problem is None
