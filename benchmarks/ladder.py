"""What the load ladder does, in simulated time: a day, a burst of rooms, a slow machine.

The load meter and the choice are those of the service; the queue is a simple one, first come,
first served, without batches. Nothing is transcribed: the costs of the rungs are constants.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.harness import say, spread
from benchmarks.report import Curve, Panel
from stt_mqtt.engine import ladder
from stt_mqtt.engine.load_meter import LoadMeter
from stt_mqtt.rungs import Rung

RUNGS = (
    ("base, beam 5", "base", 5, 0.246, 0.097, 280.0),
    ("tiny.en, beam 5", "tiny.en", 5, 0.070, 0.054, 170.0),
    ("tiny.en, beam 1", "tiny.en", 1, 0.102, 0.033, 170.0),
)
"""Name, model, beam, seconds of work per utterance and per second of audio, and MB.

Measured on a two-core machine, two workers of one thread; what they cost elsewhere differs.
"""
NAMES = [name for name, *_ in RUNGS]
WORKERS = 2
SLOW = 6.0
LOADING_S = 1.0
"""Time until another model is loaded; the present one goes on working meanwhile."""
POLICY = ladder.Policy(promised_wait_s=1.0, min_stay_s=60.0)
TICK_S = 1.0
"""The choice is made at every arrival, and this often."""
SEED = 3

HOUR_S = 3600.0
ROOMS = 4
COMMANDS_PER_HOUR = (
    *(0.1,) * 6, 2.0, 12.0, 10.0, *(2.0,) * 3,
    5.0, *(2.0,) * 4, 8.0, 14.0, 14.0, 10.0, 8.0, 4.0, 1.0,
)  # fmt: skip
"""Of one room, by the hour of the day: a morning and an evening with peaks."""
TALK = 0.6
"""Share of commands that another one follows, from any room, within some seconds."""
BURST_ROOMS, BURSTS, BURST_EVERY_S = 20, 30, 6.0

ORANGE, GREY, BLUE = "#c2410c", "#94a3b8", "#1d4ed8"
WITH, BEST_ONLY = "ladder", f"{NAMES[0]}, always"
BINS = 144
"""Of the plot of the load."""


class Spoken(NamedTuple):
    """An utterance: when its end arrives, and its length, in seconds."""

    at: float
    audio_s: float


@dataclass(slots=True)
class Machine:
    """Workers, what waits for them, and the rung that they use; each wait, its rung, the moves."""

    costs: list[ladder.RungCost]
    rung: int
    free_at: list[float] = field(default_factory=lambda: [0.0] * WORKERS)
    waiting: list[Spoken] = field(default_factory=list)
    next_rung: tuple[float, int] | None = None
    waits: list[float] = field(default_factory=list)
    rungs: list[int] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)

    def work_until(self, now: float) -> None:
        """Start all that can be started before `now`."""
        while self.waiting and (start := max(self.free_at[0], self.waiting[0].at)) < now:
            if self.next_rung is not None and self.next_rung[0] <= start:
                self.rung, self.next_rung = self.next_rung[1], None
            spoken = self.waiting.pop(0)
            work_s = self.costs[self.rung].work_s(1, spoken.audio_s)
            heapq.heapreplace(self.free_at, start + work_s)
            self.waits.append(start - spoken.at)
            self.rungs.append(self.rung)


def simulate(
    speech: Sequence[Spoken], lasts_s: float, slower: float = 1.0, fixed: int | None = None
) -> Machine:
    """So many seconds of speech with the ladder, or with one rung of it, on a slower machine."""
    costs = [
        ladder.RungCost(each_s * slower, per_s * slower, mb) for *_, each_s, per_s, mb in RUNGS
    ]
    rungs = [Rung(name, model, beam, "int8") for name, model, beam, *_ in RUNGS]
    candidates = [ladder.Candidate(*one) for one in zip(rungs, costs, strict=True)]
    machine, meter = Machine(costs, fixed or 0), LoadMeter()
    state = ladder.LadderState(machine.rung, -POLICY.min_stay_s)
    ticks = ((number * TICK_S, None) for number in range(int(lasts_s / TICK_S)))
    arrivals = ((spoken.at, spoken) for spoken in speech)
    for now, spoken in heapq.merge(ticks, arrivals, key=itemgetter(0)):
        machine.work_until(now)
        if spoken is not None:
            meter.note(now, spoken.audio_s)
            machine.waiting.append(spoken)
        if fixed is not None:
            continue
        waiting_s = sum(one.audio_s for one in machine.waiting)
        load = ladder.Load(meter.read(now), len(machine.waiting), waiting_s, WORKERS)
        choice = ladder.choose(candidates, POLICY, state, load, now)
        if choice.index != state.index:
            same_model = ladder.shares_model(rungs[choice.index], rungs[state.index])
            machine.next_rung = (now + (0.0 if same_model else LOADING_S), choice.index)
            name = NAMES[choice.index]
            machine.moves.append({"at_s": round(now, 1), "to": name, "reason": choice.reason})
        state = state.after(choice, now, POLICY)
    machine.work_until(float("inf"))
    return machine


def household(hours: float) -> list[Spoken]:
    """Commands of four rooms in a day that begins at midnight; fewer hours begin at 18:00."""
    chance = random.Random(SEED)
    begin = 0.0 if hours >= 24 else 18.0
    most = max(COMMANDS_PER_HOUR)
    spoken: list[Spoken] = []
    now = 0.0
    while (now := now + chance.expovariate(most * ROOMS / HOUR_S)) < hours * HOUR_S:
        if chance.random() * most > COMMANDS_PER_HOUR[int(begin + now / HOUR_S) % 24]:
            continue
        at = now
        spoken.append(_command(at, chance))
        while chance.random() < TALK:
            at += chance.expovariate(1 / 4.0)
            spoken.append(_command(at, chance))
    return sorted(spoken, key=attrgetter("at"))


def burst() -> list[Spoken]:
    """Twenty rooms that speak at once, again and again for three minutes."""
    chance = random.Random(SEED)
    spoken = [
        _command(60.0 + BURST_EVERY_S * number + chance.random(), chance)
        for number in range(BURSTS)
        for _ in range(BURST_ROOMS)
    ]
    return sorted(spoken, key=attrgetter("at"))


def _command(at: float, chance: random.Random) -> Spoken:
    return Spoken(at, min(10.0, max(1.0, chance.gauss(3.0, 1.0))))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every scenario with the ladder and with each rung held.

    The day is two hours of an evening in a quick run.
    """
    hours = 2.0 if options.quick else 24.0
    day = household(hours)
    told = []
    for title, speech, lasts_s, slower in (
        ("Household, four rooms", day, hours * HOUR_S, 1.0),
        ("20 rooms at once, every 6 s for 3 minutes", burst(), 480.0, 1.0),
        ("The household, six times slower", day, hours * HOUR_S, SLOW),
    ):
        say(f"{title}: {len(speech)} utterances")
        runs = {WITH: simulate(speech, lasts_s, slower)}
        for number, name in enumerate(NAMES):
            runs[f"{name}, always"] = simulate(speech, lasts_s, slower, number)
        told.append(
            {
                "title": title,
                "utterances": len(speech),
                "lasts_s": lasts_s,
                "runs": {how: summary(run) for how, run in runs.items()},
                "at_s": [round(spoken.at, 1) for spoken in speech],
                "waits_s": {
                    how: [round(wait, 2) for wait in runs[how].waits] for how in (WITH, BEST_ONLY)
                },
            }
        )
    return {"seed": SEED, "scenarios": told}


def summary(run: Machine) -> dict[str, Any]:
    """What the table says about one run."""
    count = len(run.waits)
    over = sum(wait > POLICY.promised_wait_s for wait in run.waits)
    return {
        "utterances": count,
        "wait_s": spread(run.waits),
        "over_the_promise": round(over / count, 4),
        "rungs": {name: round(run.rungs.count(n) / count, 4) for n, name in enumerate(NAMES)},
        "moves": run.moves,
    }


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    costs = "; ".join(
        f"{name} {each_s:g} s + {per_audio_s:g} s per s of audio"
        for name, _, _, each_s, per_audio_s, _ in RUNGS
    )
    lines = [
        "# The load ladder, simulated",
        "",
        "The load meter and the choice are those of the service; the queue is a simple one, first "
        "come, first served, without batches. Nothing is transcribed: the costs of the rungs are "
        "constants.",
        "",
        f"Promised wait {POLICY.promised_wait_s:g} s, minimum stay {POLICY.min_stay_s:g} s, "
        f"{WORKERS} workers, {LOADING_S:g} s to load a model. Work per utterance, measured on a "
        f"two-core machine: {costs}. The wait is the time between the end of an utterance and its "
        "turn.",
        "",
        "![load, rung and wait](ladder.png)",
    ]
    header = ["", "median wait", "95 % wait", "longest", "over the promise", *NAMES, "moves"]
    for scenario in data["scenarios"]:
        rows = [
            [
                how,
                *(f"{wait_s:.2f} s" for wait_s in run["wait_s"].values()),
                f"{run['over_the_promise']:.1%}",
                *(f"{share:.1%}" for share in run["rungs"].values()),
                len(run["moves"]),
            ]
            for how, run in scenario["runs"].items()
        ]
        title = f"{scenario['title']}, {scenario['utterances']} utterances"
        lines += ["", f"## {title}", "", *report.table(header, rows)]
        moves = scenario["runs"][WITH]["moves"]
        if moves:
            lines += ["", f"The first moves ({len(moves)} in all):", ""]
            lines += [f"- at {move['at_s']:.0f} s {move['reason']}" for move in moves[:4]]
    return lines


def draw(data: Mapping[str, Any], folder: Path) -> None:
    """Load, rung and wait of each scenario: with the ladder, and with its best rung only."""
    columns = [panels(scenario) for scenario in data["scenarios"]]
    report.plot(folder / "ladder.png", "The load ladder in simulated time", columns)


def panels(scenario: Mapping[str, Any]) -> list[Panel]:
    """The plots of one scenario, one below the other."""
    unit_s, unit = (HOUR_S, "hours") if scenario["lasts_s"] > HOUR_S else (60.0, "minutes")
    step_s = scenario["lasts_s"] / BINS
    bins = Counter(int(at_s / step_s) for at_s in scenario["at_s"])
    load = [60 * bins[number] / step_s for number in range(BINS)]
    times = [number * step_s / unit_s for number in range(BINS)]
    moves = [(0.0, 0)]
    moves += [(one["at_s"], NAMES.index(one["to"])) for one in scenario["runs"][WITH]["moves"]]
    moves.append((scenario["lasts_s"], moves[-1][1]))
    moved = [at_s / unit_s for at_s, _ in moves]
    rungs = [-float(rung) for _, rung in moves]
    at, waits = [at_s / unit_s for at_s in scenario["at_s"]], scenario["waits_s"]
    return [
        Panel("utterances per minute", [Curve(times, load, BLUE, style="step")],
              title=scenario["title"]),
        Panel("rung", [Curve(moved, rungs, ORANGE, style="step")],
              ticks={-float(number): name for number, name in enumerate(NAMES)}),
        Panel("wait of an utterance in s",
              [Curve(at, waits[BEST_ONLY], GREY, BEST_ONLY, "dots"),
               Curve(at, waits[WITH], ORANGE, "with the ladder", "dots")],
              x_label=f"time in {unit}", promised=POLICY.promised_wait_s),
    ]  # fmt: skip


if __name__ == "__main__":
    benchmark = report.Benchmark("ladder", measure, page, draw=draw, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
