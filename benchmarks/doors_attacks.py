"""Hostile bytes on the doors, in a process of their own: every attack in a thread, all at once.

Prints `ready`, begins after a line on standard input, and goes on for as long as it was told.
Then it ends the Hermes sessions that it opened and prints one line of JSON about what it did. What
it holds open it lets go after another line.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass

from benchmarks import doors_attacks_hermes as hermes
from benchmarks import doors_attacks_wyoming as wyoming
from benchmarks.doors_target import Attack, Steps, Target

CALM_S = 0.5
"""How long after a failure an attack tries again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An attack, in words, and the seconds between two of its steps."""

    what: str
    begin: Callable[[Target], Steps]
    pause_s: float


ATTACKS = {
    "claim": Plan("a payload that claims 10 GB, and data for it", wyoming.claims_10_gb, 0.005),
    "long_line": Plan("1 MB without a line end", wyoming.no_line_end, 0.02),
    "bad_json": Plan("headers that are no event", wyoming.bad_headers, 0.005),
    "bad_events": Plan("events with impossible fields", wyoming.bad_events, 0.005),
    "halves": Plan("events cut off at any byte", wyoming.half_events, 0.005),
    "silent": Plan("200 connections that say nothing", wyoming.silent_connections, 0.005),
    "deaf": Plan("questions whose answers are never read", wyoming.never_reads, 0.002),
    "endless": Plan("audio without an end", wyoming.endless_audio, 0.005),
    "hermes_json": Plan("bad JSON on every Hermes topic", hermes.bad_json, 0.005),
    "hermes_ids": Plan("huge and odd ids", hermes.odd_ids, 0.01),
    "hermes_wav": Plan("junk WAV in open sessions", hermes.junk_wav, 0.01),
    "hermes_large": Plan("frames of 3 MB", hermes.large_frames, 0.2),
    "hermes_sessions": Plan("2,000 sessions of 2,000 sites", hermes.many_sessions, 0.001),
}
"""By name. The pauses make it a stream of nonsense, not a contest for the CPU."""


@dataclass(slots=True)
class Report:
    """What an attack did."""

    steps: int = 0
    bytes: int = 0
    failures: int = 0
    """Times that the server ended it: a connection closed or refused."""
    sessions: int = 0
    """Hermes sessions that must be answered, each once."""


def press(name: str, target: Target, report: Report, until: float) -> None:
    """Go on with one attack until the clock says `until`."""
    plan = ATTACKS[name]
    while time.monotonic() < until:
        try:
            with closing(plan.begin(target)) as steps:
                for sent in steps:
                    report.steps += 1
                    report.bytes += sent
                    if time.monotonic() >= until:
                        return
                    time.sleep(plan.pause_s)
        except OSError:
            report.failures += 1
            time.sleep(CALM_S)


def main(options: argparse.Namespace) -> None:
    """Attack, report, let go."""
    names = options.attacks or list(ATTACKS)
    with ExitStack() as held:
        targets = {
            name: Target(options.host, options.port, options.wyoming, Attack(name, options.run))
            for name in names
        }
        reports = {name: Report() for name in names}
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.monotonic() + options.seconds
        threads = [
            threading.Thread(target=press, args=(name, targets[name], reports[name], until))
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, target in targets.items():
            held.callback(target.let_go)
            with suppress(OSError):
                hermes.stop_sessions(target)
            reports[name].sessions = len(target.attack.sessions)
        print(json.dumps({name: asdict(report) for name, report in reports.items()}), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--host", required=True, help="of the MQTT broker")
    arguments.add_argument("--port", type=int, required=True, help="of the MQTT broker")
    arguments.add_argument("--wyoming", type=int, required=True, help="port of the Wyoming door")
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--run", required=True, help="makes the names of sessions unique")
    arguments.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    main(arguments.parse_args())
