"""The scenario of the way: one utterance after another, with own threads and over the fleet.

Both ways are idle but for this utterance, have the real model and take turns.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.fleet.figures import added_ms
from benchmarks.fleet.house import House
from benchmarks.fleet.ledger import Said, account, broken_promises
from benchmarks.fleet.rooms import Rooms, Speech, speeches
from benchmarks.fleet.scenario import Data, Found, Scenario, over
from benchmarks.harness import spread
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import Codec
from tools.brokers import eventually
from tools.program import Service

OWN = "own"
"""Base topic of the process with own threads."""
WAYS = {OWN: "own threads", "fleet": "gateway and worker"}
WORKER = "real-worker"
ROOM = "room"
ONLINE_S = 60.0
ANSWER_S = 60.0
MODEL = "tiny.en"
MUST_MS = {"p50": 5.0, "p95": 15.0}


@dataclass(frozen=True, slots=True)
class Plan:
    """`rounds`: how often each recording is said each way. `rest_s`: before each utterance."""

    recordings: int
    rounds: int
    rest_s: float


PLAN = Plan(9, 40, 0.1)
QUICK = Plan(1, 1, 0.0)
LOUD = 0.1
"""Of the loudest sample: where the last sound is cut."""
CODECS = (Codec.OPUS, Codec.PCM_S16LE)
"""Compressed audio goes its way as it is; long PCM is compressed first."""


def way(house: House) -> Data:
    """Say the same in both ways, by turns."""
    plan = QUICK if house.quick else PLAN
    house.have_workers(0)
    pairs: dict[str, list[tuple[Said, Said]]] = {codec.value: [] for codec in CODECS}
    begun = len(house.ledger.said)
    with ExitStack() as stack:
        for service in (own_threads(house), real_worker(house)):
            stack.callback(service.stop)
        house.have_gateways(1)
        eventually(lambda: house.is_online(OWN) and WORKER in house.witness.ready_at, ONLINE_S)
        ways = [stack.enter_context(house.rooms([], base)) for base in (OWN, "stt")]
        spoken = {
            codec: speeches(codec, recordings=cut_samples(plan.recordings)) for codec in CODECS
        }
        for rooms in ways:
            # The first one takes longer.
            said_alone(house, rooms, spoken[Codec.OPUS][0], plan.rest_s)
        for number in range(plan.rounds):
            for codec in CODECS:
                for speech in spoken[codec]:
                    order = (0, 1) if number % 2 == 0 else (1, 0)
                    answered = {
                        one: said_alone(house, ways[one], speech, plan.rest_s) for one in order
                    }
                    pairs[codec.value].append((answered[0], answered[1]))
    house.witness.forget(WORKER)
    return {
        "plan": asdict(plan),
        "model": MODEL,
        "added_ms": {name: added_ms(found) for name, found in pairs.items()},
        "ways_ms": {
            name: {
                base: ways_ms([pair[at] for pair in found])
                for at, base in enumerate((OWN, "fleet"))
            }
            for name, found in pairs.items()
        },
        **account(house.ledger.since(begun)),
    }


def ways_ms(said: Sequence[Said]) -> dict[str, Any]:
    """How long one way took, in ms."""
    return {
        "latency": spread([round(1e3 * (one.latency_s or 0.0), 1) for one in said]),
        "rest": spread([round(1e3 * (one.wait_s or 0.0), 1) for one in said]),
        "transcription_p50": round(1e3 * median(one.answers[0].infer_s or 0.0 for one in said), 1),
    }


def cut_samples(count: int) -> list[bytes]:
    """Commands of the demo that end with their last sound.

    Silence at the end would let the process with own threads begin before the end mark.
    """
    cut = []
    for sample in SAMPLES[:count]:
        pcm = np.frombuffer(sample.pcm(), "<i2").astype(np.int32)
        loud = np.flatnonzero(np.abs(pcm) > LOUD * np.abs(pcm).max())
        cut.append(sample.pcm()[: 2 * (int(loud[-1]) + 1)])
    return cut


def own_threads(house: House) -> Service:
    """A process without a fleet, on a base topic of its own."""
    folder = house.folder / OWN
    folder.mkdir()
    return Service(folder, house.broker, mqtt={"base_topic": OWN}, engine={"model": MODEL})


def real_worker(house: House) -> Service:
    """The worker of the fleet, with the same model and as many threads."""
    folder = house.folder / WORKER
    folder.mkdir()
    return Service(
        folder, house.broker, fleet=house.fleet("worker", WORKER), engine={"model": MODEL}
    )


def said_alone(house: House, rooms: Rooms, speech: Speech, rest_s: float) -> Said:
    """An utterance that is said after a rest, answered."""
    time.sleep(rest_s)
    said = rooms.say(ROOM, speech=speech)
    if not house.ledger.await_(lambda: said.answers, ANSWER_S):
        raise RuntimeError(f"no answer to {said.id}")
    return said


def shown(found: Found) -> str:
    """The cell of the table: the codec that adds most."""
    worst = max(found["added_ms"].values(), key=lambda one: one["p95"] or 0.0)
    return f"{worst['p50']} / {worst['p95']} ms"


def told(found: Found) -> list[str]:
    """Both ways, by codec."""
    rows = [
        [
            f"{codec}, {WAYS[base]}",
            *(one["latency"][at] for at in ("p50", "p95")),
            one["transcription_p50"],
            *(one["rest"][at] for at in ("p50", "p95")),
            *(found["added_ms"][codec][at] if base != OWN else None for at in ("p50", "p95")),
        ]
        for codec, ways in found["ways_ms"].items()
        for base, one in ways.items()
    ]
    header = ["ms", "latency", "95 %", "transcription", "the rest", "95 %", "added", "95 %"]
    plan = found["plan"]
    return [
        f"{plan['recordings']} recordings, {plan['rounds']} times in each codec, at once, with "
        f"`{found['model']}`. The same utterance takes turns between a process with own threads "
        "and gateway and worker, with nothing else to do. Latency: from the end mark to the "
        "answer. The rest: without the transcription, which differs from run to run. Added: this "
        "rest over the fleet, less the median of the rest without it.",
        "",
        *report.table(header, rows),
    ]


def missed(found: Found) -> list[str]:
    """Where the way adds more than it may."""
    return [
        one
        for codec, added in found["added_ms"].items()
        for at, limit in MUST_MS.items()
        for one in over(f"added with {codec}, {at} (ms)", added[at], limit)
    ]


SCENARIOS = (
    Scenario(
        "added latency of the way over NATS, p50 / p95, idle",
        "≤ 5 / 15 ms",
        "≤ 3 / 8 ms",
        way,
        shown,
        lambda found: broken_promises(dict(found)),
        missed,
        told,
        early=True,
        quick=True,
    ),
)
