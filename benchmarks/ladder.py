"""What the load ladder does, in simulated time: a day, a burst of rooms, a slow machine.

The load meter and the choice are those of the service; the queue is a simple one, first come,
first served, without batches. Nothing is transcribed: the costs of the rungs are constants.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks import bench
from stt_mqtt.engine.ladder import Candidate, LadderState, Load, Policy, RungCost, choose
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

LADDER_COLOUR, BEST_COLOUR, LOAD_COLOUR = "#c2410c", "#94a3b8", "#1d4ed8"


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
    bin_s: float
    """Width of the bars of the plot."""


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
        same_model = self.ladder[rung].shares_model_with(self.ladder[leaving])
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
    lasts_s, bin_s = hours * HOUR_S, 600.0
    return [
        Scenario("Household, four rooms", day, LADDER, lasts_s, bin_s),
        Scenario("20 rooms at once, every 6 s for 3 minutes", burst(), LADDER, 480.0, 2.0),
        Scenario("The household, six times slower", day, slow, lasts_s, bin_s),
    ]


def summary(run: Run, ladder: Sequence[Candidate]) -> dict[str, Any]:
    """What the table says about one run."""
    count = len(run.waits)
    over = sum(wait > POLICY.promised_wait_s for wait in run.waits)
    return {
        "utterances": count,
        "wait_s": {
            "p50": bench.percentile(run.waits, 0.5),
            "p95": bench.percentile(run.waits, 0.95),
            "max": bench.percentile(run.waits, 1.0),
        },
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


def markdown(data: dict[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "# The load ladder, simulated",
        "",
        __doc__.partition("\n\n")[2].replace("\n", " ").strip(),
        "",
        f"Promised wait {POLICY.promised_wait_s:g} s, minimum stay {POLICY.min_stay_s:g} s, "
        f"{WORKERS} workers, {LOADING_S:g} s to load a model. Work per utterance, measured on a "
        "two-core machine: "
        + "; ".join(_cost_in_words(rung) for rung in LADDER)
        + ". The wait is the time between the end of an utterance and its turn.",
        "",
        "![load, rung and wait](ladder.png)",
    ]
    names = [rung.name for rung in LADDER]
    header = ["", "median wait", "95 % wait", "longest", "over the promise", *names, "moves"]
    for scenario in data["scenarios"]:
        rows = [_row(how, result) for how, result in scenario["runs"].items()]
        title = f"{scenario['title']}, {scenario['utterances']} utterances"
        lines += ["", f"## {title}", "", *bench.table(header, rows)]
        moves = scenario["runs"]["ladder"]["moves"]
        if moves:
            lines += ["", f"The first moves ({len(moves)} in all):", ""]
            lines += [f"- at {move['at_s']:.0f} s {move['reason']}" for move in moves[:4]]
    return [*lines, "", bench.describe(data["machine"])]


def plot(drawn: Sequence[tuple[Scenario, Run, Run]], file: Path) -> None:
    """Draw load, rung and wait of each scenario: with the ladder, and with its best rung only."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    figure.suptitle("The load ladder in simulated time", fontsize=16)
    axes = figure.subplots(
        3, len(drawn), sharex="col", squeeze=False, gridspec_kw={"height_ratios": (1, 0.7, 1.2)}
    )
    for column, (scenario, with_ladder, best_only) in enumerate(drawn):
        load, rung, wait = axes[:, column]
        load.set_title(scenario.title)
        in_hours = scenario.lasts_s > HOUR_S
        unit = HOUR_S if in_hours else 60.0
        times = [spoken.at / unit for spoken in scenario.spoken]
        bins = [
            n * scenario.bin_s / unit for n in range(int(scenario.lasts_s / scenario.bin_s) + 1)
        ]
        load.hist(
            times, bins, weights=[60.0 / scenario.bin_s] * len(times), color=LOAD_COLOUR, alpha=0.8
        )
        moves = [(0.0, 0), *((at, index) for at, index, _ in with_ladder.moves)]
        moves.append((scenario.lasts_s, moves[-1][1]))
        rung.step(
            [at / unit for at, _ in moves],
            [index for _, index in moves],
            where="post",
            color=LADDER_COLOUR,
            linewidth=1.5,
        )
        rung.set_yticks(range(len(LADDER)), [candidate.name for candidate in LADDER])
        rung.set_ylim(len(LADDER) - 0.6, -0.4)
        wait.scatter(
            times, best_only.waits, s=24.0, color=BEST_COLOUR, label=f"{LADDER[0].name}, always"
        )
        wait.scatter(times, with_ladder.waits, s=5.0, color=LADDER_COLOUR, label="with the ladder")
        wait.axhline(
            POLICY.promised_wait_s,
            color="black",
            linestyle="--",
            linewidth=1,
            label="promised wait",
        )
        wait.set_ylim(bottom=0)
        wait.set_xlabel("time in hours" if in_hours else "time in minutes")
        wait.set_xlim(0, scenario.lasts_s / unit)
        if scenario.lasts_s == 24 * HOUR_S:
            wait.set_xticks(range(0, 25, 3))
        for panel in (load, rung, wait):
            panel.grid(alpha=0.25)
    for panel, label in zip(
        axes[:, 0],
        ("load in utterances per minute", "rung", "wait of an utterance in s"),
        strict=True,
    ):
        panel.set_ylabel(label)
    figure.align_ylabels(axes[:, 0])
    handles, labels = axes[2, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, markerscale=2.5)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)


def main(options: argparse.Namespace) -> int:
    """Run the simulation."""
    told, drawn = [], []
    for scenario in scenarios(options.quick):
        bench.say(f"{scenario.title}: {len(scenario.spoken)} utterances")
        with_ladder = simulate(scenario)
        fixed = [simulate(scenario, number) for number in range(len(scenario.ladder))]
        runs = {"ladder": with_ladder}
        runs |= {f"{rung.name}, always": run for rung, run in zip(LADDER, fixed, strict=True)}
        told.append(
            {
                "title": scenario.title,
                "utterances": len(scenario.spoken),
                "runs": {how: summary(run, scenario.ladder) for how, run in runs.items()},
            }
        )
        drawn.append((scenario, with_ladder, fixed[0]))
    data = {
        "benchmark": "ladder",
        "quick": options.quick,
        "machine": bench.machine(),
        "seed": SEED,
        "scenarios": told,
    }
    folder: Path | None = options.results or (None if options.quick else bench.RESULTS)
    if folder is not None:
        try:
            plot(drawn, folder / "ladder.png")
        except ImportError:
            bench.say("matplotlib is not installed: no plot")
    bench.finish("ladder", options, data, markdown(data))
    return 0


def _events(scenario: Scenario) -> Iterator[tuple[float, Spoken | None]]:
    """The utterances and the ticks between them, in the order of time."""
    ticks = ((n * TICK_S, None) for n in range(int(scenario.lasts_s / TICK_S)))
    spoken = ((spoken.at, spoken) for spoken in scenario.spoken)
    return heapq.merge(ticks, spoken, key=itemgetter(0))


def _command(at: float, chance: random.Random) -> Spoken:
    return Spoken(at, min(10.0, max(1.0, chance.gauss(3.0, 1.0))))


def _slower(cost: RungCost | None) -> RungCost | None:
    return cost and RungCost(cost.utterance_s * SLOW, cost.per_audio_s * SLOW, cost.memory_mb)


def _cost_in_words(rung: Candidate) -> str:
    assert rung.cost is not None
    return f"{rung.name} {rung.cost.utterance_s:g} s + {rung.cost.per_audio_s:g} per s of audio"


def _row(how: str, result: dict[str, Any]) -> list[str]:
    wait = result["wait_s"]
    return [
        how,
        *(f"{wait[name]:.2f} s" for name in ("p50", "p95", "max")),
        f"{result['over_the_promise']:.1%}",
        *(f"{share:.1%}" for share in result["rungs"].values()),
        str(len(result["moves"])),
    ]


if __name__ == "__main__":
    sys.exit(main(bench.parser(__doc__).parse_args()))
