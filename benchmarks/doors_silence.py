"""Hermes in silence: what it costs to have satellites around that stream day and night."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import bench, doors_satellites
from benchmarks.doors_rig import TEXT_CAPTURED, Rig, a_child, a_rig
from benchmarks.ingest import broker_drops, health_of

SETTLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """So many satellites for so many seconds, held against so many seconds of rest."""

    satellites: int
    seconds: float
    rest_s: float


@dataclass(slots=True)
class _Result:
    """Filled at the end of the measured block."""

    cpu_s_per_s: dict[str, float]


def measure(plan: Plan) -> dict[str, Any]:
    """The same service idle, among silent satellites, and with one of them speaking."""
    with a_rig() as rig:
        silent = stream(rig, plan, speak=False)
        speaking = stream(rig, plan, speak=True)
        # Before the rest, for Mosquitto keeps its own figures for a minute only.
        drops = broker_drops(rig.broker)
        health = health_of(rig.peer)
        bench.say(f"{plan.rest_s:g} s of rest")
        with _used(rig) as rest:
            time.sleep(plan.rest_s)
    idle = rest.cpu_s_per_s["service"]
    return {
        "satellites": plan.satellites,
        "rest_s": plan.rest_s,
        "idle": rest.cpu_s_per_s,
        "silent": {**silent, "us_per_frame": us_per_frame(silent, idle)},
        "speaking": speaking,
        "broker_dropped": drops,
        "service_dropped": health["counters"]["dropped"],
    }


def stream(rig: Rig, plan: Plan, speak: bool) -> dict[str, Any]:
    """Have the satellites stream, one of them with sessions if it is to `speak`."""
    what = "one of them speaks" if speak else "all silent"
    bench.say(f"{plan.satellites} satellites for {plan.seconds:g} s, {what}")
    words: list[object] = ["--host", rig.broker.host, "--port", rig.broker.port]
    words += ["--satellites", plan.satellites, "--seconds", plan.seconds]
    words += ["--speak"] if speak else []
    before = len(rig.peer.payloads(TEXT_CAPTURED))
    with a_child(doors_satellites.__name__, words, rig.other_cores) as child:
        with _used(rig) as used:
            child.nod()
            sent = json.loads(child.line())
        said = sent.pop("texts")
        bench.await_count(
            lambda: len(rig.peer.payloads(TEXT_CAPTURED)) - before, len(said), SETTLE_S
        )
        child.nod()
    heard = [json.loads(payload) for payload in rig.peer.payloads(TEXT_CAPTURED)[before:]]
    return {
        **sent,
        "cpu_s_per_s": {**used.cpu_s_per_s, "satellites": sent.pop("cpu_s_per_s")},
        "said": said,
        "heard": [one["text"] for one in sorted(heard, key=lambda one: one["sessionId"])],
    }


def us_per_frame(run: dict[str, Any], idle_cpu_s_per_s: float) -> float:
    """Microseconds of the service's CPU time for each frame, beside what it uses at rest."""
    used_s = (run["cpu_s_per_s"]["service"] - idle_cpu_s_per_s) * run["seconds"]
    return float(round(used_s / run["frames"] * 1e6, 1))


def complete(data: dict[str, Any]) -> bool:
    """Whether nothing was lost and the words were right."""
    speaking = data["speaking"]
    return (
        [bench.words(text) for text in speaking["heard"]]
        == [bench.words(text) for text in speaking["said"]]
        != []
        and not data["silent"]["heard"]
        and not data["broker_dropped"]
        and not any(data["service_dropped"].values())
    )


def page(data: dict[str, Any]) -> list[str]:
    """The part of the page."""
    silent, speaking = data["silent"], data["speaking"]
    runs = {
        "at rest": {"frames": 0, "seconds": data["rest_s"], "cpu_s_per_s": data["idle"]},
        f"{data['satellites']} silent": silent,
        "one of them speaks": speaking,
    }
    rows = [
        [
            name,
            f"{run['frames'] / run['seconds']:,.0f}",
            f"{run['cpu_s_per_s']['service']:.1%}",
            f"{run['cpu_s_per_s']['broker']:.1%}",
            run.get("late_p99_ms", ""),
        ]
        for name, run in runs.items()
    ]
    right = sum(
        bench.words(one) == bench.words(other)
        for one, other in zip(speaking["heard"], speaking["said"], strict=False)
    )
    return [
        "## Hermes in silence",
        "",
        f"{data['satellites']} satellites with 62.5 frames per second each, WAV with 60 bytes of "
        "header and 512 bytes of silence. CPU time in percent of one core.",
        "",
        *bench.table(
            ["", "frames per second", "service", "broker", "satellites late, p99 ms"], rows
        ),
        "",
        f"A frame that nobody waits for costs {silent['us_per_frame']} µs of CPU time from the "
        f"socket to the bin. In the last run one satellite had {len(speaking['said'])} sessions "
        f"while the others went on; {right} of {len(speaking['said'])} came out word for word. "
        f"Messages dropped by the broker: {data['broker_dropped']}, for want of room by the "
        f"service: {sum(data['service_dropped'].values())}.",
        "",
    ]


@contextmanager
def _used(rig: Rig) -> Iterator[_Result]:
    result = _Result({})
    usage = bench.Usage({"service": rig.service, "broker": rig.broker_process})
    yield result
    result.cpu_s_per_s = usage.read()
