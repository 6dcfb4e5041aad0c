"""Scenarios in which processes die: workers, the NATS server, one of three NATS servers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from threading import Timer
from typing import Any

from benchmarks import report
from benchmarks.fleet.house import BASE, TINY_1, House, Model, Setup
from benchmarks.fleet.ledger import Said, account, broken_promises, longest_s, lost, open_at
from benchmarks.fleet.rooms import Rooms, speeches
from benchmarks.fleet.scenario import Data, Found, Scenario, over
from benchmarks.harness import say, spread
from stt_mqtt.types import Codec
from tools.brokers import eventually
from tools.supervisor import RESTART_S

SEED = 17
LATE_S, QUICK_LATE_S = 2.0, 0.2
"""At the end, for answers that should not come."""
ANSWER_S = 90.0
GRACE_S = 1.0
"""After `ack_wait`, for the next worker to do the job."""


@dataclass(frozen=True, slots=True)
class Load:
    """Rooms that speak by turns for some seconds, and the workers that have simulated models."""

    rooms: int
    per_s: float
    seconds: float
    workers: int
    threads: int
    model: Model = BASE


@dataclass(frozen=True, slots=True)
class Kills:
    """Every `every_s` something dies, and it is started again `restart_s` later."""

    load: Load
    every_s: float
    restart_s: float


WORKERS = Kills(Load(1000, 60, 600, 4, 5, TINY_1), 20, RESTART_S)
"""As much as two cores can do beside broker, load and workers; three workers are busy to 77 %."""
QUICK_WORKERS = Kills(Load(20, 16, 2, 2, 2, TINY_1), 1, 0.5)
SERVER = Kills(Load(200, 20, 60, 4, 4), 20, 1)
QUICK_SERVER = Kills(Load(20, 8, 1, 2, 2, TINY_1), 0.5, 0.2)
CLUSTER = Kills(Load(200, 20, 120, 4, 4), 30, 10)
QUICK_CLUSTER = Kills(Load(20, 8, 2, 2, 2, TINY_1), 1, 1)


@contextmanager
def speaking(house: House, load: Load) -> Iterator[tuple[Rooms, float]]:
    """Rooms that have begun to speak, and when they will have said all. At the end they have."""
    house.have_gateways(1)
    house.have_workers(load.workers, load.model, load.threads)
    with house.rooms(speeches(Codec.OPUS)) as rooms:
        begun = len(house.ledger.said)
        until = rooms.speak(
            [f"room-{number}" for number in range(load.rooms)], load.per_s, load.seconds
        )
        yield rooms, until
        time.sleep(max(until - time.monotonic(), 0.0))
        house.ledger.await_answers(begun, ANSWER_S)
        time.sleep(QUICK_LATE_S if house.quick else LATE_S)


def suffer(house: House, plan: Kills, kill: Callable[[], tuple[str, Callable[[], None]]]) -> Data:
    """Have something killed again and again while rooms speak.

    `kill` returns who died, and what starts it again.
    """
    begun, deaths = len(house.ledger.said), list[tuple[str, float]]()
    again = len(house.witness.redelivered)
    with speaking(house, plan.load) as (rooms, until), ExitStack() as stack:
        due = time.monotonic() + plan.every_s
        # The last one is early enough for all to be well before the end of the load.
        while due + plan.every_s / 2 <= until:
            time.sleep(max(due - time.monotonic(), 0.0))
            at = time.monotonic()
            who, start_again = kill()
            say(f"{who} killed")
            deaths.append((who, at))
            timer = Timer(plan.restart_s, start_again)
            timer.start()
            stack.callback(timer.join)
            due += plan.every_s
    said = house.ledger.since(begun)
    redelivered = house.witness.redelivered[again:]
    rows = [death(who, at, said) for who, at in deaths]
    return {
        "plan": asdict(plan),
        "ack_wait_s": house.ack_wait_s,
        "deaths": rows,
        **account(said),
        "strangers": house.ledger.strangers,
        "redelivered": len(redelivered),
        "longest_s": max((row["longest_s"] for row in rows if row["longest_s"]), default=None),
        "latency_s": spread([one.latency_s for one in said if one.latency_s is not None]),
        "late_ms": rooms.late_ms,
    }


def death(who: str, at: float, said: Sequence[Said]) -> dict[str, Any]:
    """What was open when something died, and how long the last of it took from then on."""
    were_open = open_at(said, at)
    return {"who": who, "open": len(were_open), "longest_s": longest_s(were_open, at)}


# Workers ----------------------------------------------------------------------------------------


def worker_killed(house: House) -> Data:
    """Kill a random worker every some seconds."""
    choice = random.Random(SEED)

    def kill() -> tuple[str, Callable[[], None]]:
        worker = choice.choice(list(house.workers.values()))
        worker.kill()
        house.witness.forget(worker.name)
        return worker.name, worker.start_again

    return suffer(house, QUICK_WORKERS if house.quick else WORKERS, kill)


def shown_deaths(found: Found) -> str:
    """The cell of scenarios in which something dies."""
    return (
        f"{found['sent']:,} jobs, {len(found['deaths'])} deaths: {lost(dict(found))} lost, "
        f"{found['doubled']} doubled; what was open then had answers within {found['longest_s']} s"
    )


def too_late(found: Found) -> list[str]:
    """Jobs of a dead worker that were answered too late."""
    return over("next answer (s)", found["longest_s"], found["ack_wait_s"] + GRACE_S)


def told_deaths(found: Found) -> list[str]:
    """The numbers of the load."""
    load = found["plan"]["load"]
    latency = found["latency_s"]
    return [
        f"{load['rooms']} rooms, {load['per_s']:g} utterances a second for {load['seconds']:g} s, "
        f"{load['workers']} workers of {load['threads']} threads ({load['model']['name']}, "
        f"simulated). One dies every {found['plan']['every_s']:g} s and is started again "
        f"{found['plan']['restart_s']:g} s later. `ack_wait_s` is {found['ack_wait_s']:g}. "
        f"Without a transcript: {report.counts(found['otherwise'])}, silent {found['silent']}. "
        f"Delivered again: {found['redelivered']}; transcribed twice: {found['done_twice']}; "
        f"published again: {found['again']}. From the end mark to the answer: "
        f"{latency['p50']} s (95 %: {latency['p95']} s, longest {latency['max']} s). "
        f"The load was sent at most {found['late_ms']} ms late (99 %).",
    ]


# Servers ----------------------------------------------------------------------------------------


def server_restarted(house: House) -> Data:
    """Stop the only server and start it again."""
    (server,) = house.servers

    def restart() -> tuple[str, Callable[[], None]]:
        server.stop()
        return server.name, server.start

    return suffer(house, QUICK_SERVER if house.quick else SERVER, restart)


def leader_killed(house: House) -> Data:
    """Kill the server that leads the stream of jobs."""
    by_name = {server.name: server for server in house.servers}

    def kill() -> tuple[str, Callable[[], None]]:
        leader = by_name[str(eventually(house.witness.leader))]
        leader.kill()
        return leader.name, leader.start

    return suffer(house, QUICK_CLUSTER if house.quick else CLUSTER, kill)


def silent(found: Found) -> list[str]:
    """What must not be where jobs may be lost with the memory of a server, but not silently."""
    names = ("silent", "doubled")
    return [f"{found[name]} {name}" for name in names if found[name]]


def all_broken(found: Found) -> list[str]:
    """What must not be where no job may be lost."""
    return broken_promises(dict(found))


SCENARIOS = (
    Scenario(
        "`kill -9` of a worker every 20 s for 10 minutes under load",
        "0 lost or doubled, next answer ≤ `ack_wait` + 1 s",
        "10⁵ jobs",
        worker_killed,
        shown_deaths,
        all_broken,
        too_late,
        told_deaths,
        quick=True,
    ),
    Scenario(
        "server restarted, JetStream in memory",
        "nothing accepted is silent",
        "",
        server_restarted,
        shown_deaths,
        silent,
        told=told_deaths,
        setup=Setup(),
        quick=True,
    ),
    Scenario(
        "server restarted, JetStream in files",
        "nothing accepted is silent",
        "nothing lost",
        server_restarted,
        shown_deaths,
        silent,
        told=told_deaths,
        setup=Setup(storage="file"),
    ),
    Scenario(
        "three-node cluster, the leader of the jobs killed",
        "no job lost",
        "",
        leader_killed,
        shown_deaths,
        all_broken,
        told=told_deaths,
        setup=Setup(servers=3, replicas=3),
    ),
)
