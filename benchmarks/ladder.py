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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.harness import say, spread
from benchmarks.report import Curve, Panel
from stt_mqtt.engine.ladder import (
    Candidate,
    LadderState,
    Load,
    Policy,
    RungCost,
    choose,
    shares_model,
)
from stt_mqtt.engine.load_meter import LoadMeter
from stt_mqtt.types import Rung

# Measured on a two-core machine, two workers of one thread; what they cost elsewhere differs.
BASE = RungCost(utterance_s=0.246, per_audio_s=0.097, memory_mb=280.0)
TINY = RungCost(utterance_s=0.070, per_audio_s=0.054, memory_mb=170.0)
TINY_GREEDY = RungCost(utterance_s=0.102, per_audio_s=0.033, memory_mb=170.0)
LADDER = (
    Candidate(Rung("base, beam 5", "base", 5, "int8"), BASE),
    Candidate(Rung("tiny.en, beam 5", "tiny.en", 5, "int8"), TINY),
    Candidate(Rung("tiny.en, beam 1", "tiny.en", 1, "int8"), TINY_GREEDY),
)
WORKERS = 2
SLOW = 6.0
LOADING_S = 1.0
"""Time until another model is loaded; the present one goes on working meanwhile."""
POLICY = Policy(promised_wait_s=1.0, min_stay_s=60.0)
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
BURST_ROOMS = 20
BURST_EVERY_S = 6.0
BURST_LASTS_S = 180.0

ORANGE, GREY, BLUE = "#c2410c", "#94a3b8", "#1d4ed8"
WITH, BEST_ONLY = "ladder", f"{LADDER[0].name}, always"
BINS = 144
"""Of the plot of the load."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """An utterance: when its end arrives, and its length, in seconds."""

    at: float
    audio_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """Speech, and the ladder with its costs on the machine that hears it."""

    title: str
    spoken: Sequence[Spoken]
    ladder: tuple[Candidate, ...]
    lasts_s: float


@dataclass(slots=True)
class Run:
    """What became of a scenario: by utterance its wait and rung, and the moves."""

    waits: list[float] = field(default_factory=list)
    rungs: list[int] = field(default_factory=list)
    moves: list[tuple[float, int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Machine:
    """Workers, what waits for them, and the rung that they work on."""

    ladder: tuple[Candidate, ...]
    rung: int
    run: Run
    free_at: list[float] = field(default_factory=lambda: [0.0] * WORKERS)
    waiting: list[Spoken] = field(default_factory=list)
    next_rung: tuple[float, int] | None = None

    def work_until(self, now: float) -> None:
        """Start all that can be started before `now`."""
        while self.waiting and (start := max(self.free_at[0], self.waiting[0].at)) < now:
            if self.next_rung is not None and self.next_rung[0] <= start:
                self.rung, self.next_rung = self.next_rung[1], None
            cost = self.ladder[self.rung].cost
            assert cost is not None
            spoken = self.waiting.pop(0)
            heapq.heapreplace(self.free_at, start + cost.work_s(1, spoken.audio_s))
            self.run.waits.append(start - spoken.at)
            self.run.rungs.append(self.rung)

    def change_to(self, rung: int, now: float) -> None:
        """Work on another rung as soon as it is loaded."""
        leaving = self.rung if self.next_rung is None else self.next_rung[1]
        same_model = shares_model(self.ladder[rung].rung, self.ladder[leaving].rung)
        self.next_rung = (now + (0.0 if same_model else LOADING_S), rung)

    def load(self, meter: LoadMeter, now: float) -> Load:
        """What the choice goes by."""
        waiting_audio_s = sum(spoken.audio_s for spoken in self.waiting)
        return Load(meter.read(now), len(self.waiting), waiting_audio_s, WORKERS)


def simulate(scenario: Scenario, fixed: int | None = None) -> Run:
    """The scenario with the ladder, or with one rung of it."""
    run = Run()
    machine = Machine(scenario.ladder, fixed or 0, run)
    meter = LoadMeter()
    state = LadderState(machine.rung, -POLICY.min_stay_s)
    for now, spoken in _events(scenario):
        machine.work_until(now)
        if spoken is not None:
            meter.note(now, spoken.audio_s)
            machine.waiting.append(spoken)
            machine.work_until(now)
        if fixed is None:
            choice = choose(scenario.ladder, POLICY, state, machine.load(meter, now), now)
            if choice.index != state.index:
                machine.change_to(choice.index, now)
                run.moves.append((now, choice.index, choice.reason))
            state = state.after(choice, now, POLICY)
    machine.work_until(float("inf"))
    return run


def household(hours: float, seed: int = SEED) -> list[Spoken]:
    """Commands of four rooms in a day that begins at midnight; the first `hours` of it.

    Quick runs begin in the evening.
    """
    chance = random.Random(seed)
    begin = 0.0 if hours >= 24 else 18.0
    most = max(COMMANDS_PER_HOUR) * ROOMS / HOUR_S
    spoken: list[Spoken] = []
    now = 0.0
    while (now := now + chance.expovariate(most)) < hours * HOUR_S:
        hour = int(begin + now / HOUR_S) % 24
        if chance.random() * max(COMMANDS_PER_HOUR) > COMMANDS_PER_HOUR[hour]:
            continue
        at = now
        spoken.append(_command(at, chance))
        while chance.random() < TALK:
            at += chance.expovariate(1 / 4.0)
            spoken.append(_command(at, chance))
    return sorted(spoken, key=lambda command: command.at)


def burst(seed: int = SEED) -> list[Spoken]:
    """Twenty rooms that speak at once, again and again for three minutes."""
    chance = random.Random(seed)
    rounds = int(BURST_LASTS_S / BURST_EVERY_S)
    spoken = [
        _command(60.0 + BURST_EVERY_S * number + chance.random(), chance)
        for number in range(rounds)
        for _ in range(BURST_ROOMS)
    ]
    return sorted(spoken, key=lambda command: command.at)


def scenarios(quick: bool) -> list[Scenario]:
    """The three of the page; the day is two hours of an evening in a quick run."""
    hours = 2.0 if quick else 24.0
    day = household(hours)
    slow = tuple(replace(candidate, cost=_slower(candidate.cost)) for candidate in LADDER)
    return [
        Scenario("Household, four rooms", day, LADDER, hours * HOUR_S),
        Scenario("20 rooms at once, every 6 s for 3 minutes", burst(), LADDER, 480.0),
        Scenario("The household, six times slower", day, slow, hours * HOUR_S),
    ]


def summary(run: Run, ladder: Sequence[Candidate]) -> dict[str, Any]:
    """What the table says about one run."""
    count = len(run.waits)
    over = sum(wait > POLICY.promised_wait_s for wait in run.waits)
    return {
        "utterances": count,
        "wait_s": spread(run.waits),
        "over_the_promise": round(over / count, 4),
        "rungs": {
            rung.name: round(run.rungs.count(number) / count, 4)
            for number, rung in enumerate(ladder)
        },
        "moves": [
            {"at_s": round(at, 1), "to": ladder[index].name, "reason": reason}
            for at, index, reason in run.moves
        ],
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every scenario with the ladder and with each rung held."""
    told = []
    for scenario in scenarios(options.quick):
        say(f"{scenario.title}: {len(scenario.spoken)} utterances")
        runs = {"ladder": simulate(scenario)}
        for number, rung in enumerate(LADDER):
            runs[f"{rung.name}, always"] = simulate(scenario, number)
        told.append(
            {
                "title": scenario.title,
                "utterances": len(scenario.spoken),
                "lasts_s": scenario.lasts_s,
                "runs": {how: summary(run, scenario.ladder) for how, run in runs.items()},
                "at_s": [round(spoken.at, 1) for spoken in scenario.spoken],
                "waits_s": {
                    how: [round(wait, 2) for wait in runs[how].waits] for how in (WITH, BEST_ONLY)
                },
            }
        )
    return {"seed": SEED, "scenarios": told}


def page(data: Mapping[str, Any]) -> list[str]:
    """The page for people."""
    costs = "; ".join(
        f"{rung.name} {rung.cost.utterance_s:g} s + {rung.cost.per_audio_s:g} s per s of audio"
        for rung in LADDER
        if rung.cost is not None
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
    names = [rung.name for rung in LADDER]
    header = ["", "median wait", "95 % wait", "longest", "over the promise", *names, "moves"]
    for scenario in data["scenarios"]:
        rows = [
            [
                how,
                *(f"{result['wait_s'][name]:.2f} s" for name in ("p50", "p95", "max")),
                f"{result['over_the_promise']:.1%}",
                *(f"{share:.1%}" for share in result["rungs"].values()),
                len(result["moves"]),
            ]
            for how, result in scenario["runs"].items()
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
    report.plot(
        folder / "ladder.png",
        "The load ladder in simulated time",
        [panels(scenario) for scenario in data["scenarios"]],
    )


def panels(scenario: Mapping[str, Any]) -> list[Panel]:
    """The plots of one scenario, one below the other."""
    unit_s, unit = (HOUR_S, "hours") if scenario["lasts_s"] > HOUR_S else (60.0, "minutes")
    step_s = scenario["lasts_s"] / BINS
    bins = Counter(int(at_s / step_s) for at_s in scenario["at_s"])
    names = [rung.name for rung in LADDER]
    moves = [(0.0, 0)]
    moves += [(one["at_s"], names.index(one["to"])) for one in scenario["runs"][WITH]["moves"]]
    moves.append((scenario["lasts_s"], moves[-1][1]))
    at = [at_s / unit_s for at_s in scenario["at_s"]]
    waits = scenario["waits_s"]
    load = [60 * bins[number] / step_s for number in range(BINS)]
    times = [number * step_s / unit_s for number in range(BINS)]
    rungs = [-float(rung) for _, rung in moves]
    return [
        Panel("utterances per minute", [Curve(times, load, BLUE, style="step")],
              title=scenario["title"]),
        Panel("rung", [Curve([at_s / unit_s for at_s, _ in moves], rungs, ORANGE, style="step")],
              ticks={-float(number): name for number, name in enumerate(names)}),
        Panel("wait of an utterance in s",
              [Curve(at, waits[BEST_ONLY], GREY, BEST_ONLY, "dots"),
               Curve(at, waits[WITH], ORANGE, "with the ladder", "dots")],
              x_label=f"time in {unit}", promised=POLICY.promised_wait_s),
    ]  # fmt: skip


def _events(scenario: Scenario) -> Iterator[tuple[float, Spoken | None]]:
    """The utterances and the ticks between them, in the order of time."""
    ticks = ((n * TICK_S, None) for n in range(int(scenario.lasts_s / TICK_S)))
    spoken = ((spoken.at, spoken) for spoken in scenario.spoken)
    return heapq.merge(ticks, spoken, key=itemgetter(0))


def _command(at: float, chance: random.Random) -> Spoken:
    return Spoken(at, min(10.0, max(1.0, chance.gauss(3.0, 1.0))))


def _slower(cost: RungCost | None) -> RungCost | None:
    return cost and RungCost(cost.utterance_s * SLOW, cost.per_audio_s * SLOW, cost.memory_mb)


if __name__ == "__main__":
    benchmark = report.Benchmark("ladder", measure, page, draw=draw, needs_speech=False)
    sys.exit(report.run(benchmark, report.parser(__doc__)))
