"""Scenarios in which workers have much to do: how much more several do, and how soon a new one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import report
from benchmarks.fleet.figures import linear, rate, share_after_s
from benchmarks.fleet.house import BASE, TINY_1, House, Model
from benchmarks.fleet.ledger import account, broken_promises
from benchmarks.fleet.rooms import mean_s, speeches
from benchmarks.fleet.scenario import Data, Found, Scenario, over
from benchmarks.harness import say, spread
from stt_mqtt.types import Codec
from tools.brokers import eventually

ANSWER_S = 60.0
WAITING = 4
"""Rooms for each slot, so that something always waits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`warm_s`: until it is measured. `measured_s`: how long. `threads`: of a worker."""

    workers: Sequence[int]
    threads: int
    warm_s: float
    measured_s: float
    joins: int
    model: Model


PLAN = Plan((1, 2, 3, 4), 2, 5.0, 60.0, 5, BASE)
QUICK = Plan((1, 2), 2, 0.3, 0.6, 1, TINY_1)
MUST_LINEAR = 0.85
MUST_JOIN_S = 5.0


def plan_of(house: House) -> Plan:
    """The numbers of a run."""
    return QUICK if house.quick else PLAN


def throughput(house: House) -> Data:
    """Transcripts per second with more and more workers that always have enough to do."""
    plan, rates = plan_of(house), dict[int, float]()
    house.have_gateways(1)
    begun = len(house.ledger.said)
    spoken = speeches(Codec.OPUS)
    for workers in plan.workers:
        house.have_workers(workers, plan.model, plan.threads)
        with house.rooms(spoken) as rooms:
            slots = workers * plan.threads
            rooms.keep_busy(f"room-{number}" for number in range(WAITING * slots))
            time.sleep(plan.warm_s)
            since = time.monotonic()
            time.sleep(plan.measured_s)
            rates[workers] = rate(house.ledger.since(begun), since, time.monotonic())
            rooms.rest()
            house.ledger.await_answers(begun, ANSWER_S)
        say(f"{workers} workers: {rates[workers]:.2f} a second")
    ideal = plan.threads / plan.model.seconds(mean_s(spoken))
    return {
        "plan": asdict(plan),
        "rates": {str(count): round(per_s, 3) for count, per_s in rates.items()},
        "ideal_of_one": round(ideal, 3),
        "linear": linear(rates),
        **account(house.ledger.since(begun)),
    }


def too_slow(found: Found) -> list[str]:
    """A throughput that grows too little."""
    enough = found["linear"] is not None and found["linear"] >= MUST_LINEAR
    return [] if enough else [f"{found['linear']} linear instead of {MUST_LINEAR}"]


def told_throughput(found: Found) -> list[str]:
    """The rates."""
    one, plan = next(iter(found["rates"].values())), found["plan"]
    rows = [
        [count, per_s, f"{per_s / (one * int(count)):.3f}",
         f"{per_s / (found['ideal_of_one'] * int(count)):.3f}"]
        for count, per_s in found["rates"].items()
    ]  # fmt: skip
    return [
        f"Workers of {plan['threads']} threads ({plan['model']['name']}, simulated), and "
        f"{WAITING} rooms for each thread, which speak again as soon as they are answered.",
        "",
        *report.table(["workers", "utterances/s", "of linear", "of the model alone"], rows),
    ]


def joining(house: House) -> Data:
    """A second worker joins one that has too much to do, several times."""
    plan, times = plan_of(house), list[dict[str, float | None]]()
    house.have_gateways(1)
    begun = len(house.ledger.said)
    window_s = max(4 * plan.model.seconds(mean_s(speeches(Codec.OPUS))), 1.0)
    for _ in range(plan.joins):
        house.have_workers(1, plan.model, plan.threads)
        with house.rooms(speeches(Codec.OPUS)) as rooms:
            rooms.keep_busy(f"room-{number}" for number in range(2 * WAITING * plan.threads))
            time.sleep(plan.warm_s)
            started, done = time.monotonic(), len(house.witness.done)
            name = house.add_worker()
            house.await_workers()
            joined_at = house.witness.ready_at[name]

            def share_s(name: str = name, since: float = joined_at, first: int = done,
            ) -> float | None:  # fmt: skip
                return share_after_s(house.witness.done[first:], name, since, 0.5, window_s)

            time.sleep(MUST_JOIN_S if not house.quick else window_s)
            eventually(lambda: share_s() is not None, ANSWER_S)
            times.append({"start_s": round(joined_at - started, 2), "share_s": share_s()})
            say(f"joined: {times[-1]}")
            rooms.rest()
            house.ledger.await_answers(begun, ANSWER_S)
    return {
        "plan": asdict(plan),
        "joins": times,
        "share_s": spread([one["share_s"] for one in times if one["share_s"] is not None]),
        "start_s": spread([one["start_s"] for one in times if one["start_s"] is not None]),
        **account(house.ledger.since(begun)),
    }


def all_broken(found: Found) -> list[str]:
    """What must not be where no job may be lost."""
    return broken_promises(dict(found))


SCENARIOS = (
    Scenario(
        "throughput, 1 → 4 workers (simulated cost)",
        "≥ 0.85 linear",
        "≥ 0.95",
        throughput,
        lambda found: f"{found['linear']} linear",
        all_broken,
        too_slow,
        told_throughput,
        quick=True,
    ),
    Scenario(
        "a worker joins: its share of the work after",
        "5 s",
        "2 s",
        joining,
        lambda found: f"{found['share_s']['max']} s at most, {len(found['joins'])} times",
        all_broken,
        lambda found: over("share of the work (s)", found["share_s"]["max"], MUST_JOIN_S),
        lambda found: [
            "From its first heartbeat with free threads to the end of its first job, after which "
            "it does at least 80 % of its share. The process itself was ready "
            f"{found['start_s']['p50']} s after its start (longest {found['start_s']['max']} s), "
            "without the time that a real model takes to load.",
        ],
    ),
)
