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
from benchmarks.fleet.rooms import Rooms, Speech, speeches
from benchmarks.fleet.scenario import Data, Found, Scenario, over
from benchmarks.harness import say, spread
from stt_mqtt.types import Codec

ANSWER_S = 90.0
GREEDY = "greedy-"
MUST_WAIT_S = 0.2
GATEWAYS = (1, 2)
"""The same load with one gateway and with two: what a gateway spends on rooms of the other one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A load: live speech, even, and beside greedy rooms.

    `live_per_s`: utterances a second in real time, in packets of `packet_s`, for their costs; in a
    quick run they are sent at once. `idle_s`: without any.
    `greedy`: rooms that together say `greedy_per_s` besides, more than the workers can do.
    """

    rooms: int
    packet_s: float | None
    live_per_s: float
    live_s: float
    idle_s: float
    per_s: float
    seconds: float
    workers: int
    threads: int
    model: Model
    greedy: int
    greedy_per_s: float
    greedy_s: float


PLAN = Plan(2000, 0.06, 10, 30, 10, 50, 60, 20, 2, BASE, 20, 60, 20)
QUICK = Plan(20, None, 10, 0.5, 0.1, 16, 0.5, 2, 2, TINY_1, 2, 20, 0.5)


def crowd(house: House) -> Data:
    """The costs of live speech, an even load, and rooms that ask for more than their share."""
    plan = QUICK if house.quick else PLAN
    quiet = [f"room-{number}" for number in range(plan.rooms)]
    greedy = [f"{GREEDY}{number}" for number in range(plan.greedy)]
    begun = len(house.ledger.said)
    live, at_once = speeches(Codec.OPUS, plan.packet_s), speeches(Codec.OPUS)
    costs = {}
    for gateways in GATEWAYS:
        house.have_gateways(gateways)
        house.have_workers(plan.workers, plan.model, plan.threads)
        costs[str(gateways)] = costs_of(house, live, plan, quiet)
        say(f"{gateways} gateways: {costs[str(gateways)]}")
    with house.rooms(at_once) as rooms:
        rss_mb = Meter(house).read(1)["rss_mb"]
        even = evenly(house, rooms, plan, quiet)
        say(f"even: {even['wait_s']}")
        first = len(house.ledger.said)
        rooms.speak(greedy, plan.greedy_per_s, plan.greedy_s)
        until = rooms.speak(quiet, plan.per_s, plan.greedy_s)
        time.sleep(max(until - time.monotonic(), 0.0))
        house.ledger.await_answers(first, ANSWER_S)
    count = len(live)
    return {
        "plan": asdict(plan),
        "cost_s": round(sum(plan.model.seconds(one.seconds) for one in live) / count, 3),
        "bytes": round(sum(len(data) for one in live for _, data in one.chunks) / count),
        "chunks": round(sum(len(one.chunks) for one in live) / count, 1),
        "live": costs,
        "rss_mb": rss_mb,
        "bytes_per_room": round(
            1e6 * (even["measured"]["rss_mb"]["gateways"] - rss_mb["gateways"]) / plan.rooms
        ),
        "even": even,
        "beside_greedy": beside(house.ledger.since(first)),
        **account([one for one in house.ledger.since(begun) if not is_greedy(one)]),
    }


def costs_of(
    house: House, spoken: Sequence[Speech], plan: Plan, rooms: Sequence[str]
) -> dict[str, Any]:
    """CPU time per utterance of live speech, in ms, and what NATS transports for it.

    What all processes use while nobody speaks is left out.
    """
    meter = Meter(house)
    time.sleep(plan.idle_s)
    idle = meter.read(1)
    begun, meter = len(house.ledger.said), Meter(house)
    with house.rooms(spoken) as speakers:
        speakers.speak(rooms, plan.live_per_s, plan.live_s)
        time.sleep(plan.live_s)
        house.ledger.await_answers(begun, ANSWER_S)
    count = len(house.ledger.since(begun))
    busy = meter.read(count)
    return {
        "idle_cores": idle["cores"],
        "cpu_ms": {
            name: round(1e3 * busy["seconds"] * (cores - idle["cores"][name]) / count, 2)
            for name, cores in busy["cores"].items()
        },
        "nats": busy["nats"],
        "rss_mb": busy["rss_mb"],
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
    even, quiet = found["even"], found["beside_greedy"]["quiet"]
    return (
        f"p95 {even['wait_s']['p95']} s, Jain {even['jain']}; beside greedy rooms "
        f"p95 {quiet['wait_s']['p95']} s, {quiet['served']:.1%} served"
    )


def missed(found: Found) -> list[str]:
    """Waits that are too long, and unfairness."""
    even, quiet = found["even"], found["beside_greedy"]["quiet"]
    unfair = [] if quiet["worst"] == 1 else [f"a quiet room was served to {quiet['worst']:.0%}"]
    return over("p95 wait (s)", even["wait_s"]["p95"], MUST_WAIT_S) + unfair


def told(found: Found) -> list[str]:
    """Waits and costs."""
    plan, even = found["plan"], found["even"]
    packets = f"in packets of {1e3 * plan['packet_s']:g} ms" if plan["packet_s"] else "at once"
    rows = [["even", plan["per_s"], None, None, even["jain"], *even["wait_s"].values()]]
    rows += [
        [f"beside greedy ones: {name}", per_s, f"{one['served']:.1%}", f"{one['worst']:.1%}",
         one["jain"], *one["wait_s"].values()]
        for (name, one), per_s in zip(
            found["beside_greedy"].items(), (plan["per_s"], plan["greedy_per_s"]), strict=True
        )
    ]  # fmt: skip
    header = ["rooms", "utterances/s", "served", "worst room", "Jain", "wait s", "95 %", "longest"]
    kinds = ("gateways", "workers", "nats", "broker")
    costs = [
        [f"live, {count} gateway(s)", *(one["cpu_ms"][name] for name in kinds),
         *(one["idle_cores"][name] for name in kinds)]
        for count, one in found["live"].items()
    ]  # fmt: skip
    costs.append(["even, at once", *(even["measured"]["cpu_ms"][name] for name in kinds)])
    costs[-1] += [None] * len(kinds)
    return [
        f"{plan['rooms']} rooms by turns, {plan['per_s']:g} utterances a second for "
        f"{plan['seconds']:g} s, each sent at once, in Opus: broker, load and all processes share "
        f"two cores, which are too few for so much live speech. {GATEWAYS[-1]} gateways, "
        f"{plan['workers']} workers of {plan['threads']} threads ({plan['model']['name']}, "
        f"simulated). Then {plan['greedy']} rooms say {plan['greedy_per_s']:g} a second besides, "
        "which is more than all workers can do. Wait: from the end mark to the answer, without "
        "the transcription. Jain: over the share of each room that was served. The mean wait "
        f"that 99 % of the rooms do not exceed is {even['worst_room_s']} s. 99 % of the packets "
        f"were sent less than {even['late_ms']} ms late.",
        "",
        *report.table(header, rows),
        "",
        f"CPU time per utterance in ms, for live speech ({plan['live_per_s']:g} utterances a "
        f"second, {packets}) without what is used when nobody speaks; and "
        "that, in cores.",
        "",
        *report.table(["ms", *kinds, *(f"idle: {name}" for name in kinds)], costs),
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
