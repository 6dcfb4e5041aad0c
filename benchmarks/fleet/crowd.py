"""The scenario of the crowd: thousands of rooms, two gateways and many workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import report
from benchmarks.fleet.figures import jain, shares_served, worst_room_s
from benchmarks.fleet.house import BASE, TINY_1, House, Meter, Model
from benchmarks.fleet.ledger import Said, account, broken_promises
from benchmarks.fleet.rooms import Rooms, mean_s, speeches
from benchmarks.fleet.scenario import Data, Found, Scenario, over
from benchmarks.harness import rss_mb, say, spread
from stt_mqtt.types import Codec

ANSWER_S = 90.0
GREEDY = "greedy-"
MUST_WAIT_S = 0.2
GATEWAYS = (1, 2)
"""The same load with one gateway and with two: what a gateway spends on rooms of the other one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A load, even and with greedy rooms.

    `chunk_s`: of live speech; None: it is sent at once. `greedy`: rooms that together say
    `greedy_per_s` besides, more than the workers can do.
    """

    rooms: int
    per_s: float
    seconds: float
    chunk_s: float | None
    workers: int
    threads: int
    model: Model
    greedy: int
    greedy_per_s: float
    greedy_s: float


PLAN = Plan(2000, 50, 60, 0.06, 20, 2, BASE, 20, 60, 20)
QUICK = Plan(20, 8, 1, None, 2, 2, TINY_1, 2, 20, 1)


def crowd(house: House) -> Data:
    """Rooms that speak evenly, with one gateway and with two, and then beside greedy ones."""
    plan = QUICK if house.quick else PLAN
    quiet = [f"room-{number}" for number in range(plan.rooms)]
    house.have_gateways(1)
    house.have_workers(plan.workers, plan.model, plan.threads)
    rss_before = rss_mb(house.processes["gateways"][0])
    begun, even = len(house.ledger.said), dict[str, Any]()
    spoken = speeches(Codec.OPUS, plan.chunk_s)
    with house.rooms(spoken) as rooms:
        for gateways in GATEWAYS:
            house.have_gateways(gateways)
            even[str(gateways)] = evenly(house, rooms, plan, quiet)
            say(f"{gateways} gateways: {even[str(gateways)]['wait_s']}")
            if gateways == 1:
                rss_after = rss_mb(house.processes["gateways"][0])
        greedy = [f"{GREEDY}{number}" for number in range(plan.greedy)]
        first = len(house.ledger.said)
        rooms.speak(greedy, plan.greedy_per_s, plan.greedy_s)
        until = rooms.speak(quiet, plan.per_s, plan.greedy_s)
        time.sleep(max(until - time.monotonic(), 0.0))
        house.ledger.await_answers(first, ANSWER_S)
    return {
        "plan": asdict(plan),
        "mean_s": round(mean_s(spoken), 3),
        "cost_s": round(sum(plan.model.seconds(one.seconds) for one in spoken) / len(spoken), 3),
        "chunks": round(sum(len(one.chunks) for one in spoken) / len(spoken), 1),
        "bytes": round(
            sum(sum(len(data) for _, data in one.chunks) for one in spoken) / len(spoken)
        ),
        "even": even,
        "bytes_per_room": round(1e6 * (rss_after - rss_before) / plan.rooms),
        "beside_greedy": beside(house.ledger.since(first)),
        **account([one for one in house.ledger.since(begun) if not is_greedy(one)]),
    }


def evenly(house: House, rooms: Rooms, plan: Plan, quiet: Sequence[str]) -> dict[str, Any]:
    """All rooms in turn."""
    begun, meter = len(house.ledger.said), Meter(house)
    until = rooms.speak(quiet, plan.per_s, plan.seconds)
    time.sleep(max(until - time.monotonic(), 0.0))
    measured = meter.read(len(house.ledger.since(begun)))
    house.ledger.await_answers(begun, ANSWER_S)
    said = house.ledger.since(begun)
    return {
        "late_ms": rooms.late_ms,
        "wait_s": spread(waits(said)),
        "worst_room_s": worst_room_s(said),
        "jain": jain(list(shares_served(said).values())),
        "measured": measured,
    }


def beside(said: Sequence[Said]) -> dict[str, Any]:
    """What greedy rooms do to the others."""
    found: dict[str, Any] = {}
    for name in ("quiet", "greedy"):
        ones = [one for one in said if is_greedy(one) == (name == "greedy")]
        served = list(shares_served(ones).values())
        found[name] = {
            "sent": len(ones),
            "served": round(sum(served) / len(served), 3),
            "worst": round(min(served), 3),
            "jain": jain(served),
            "wait_s": spread(waits(ones)),
        }
    return found


def is_greedy(said: Said) -> bool:
    """Whether it is of a room that asks for more than its share."""
    return said.room.startswith(GREEDY)


def waits(said: Sequence[Said]) -> list[float]:
    """From the end mark to the answer, without the transcription, in seconds."""
    return [one.wait_s for one in said if one.wait_s is not None]


def shown(found: Found) -> str:
    """The cell of the table."""
    two, quiet = found["even"][str(GATEWAYS[-1])], found["beside_greedy"]["quiet"]
    return (
        f"p95 {two['wait_s']['p95']} s, Jain {two['jain']}; beside greedy rooms "
        f"p95 {quiet['wait_s']['p95']} s, {quiet['served']:.1%} served"
    )


def missed(found: Found) -> list[str]:
    """Waits that are too long, and unfairness."""
    two, quiet = found["even"][str(GATEWAYS[-1])], found["beside_greedy"]["quiet"]
    unfair = [] if quiet["worst"] == 1 else [f"a quiet room was served to {quiet['worst']:.0%}"]
    return over("p95 wait (s)", two["wait_s"]["p95"], MUST_WAIT_S) + unfair


def told(found: Found) -> list[str]:
    """Waits and costs."""
    plan = found["plan"]
    live = plan["chunk_s"] and f"live in packets of {1e3 * plan['chunk_s']:g} ms"
    rows = [
        [
            f"{count} gateway(s)",
            *(one["wait_s"][at] for at in ("p50", "p95", "max")),
            one["worst_room_s"],
            one["jain"],
            one["late_ms"],
            *(one["measured"]["cpu_ms"][name] for name in ("gateways", "nats", "broker")),
            *(one["measured"]["cores"][name] for name in ("gateways", "workers")),
        ]
        for count, one in found["even"].items()
    ]
    header = ["", "wait s", "95 %", "longest", "worst rooms", "Jain", "late ms", "gateways ms",
              "NATS ms", "broker ms", "gateways cores", "workers cores"]  # fmt: skip
    greedy = [
        [name, one["sent"], f"{one['served']:.1%}", f"{one['worst']:.1%}", one["jain"],
         one["wait_s"]["p50"], one["wait_s"]["p95"]]
        for name, one in found["beside_greedy"].items()
    ]  # fmt: skip
    return [
        f"{plan['rooms']} rooms by turns, {plan['per_s']:g} utterances a second for "
        f"{plan['seconds']:g} s, in Opus, {live or 'at once'}; {plan['workers']} "
        f"workers of {plan['threads']} threads ({plan['model']['name']}, simulated). Wait: from "
        "the end mark to the answer, without the transcription. Worst rooms: the mean wait that "
        "99 % of the rooms do not exceed. Jain: over the share of each room that was served. "
        "CPU time per utterance of all gateways, the NATS server and the broker; the cores that "
        "they used. Broker, load and everything else share the two cores.",
        "",
        *report.table(header, rows),
        "",
        f"Then {plan['greedy']} rooms say {plan['greedy_per_s']:g} a second besides, which is "
        "more than all workers can do.",
        "",
        *report.table(["rooms", "sent", "served", "worst room", "Jain", "wait s", "95 %"], greedy),
    ]


SCENARIOS = (
    Scenario(
        "2,000 rooms, 50 utterances a second, 20 simulated workers, 2 gateways",
        "p95 wait ≤ 200 ms, fair",
        "",
        crowd,
        shown,
        lambda found: broken_promises(dict(found)),
        missed,
        told,
        quick=True,
    ),
)
