"""Hostile bytes on all doors while others speak: memory, latency, and who was answered."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import bench, speech
from benchmarks.doors_attacks import ATTACKS
from benchmarks.doors_rig import (
    Assault,
    Heard,
    Rig,
    a_rig,
    an_attacker,
    normal_clients,
    peak_rss,
    speaking,
    unanswered,
)
from benchmarks.ingest import health_of
from benchmarks.programs import Hear
from benchmarks.speech import Clip

ALL = "all of them at once"
ANSWERED_WITHIN_S = 28.0
"""A Hermes session is answered within 25 s of its start."""
DEFECTS = ("Traceback", "please report")


@dataclass(frozen=True, slots=True)
class Plan:
    """Seconds of each part; `one_by_one` False: only all attacks at once."""

    calm_s: float
    attack_s: float
    all_s: float
    rest_s: float
    one_by_one: bool


@dataclass(frozen=True, slots=True)
class _House:
    rig: Rig
    clients: Mapping[str, Hear]
    clips: Sequence[Clip]


def measure(plan: Plan) -> dict[str, Any]:
    """Speak before, during and after the attacks."""
    with ExitStack() as stack:
        rig = stack.enter_context(a_rig())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clients = stack.enter_context(normal_clients(rig.broker, rig.wyoming_port))
        house = _House(rig, clients, speech.samples(folder))
        before = calm(house, plan.calm_s, "before")
        groups = {name: (name,) for name in ATTACKS} if plan.one_by_one else {}
        phases = [
            attacked(house, Assault(name, names, plan.attack_s)) for name, names in groups.items()
        ]
        phases.append(attacked(house, Assault(ALL, tuple(ATTACKS), plan.all_s)))
        after = calm(house, plan.calm_s, "after")
        bench.say(f"{plan.rest_s:g} s of rest")
        time.sleep(plan.rest_s)
        log = rig.log.read_text()
        health = health_of(rig.peer)
        return {
            "before": before,
            "phases": phases,
            "after": after,
            "rest_s": plan.rest_s,
            "rested_mb": bench.mb(rig.service.memory_info().rss),
            # What the system counts as the peak lags behind what it tells of a moment.
            "peak_mb": max(
                bench.mb(bench.peak_bytes(rig.service)),
                *(part["peak_mb"] for part in (before, *phases, after)),
            ),
            "counters": health["counters"],
            "defects_in_log": sum(log.count(sign) for sign in DEFECTS),
        }


def calm(house: _House, seconds: float, when: str) -> dict[str, Any]:
    """The clients among themselves."""
    bench.say(f"{seconds:g} s of speech {when} the attacks")
    process = house.rig.service
    cpu = bench.cpu_s(process)
    with peak_rss(process) as peak:
        with speaking(house.clients, house.clips) as heard:
            time.sleep(seconds)
        used = (bench.cpu_s(process) - cpu) / seconds
        return {"cpu_s_per_s": round(used, 2), "peak_mb": bench.mb(peak()), **account(heard)}


def attacked(house: _House, assault: Assault) -> dict[str, Any]:
    """The clients under attack."""
    bench.say(f"{assault.seconds:g} s of {assault.run}")
    rig = house.rig
    process, before = rig.service, rig.service.memory_info().rss
    with an_attacker(assault, rig.broker, rig.wyoming_port, rig.other_cores) as attacker:
        cpu = bench.cpu_s(process)
        with peak_rss(process) as peak:
            with speaking(house.clients, house.clips) as heard:
                attacker.nod()
                report = json.loads(attacker.line())
            used = (bench.cpu_s(process) - cpu) / assault.seconds
            attacker.nod()
            sessions = unanswered(rig.peer, assault.run, report, ANSWERED_WITHIN_S)
            highest = peak()
    return {
        "attack": assault.run,
        "seconds": assault.seconds,
        "steps": sum(did["steps"] for did in report.values()),
        "sent_mb": bench.mb(sum(did["bytes"] for did in report.values())),
        "before_mb": bench.mb(before),
        "peak_mb": bench.mb(max(highest, before)),
        "cpu_s_per_s": round(used, 2),
        "attackers_sessions": sessions,
        **account(heard),
    }


def account(heard: Mapping[str, Heard]) -> dict[str, Any]:
    """How the clients fared: together, and by door."""
    waits = [wait for one in heard.values() for wait in one.latency_s]
    return {
        "asked": sum(one.asked for one in heard.values()),
        "right": sum(one.right for one in heard.values()),
        "latency_s": {"p50": bench.percentile(waits, 0.5), "p95": bench.percentile(waits, 0.95)},
        "doors": {name: asdict(one) for name, one in heard.items()},
    }


def complete(data: Mapping[str, Any]) -> bool:
    """Whether everybody was answered with the right words, and the attackers' sessions too."""
    parts = [data["before"], *data["phases"], data["after"]]
    sessions = [phase["attackers_sessions"] for phase in data["phases"]]
    return (
        all(part["right"] == part["asked"] for part in parts)
        and not any(one["missing"] or one["several"] for one in sessions)
        and not data["defects_in_log"]
    )


def page(data: Mapping[str, Any]) -> list[str]:
    """The part of the page."""
    before, after = data["before"], data["after"]
    rows = [_row("nothing, before", before), *map(_attack_row, data["phases"])]
    rows.append(_row("nothing, after", after))
    answered = [phase["attackers_sessions"] for phase in data["phases"]]
    sessions = sum(one["sessions"] for one in answered)
    bad = sum(one["missing"] + one["several"] for one in answered)
    dropped = ", ".join(f"{name} {count}" for name, count in _counted(data["counters"]["dropped"]))
    errors = ", ".join(f"{name} {count}" for name, count in _counted(data["counters"]["errors"]))
    return [
        "## Hostile bytes",
        "",
        "Three clients speak without a pause, one through each door: a native satellite, a Rhasspy "
        "satellite, and Home Assistant's way over Wyoming. Meanwhile somebody else sends what "
        f"nobody should, each for {data['phases'][0]['seconds']:g} s, then all together for "
        f"{data['phases'][-1]['seconds']:g} s. Right: answered, with the very words, "
        "however they are written. Latency: from the end mark to the words, of all three. Memory: "
        "resident, at the beginning of each part and at its highest.",
        "",
        *bench.table(
            [
                "attack",
                "steps",
                "MB sent",
                "right",
                "p50 s",
                "p95 s",
                "CPU s/s",
                "memory MB",
                "peak MB",
            ],
            rows,
        ),
        "",
        f"At its peak the service had {data['peak_mb']} MB; after {data['rest_s']:g} s of rest it "
        f"has {data['rested_mb']} MB. Of the {sessions} Hermes sessions that the attackers opened, "
        f"{sessions - bad} got exactly one answer. What the service counted as dropped: {dropped}; "
        f"as refused: {errors}. Tracebacks in its log: {data['defects_in_log']}.",
        "",
    ]


def _attack_row(phase: Mapping[str, Any]) -> list[object]:
    plan = ATTACKS.get(phase["attack"])
    name = phase["attack"] if plan is None else plan.what
    return _row(name, phase)


def _row(name: str, part: Mapping[str, Any]) -> list[object]:
    wait = part["latency_s"]
    right = f"{part['right']} of {part['asked']}"
    beginning = [name, part.get("steps", ""), part.get("sent_mb", ""), right]
    used = [part["cpu_s_per_s"], part.get("before_mb", ""), part["peak_mb"]]
    return [*beginning, *(wait["p50"], wait["p95"]), *used]


def _counted(counts: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    return ((name, count) for name, count in counts.items() if count)
