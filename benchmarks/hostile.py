"""Hostile bytes on the Wyoming port and the Hermes topics while others speak.

One client speaks at each door without a pause. Meanwhile somebody sends what nobody should, one
attack after the other and all at once. Measured: memory, latency, and who was answered.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from typing import Any

from benchmarks import report
from benchmarks.harness import Running, a_service, cpu_s, peak_mb, rss_mb, say, spread, two_cores
from stt_mqtt.demo.samples import SAMPLES
from tools.attacks import ATTACKS, Assault, an_attacker, unanswered
from tools.brokers import free_port
from tools.clients import TEXT_TOPIC, Hear, one_client_a_door, speaking
from tools.processes import Child, peak_rss

ALL = "all of them at once"
ANSWERED_WITHIN_S = 28.0
"""A Hermes session is answered within 25 s of its start."""
CALM_S, ATTACK_S, ALL_S, REST_S = 10.0, 6.0, 15.0, 50.0
QUICK_S = 1.5
DEFECTS = ("Traceback", "please report")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Speak before, during and after the attacks."""
    cores, port = two_cores(), free_port()
    wyoming = {"listen": [f"tcp://127.0.0.1:{port}"]}
    calm_s, all_s = (QUICK_S, 2 * QUICK_S) if options.quick else (CALM_S, ALL_S)
    plan: list[tuple[str, float, tuple[str, ...]]] = [("nothing, before", calm_s, ())]
    plan += [] if options.quick else [(name, ATTACK_S, (name,)) for name in ATTACKS]
    plan += [(ALL, all_s, tuple(ATTACKS)), ("nothing, after", calm_s, ())]
    parts = []
    with (
        a_service(TEXT_TOPIC, cores=cores, wyoming=wyoming) as running,
        one_client_a_door(running.broker, port) as clients,
    ):
        for what, seconds, attacks in plan:
            assault = Assault(what, seconds, attacks)
            attacker = an_attacker(assault, running.broker, port, cores.others) if attacks else None
            parts.append(part(running, clients, what, seconds, attacker))
        rest_s = 0.0 if options.quick else REST_S
        say(f"{rest_s:g} s of rest")
        time.sleep(rest_s)
        counters = running.health()["counters"]
        return {
            "parts": parts,
            "rest_s": rest_s,
            "rested_mb": rss_mb(running.process),
            # What the system counts as the peak lags behind what it tells of a moment.
            "peak_mb": max(peak_mb(running.process), *(one["peak_mb"] for one in parts)),
            "dropped": counters["dropped"],
            "errors": counters["errors"],
            "defects_in_log": sum(running.log.count(sign) for sign in DEFECTS),
        }


def part(
    running: Running,
    clients: Mapping[str, Hear],
    what: str,
    seconds: float,
    attacker: AbstractContextManager[Child] | None,
) -> dict[str, Any]:
    """The clients for some seconds, under attack or among themselves."""
    say(f"{seconds:g} s of speech, {what}")
    process = running.process
    recordings = [(sample.text, sample.pcm()) for sample in SAMPLES]
    before_mb, did, sessions = rss_mb(process), {}, {}
    with ExitStack() as stack:
        child = stack.enter_context(attacker) if attacker else None
        peak = stack.enter_context(peak_rss(process))
        used = cpu_s(process)
        with speaking(clients, recordings) as tallies:
            if child:
                child.go_on()
                did = json.loads(child.line())
            else:
                time.sleep(seconds)
        used = (cpu_s(process) - used) / seconds
        if child:
            child.go_on()
            sessions = unanswered(running.peer, what, did, ANSWERED_WITHIN_S)
        highest_mb = round(peak() / 1e6, 1)
    return {
        "attack": what,
        "seconds": seconds,
        "steps": sum(one["steps"] for one in did.values()),
        "sent_mb": round(sum(one["bytes"] for one in did.values()) / 1e6, 1),
        "before_mb": before_mb,
        "peak_mb": max(highest_mb, before_mb),
        "cpu_s_per_s": round(used, 2),
        "attackers_sessions": sessions,
        "asked": sum(one.asked for one in tallies.values()),
        "right": sum(one.right for one in tallies.values()),
        "latency_s": spread([wait for one in tallies.values() for wait in one.latency_s]),
        "doors": {name: asdict(one) for name, one in tallies.items()},
    }


def lost(data: Mapping[str, Any]) -> list[str]:
    """Answers that were wrong, sessions without exactly one answer, and defects."""
    found = []
    for one in data["parts"]:
        sessions = one["attackers_sessions"]
        if one["right"] < one["asked"]:
            wrong = [text for door in one["doors"].values() for text in door["wrong"]]
            found.append(f"{one['attack']}: {wrong}")
        if sessions and (sessions["missing"] or sessions["several"]):
            found.append(f"{one['attack']}: {sessions}")
    return found + ([f"{data['defects_in_log']} defects"] if data["defects_in_log"] else [])


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    keys = ("cpu_s_per_s", "before_mb", "peak_mb")
    rows = [
        [
            ATTACKS[one["attack"]][0] if one["attack"] in ATTACKS else one["attack"],
            one["steps"] or None,
            one["sent_mb"] if one["steps"] else None,
            f"{one['right']} of {one['asked']}",
            *(one["latency_s"][key] for key in ("p50", "p95")),
            *(one[key] for key in keys),
        ]
        for one in data["parts"]
    ]
    answered = [one["attackers_sessions"] for one in data["parts"] if one["attackers_sessions"]]
    sessions = sum(one["sessions"] for one in answered)
    bad = sum(one["missing"] + one["several"] for one in answered)
    header = ["attack", "steps", "MB sent", "right", "median s", "95 % s", "CPU s/s", "MB", "peak"]
    return [
        "# Hostile bytes",
        "",
        "Three clients speak without a pause, one at each door: a native satellite, a Rhasspy "
        "satellite, and Home Assistant's way over Wyoming. Meanwhile somebody else attacks, and "
        "the service has two cores. Right: answered with the very words, however they are "
        "written. Latency: from the end mark to the words. Memory: resident, at the beginning of "
        "each part and at its highest.",
        "",
        *report.table(header, rows),
        "",
        f"At its peak the service had {data['peak_mb']} MB; after {data['rest_s']:g} s of rest it "
        f"has {data['rested_mb']} MB. Of the {sessions} Hermes sessions that the attackers opened, "
        f"{sessions - bad} got exactly one answer. What the service counted as dropped: "
        f"{report.counts(data['dropped'])}; as refused: {report.counts(data['errors'])}. "
        f"Tracebacks in its log: {data['defects_in_log']}.",
    ]


if __name__ == "__main__":
    benchmark = report.Benchmark("hostile", measure, page, lost, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
