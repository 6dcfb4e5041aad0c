"""Floods of good messages while two rooms speak: who is answered, how late, in how much memory.

Three native satellites and a Wyoming client speak one command after the other, in real time.
Meanwhile others send more than the service can take: each flood by itself, then all at once. A
ledger says how each of the flood's own utterances ended.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict
from typing import Any

import psutil

from benchmarks import report
from benchmarks.harness import Running, a_service, peak_mb, rss_mb, say, spread, two_cores
from stt_mqtt.demo.samples import SAMPLES
from tools.brokers import free_port
from tools.clients import Hear, NativeClient, ask_wyoming, speaking
from tools.floods import FLOODS, a_flood, outcomes
from tools.processes import Child, peak_rss

ALL = "all of them at once"
CALM_S, FLOOD_S, ALL_S = 30.0, 20.0, 30.0
QUICK_S = 2.0
QUICK = ("connections", "hoards", "noise")
ANSWERED_WITHIN_S = 90.0
"""Time for the last outcome of a flood: the longest utterance, its wait and its transcription."""
ROOMS = ("kitchen", "bedroom", "study")
DEFECTS = ("Traceback", "please report")
KEEPS_ALL = ("max_queued_messages 0",)
"""Otherwise the broker drops what comes faster than a program on a busy machine can take it."""
FILTER = "stt/+/result"
CPU_OF = ("service", "event loop", "broker", "rooms", "flood")
MISSING = ("none", "several", "closed", "reset")
"""Ends of an utterance that nobody may have."""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Speak before, during and after the floods."""
    cores, port = two_cores(), free_port()
    names = list(QUICK if options.quick else options.only or FLOODS)
    calm_s, flood_s, all_s = (QUICK_S,) * 3 if options.quick else (CALM_S, FLOOD_S, ALL_S)
    plan: list[tuple[str, float, list[str]]] = [("nothing, before", calm_s, [])]
    plan += [] if options.quick else [(name, flood_s, [name]) for name in names]
    plan += [] if options.only else [(ALL, all_s, names)]
    plan += [("nothing, after", calm_s, [])]
    wyoming = {"listen": [f"tcp://127.0.0.1:{port}"]}
    parts: list[dict[str, Any]] = []
    with (
        a_service(
            FILTER,
            cores=cores,
            lines=KEEPS_ALL,
            wyoming=wyoming,
            devices={room: {} for room in ROOMS},
        ) as running,
        ExitStack() as stack,
    ):
        clients: dict[str, Hear] = {"wyoming": lambda pcm: ask_wyoming(port, pcm, real_time=True)}
        for room in ROOMS:
            client = NativeClient(running.broker, room, real_time=True)
            clients[room] = stack.enter_context(closing(client)).hear
        for what, seconds, floods in plan:
            run = f"r{len(parts)}"
            crowd = (
                a_flood(run, seconds, floods, (running.broker, port), cores.others)
                if floods
                else None
            )
            with crowd or nullcontext() as child:
                parts.append(part(running, clients, what, seconds, (run, child)))
        counters = running.health()["counters"]
        return {
            "parts": parts,
            "peak_mb": max(peak_mb(running.process), *(one["peak_mb"] for one in parts)),
            "buffered_bytes": running.health()["buffered_bytes"],
            "dropped": counters["dropped"],
            "errors": counters["errors"],
            "defects_in_log": sum(running.log.count(sign) for sign in DEFECTS),
        }


def part(
    running: Running,
    clients: Mapping[str, Hear],
    what: str,
    seconds: float,
    crowd: tuple[str, Child | None],
) -> dict[str, Any]:
    """The quiet rooms for some seconds, in a flood or among themselves."""
    say(f"{seconds:g} s of speech, {what}")
    process, (run, child) = running.process, crowd
    recordings = [(sample.text, sample.pcm()) for sample in SAMPLES]
    before_mb = rss_mb(process)
    did: dict[str, Any] = {}
    ended: dict[str, Counter[str]] = {}
    busy = Cpu(running, child)
    with peak_rss(process) as peak:
        with speaking(clients, recordings) as tallies:
            if child is None:
                time.sleep(seconds)
            else:
                child.go_on()
                child.line()
        cpu = busy.read()
        if child is not None:
            did = json.loads(child.line())
            ended = settled(running, run, did)
        highest_mb = round(peak() / 1e6, 1)
    return {
        "flood": what,
        "seconds": seconds,
        "steps": sum(one["steps"] for one in did.values()),
        "sent_mb": round(sum(one["bytes"] for one in did.values()) / 1e6, 1),
        "before_mb": before_mb,
        "peak_mb": max(highest_mb, before_mb),
        "after_mb": rss_mb(process),
        "asked": sum(one.asked for one in tallies.values()),
        "right": sum(one.right for one in tallies.values()),
        "latency_s": {
            "native": spread([wait for room in ROOMS for wait in tallies[room].latency_s]),
            "wyoming": spread(tallies["wyoming"].latency_s),
        },
        "doors": {name: asdict(one) for name, one in tallies.items()},
        "cpu_s_per_s": cpu,
        "did": did,
        "ended": {name: dict(counter) for name, counter in ended.items()},
    }


class Cpu:
    """Who uses the cores, from the making of this to `read`: they share them."""

    def __init__(self, running: Running, flood: Child | None) -> None:
        self._started = time.monotonic()
        self._of = {
            "service": running.process,
            "broker": running.broker_process,
            "rooms": psutil.Process(),
        }
        if flood is not None:
            self._of["flood"] = psutil.Process(flood.process.pid)
        self._before = self._used()

    def read(self) -> dict[str, float]:
        """CPU seconds per second, by process, and of the service's event loop by itself."""
        elapsed_s = time.monotonic() - self._started
        return {
            name: round((used - self._before[name]) / elapsed_s, 2)
            for name, used in self._used().items()
        }

    def _used(self) -> dict[str, float]:
        used = {name: sum(one.cpu_times()[:2]) for name, one in self._of.items()}
        service = self._of["service"]
        loop = next(one for one in service.threads() if one.id == service.pid)
        return {**used, "event loop": loop.user_time + loop.system_time}


def settled(running: Running, run: str, did: Mapping[str, Any]) -> dict[str, Counter[str]]:
    """How the utterances of a flood ended, as soon as all have, or after some time."""
    deadline = time.monotonic() + ANSWERED_WITHIN_S
    while True:
        results = [result for _, result in running.peer.results()]
        ended = outcomes(results, run, did)
        if not any(one["none"] for one in ended.values()) or time.monotonic() > deadline:
            return ended
        time.sleep(0.5)


def lost(data: Mapping[str, Any]) -> list[str]:
    """Utterances of a flood without exactly one outcome, wrong words, and defects."""
    found = []
    for one in data["parts"]:
        wrong = [text for door in one["doors"].values() for text in door["wrong"]]
        spoiled = [text for text in wrong if not text.endswith((": overloaded", ": expired"))]
        if spoiled:
            found.append(f"{one['flood']}: {spoiled}")
        for name, ended in one["ended"].items():
            missing = {code: ended[code] for code in MISSING if ended.get(code)}
            # A start that the full inbox dropped opened nothing, and is answered without its id.
            if sum(missing.values()) > data["dropped"]["inbox_full"]:
                found.append(f"{one['flood']}: {name}: {missing}")
    return found + ([f"{data['defects_in_log']} defects"] if data["defects_in_log"] else [])


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    calm = data["parts"][0]["latency_s"]
    rows, ends = [], []
    for one in data["parts"]:
        words = FLOODS[one["flood"]][0] if one["flood"] in FLOODS else one["flood"]
        row = [words, one["sent_mb"] if one["steps"] else None, f"{one['right']} of {one['asked']}"]
        for door, spread_s in one["latency_s"].items():
            row += [spread_s["p50"], spread_s["p95"], factor(spread_s["p95"], calm[door]["p95"])]
        row += [one["before_mb"], one["peak_mb"], one["after_mb"]]
        rows.append(row + [one["cpu_s_per_s"].get(name) for name in CPU_OF])
        for name, ended in one["ended"].items():
            ends.append([words, FLOODS[name][0], report.counts(ended) if ended else None])
    header = ["flood", "MB sent", "right"]
    header += [f"{door} {key}" for door in calm for key in ("median s", "95 % s", "factor")]
    header += ["MB", "peak", "after", *(f"CPU {name}" for name in CPU_OF)]
    return [
        "# Floods",
        "",
        "Four rooms speak one command after the other in real time: three native satellites that "
        "have an entry under `devices:`, and a Wyoming client. Meanwhile others send more than the "
        "service can take; their connections come from another address. The service has two cores. "
        "Latency: from the end mark to the words. Factor: the 95th percentile to that before the "
        "floods. Memory: resident in MB. CPU: seconds per second of the service, its event loop, "
        "the broker, the rooms, and those who flood. On a machine with two cores all share them.",
        "",
        "In each part, all rooms begin their first command at the same moment. The 95th percentile "
        "is mostly that of these commands. In calm times, a pause is transcribed before the end "
        "mark comes, and often nothing is left to do then. So the factor is large where the calm "
        "latency is short.",
        "",
        *report.table(header, rows),
        "",
        "How the flood's own utterances ended. `none` and `several` must not be.",
        "",
        *report.table(["part", "flood", "ended"], ends),
        "",
        f"At its peak the service had {data['peak_mb']} MB. Audio that it still holds at the end: "
        f"{data['buffered_bytes']} bytes. What it counted as dropped: "
        f"{report.counts(data['dropped'])}; as refused: {report.counts(data['errors'])}. "
        f"Tracebacks in its log: {data['defects_in_log']}.",
    ]


def factor(value: float | None, calm: float | None) -> str | None:
    """How many times the calm value it is."""
    return None if value is None or not calm else f"{value / calm:.1f}"


if __name__ == "__main__":
    benchmark = report.Benchmark("floods", measure, page, lost, needs_speech=False)
    arguments = report.parser(__doc__)
    arguments.add_argument(
        "--only",
        nargs="+",
        metavar="FLOOD",
        choices=FLOODS,
        help=f"only these: {', '.join(FLOODS)}",
    )
    sys.exit(report.run(benchmark, arguments))
