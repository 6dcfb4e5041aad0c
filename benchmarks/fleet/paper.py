"""10,000 homes on paper, from what was measured with the crowd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from benchmarks import report
from benchmarks.ladder import COMMANDS_PER_HOUR

HOMES = 10_000
ROOMS_PER_HOME = 3
PER_HOME_AND_DAY = 60
BUSIEST_HOUR = max(COMMANDS_PER_HOUR) / sum(COMMANDS_PER_HOUR)
"""Share of a day, in the household of `ladder`."""
BUSIEST_MINUTE = 2.0
"""Times the mean of its hour."""
FULL = 0.7
"""Share of a core or of the threads that may be used: beyond it waits grow."""
CORES_PER_MACHINE = 2
"""Of the machine on which the cost of the model was measured; it has as many threads."""
MAX_DEVICES = 100_000
"""The largest `limits.max_devices`."""
MARKS = 2
"""Messages of an utterance beside its chunks: start and stop."""
LINK_BYTES_PER_S = 125e6
"""1 Gbit/s."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Per utterance; names with `_s` are seconds of a core or of a thread.

    `own_s`: of the gateway that owns the room. `foreign_s`: of every other one, which receives the
    messages as well. `thread_s`: of a worker.
    """

    own_s: float
    foreign_s: float
    broker_s: float
    nats_s: float
    thread_s: float
    bytes: float
    nats_bytes: float
    chunks: float
    nats_messages: float
    bytes_per_room: float
    gateway_mb: float


def costs(crowd: Mapping[str, Any]) -> Costs:
    """What the crowd tells. Two gateways spend once more what one spends on foreign rooms."""
    one, two = crowd["live"]["1"], crowd["live"]["2"]
    return Costs(
        own_s=one["cpu_ms"]["gateways"] / 1e3,
        foreign_s=max(two["cpu_ms"]["gateways"] - one["cpu_ms"]["gateways"], 0.0) / 1e3,
        broker_s=two["cpu_ms"]["broker"] / 1e3,
        nats_s=two["cpu_ms"]["nats"] / 1e3,
        thread_s=crowd["cost_s"],
        bytes=crowd["bytes"],
        nats_bytes=two["nats"]["in_bytes"] + two["nats"]["out_bytes"],
        chunks=crowd["chunks"],
        nats_messages=two["nats"]["in_msgs"] + two["nats"]["out_msgs"],
        bytes_per_room=max(crowd["bytes_per_room"], 0.0),
        gateway_mb=two["rss_mb"]["gateways"],
    )


def peak_per_s(homes: float = HOMES) -> float:
    """Utterances a second in the busiest minute of the day."""
    return homes * PER_HOME_AND_DAY * BUSIEST_HOUR * BUSIEST_MINUTE / 3600


def gateway_limit(cost: Costs, gateways: int) -> float | None:
    """Utterances a second at which so many gateways are full: the threads of one share a core."""
    return _full(cost.own_s / gateways + cost.foreign_s * (1 - 1 / gateways))


def gateways_for(cost: Costs, per_s: float) -> int | None:
    """Gateways that can do so many utterances a second; None: however many, they cannot."""
    spare = FULL / per_s - cost.foreign_s
    if spare <= 0:
        return None
    return max(ceil((cost.own_s - cost.foreign_s) / spare), 1)


def limits(cost: Costs) -> list[tuple[str, float | None]]:
    """What is full at how many utterances a second, the first one first; None: never."""
    homes_per_s = peak_per_s(1)
    found: list[tuple[str, float | None]] = [
        ("one gateway: its threads share a core", gateway_limit(cost, 1)),
        ("two gateways: each with one core", gateway_limit(cost, 2)),
        ("four gateways: each with one core", gateway_limit(cost, 4)),
        ("any number of gateways: each receives all audio", _full(cost.foreign_s)),
        ("the broker: one core (Mosquitto has one thread)", _full(cost.broker_s)),
        ("a NATS server: one core (it can use more)", _full(cost.nats_s)),
        ("a NATS server: 1 Gbit/s", _full(cost.nats_bytes / LINK_BYTES_PER_S)),
        (
            f"`limits.max_devices` ({MAX_DEVICES:,})",
            MAX_DEVICES / ROOMS_PER_HOME * homes_per_s,
        ),
    ]
    return sorted(found, key=lambda one: inf if one[1] is None else one[1])


def _full(seconds: float) -> float | None:
    """Utterances a second that fill a core, if each takes so many seconds of it."""
    return FULL / seconds if seconds else None


def page(crowd: Mapping[str, Any]) -> list[str]:
    """The section of the page."""
    cost, per_s = costs(crowd), peak_per_s()
    gateways = gateways_for(cost, per_s)
    machines = ceil(per_s * cost.thread_s / (CORES_PER_MACHINE * FULL))
    rooms = HOMES * ROOMS_PER_HOME
    memory_mb = cost.gateway_mb + rooms * cost.bytes_per_room / 1e6
    messages = cost.chunks + MARKS
    copies = 1 + (gateways or 1)
    rows = [
        [name, *(report.number("{:,.0f}", each) for each in (at, at and at / peak_per_s(1)))]
        for name, at in limits(cost)
    ]
    return [
        "## 10,000 homes on paper",
        "",
        f"Assumed: {ROOMS_PER_HOME} rooms and {PER_HOME_AND_DAY} utterances a day in each home; "
        f"{BUSIEST_HOUR:.0%} of them in the busiest hour (the household of `ladder`), and in its "
        f"busiest minute {BUSIEST_MINUTE:g} times as many: {per_s:.0f} utterances a second. Cores "
        f"and threads are used to {FULL:.0%}. Everything else is calculated from the crowd above.",
        "",
        f"- Workers: {per_s * cost.thread_s:.0f} threads at work, so {machines} machines like this "
        f"one ({CORES_PER_MACHINE} threads, {crowd['plan']['model']['name']}).",
        "- Gateways: "
        + (
            f"{gateways}"
            if gateways
            else "no number is enough with one broker; divide the homes among fleets"
        )
        + f". An utterance costs its own gateway {1e3 * cost.own_s:.1f} ms of CPU time and each "
        f"other one {1e3 * cost.foreign_s:.1f} ms, since all receive all messages.",
        f"- Memory of a gateway: {memory_mb:,.0f} MB with {rooms:,} rooms.",
        f"- The broker: {per_s * cost.broker_s:.2f} cores, {per_s * copies * messages:,.0f} "
        f"messages and {per_s * cost.bytes * copies * 8 / 1e6:.1f} Mbit/s of audio in and out.",
        f"- NATS: {per_s * cost.nats_s:.2f} cores, {per_s * cost.nats_messages:,.0f} messages and "
        f"{per_s * cost.nats_bytes * 8 / 1e6:.1f} Mbit/s in and out.",
        "",
        "Which limit comes first:",
        "",
        *report.table(["limit", "utterances/s", "homes"], rows),
    ]
