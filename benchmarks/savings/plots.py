"""The plots of the page, drawn from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.savings.texts import ABLATION, LATENCY, OVER_TIME, rooms_text

BEFORE, OURS, GREY = "#d55e00", "#0072b2", "#555555"
ROOM_STYLES = ("-", "--", "-.", ":")
SECONDS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
CORES = (0.001, 0.01, 0.1, 1.0)
MEGABYTES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Of logarithmic axes; less than the first is drawn as the first."""


def draw(data: Mapping[str, Any], folder: Path) -> None:
    """All plots."""
    folder.mkdir(parents=True, exist_ok=True)
    over_time(data["runs"], folder / OVER_TIME)
    latency(data["runs"], folder / LATENCY)
    if data["ablation"]:
        ablation(data["ablation"], folder / ABLATION)


def over_time(runs: Sequence[Mapping[str, Any]], file: Path) -> None:
    """CPU, memory, bytes and arrears, with four rooms and with one."""
    counts = sorted({run["rooms"] for run in runs}, reverse=True)
    figure = Figure(figsize=(6.5 * len(counts), 14), layout="constrained")
    figure.suptitle("The server while it listens", fontsize=16)
    axes = figure.subplots(4, len(counts), sharex="col", sharey="row", squeeze=False)
    for column, rooms in enumerate(counts):
        panels: list[Axes] = list(axes[:, column])
        panels[0].set_title(rooms_text(rooms))
        for run in runs:
            if run["rooms"] == rooms:
                _draw_run(run, panels)
        for panel, ticks in ((panels[0], CORES), (panels[2], MEGABYTES)):
            panel.set_yscale("log")
            panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            panel.set_yticks([], minor=True)
            panel.set_ylim(0.8 * ticks[0], 2.5 * ticks[-1])
        panels[3].set_xlabel("time in minutes")
        for panel in panels:
            panel.grid(alpha=0.25)
            panel.set_xlim(left=0)
        panels[3].legend(loc="upper left")
    labels = (
        "CPU in use, in cores",
        "resident memory in MB",
        "bytes sent to the broker, in MB",
        "before: heard but not in a text yet,\nin seconds of sound",
    )
    for panel, label in zip(axes[:, 0], labels, strict=True):
        panel.set_ylabel(label)
    # Shared: what is set before all of it is drawn stays as it was then.
    axes[1, 0].set_ylim(bottom=0)
    axes[3, 0].set_ylim(bottom=0)
    figure.align_ylabels(axes[:, 0])
    lines, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=100)


def _draw_run(run: Mapping[str, Any], panels: Sequence[Axes]) -> None:
    series = run["series"]
    minutes = [at_s / 60 for at_s in series["at_s"]]
    colour = BEFORE if run["way"] == "before" else OURS
    cores = [
        max((used - earlier) / ((at - before) * 60), CORES[0]) if at > before else CORES[0]
        for (before, at), (earlier, used) in zip(
            pairwise(minutes), pairwise(series["cpu_s"]), strict=True
        )
    ]
    panels[0].step(minutes[1:], cores, where="pre", color=colour, label=run["way"])
    panels[1].plot(minutes, series["memory_mb"], color=colour)
    panels[2].plot(
        minutes, [max(size / 1e6, MEGABYTES[0]) for size in series["bytes"]], color=colour
    )
    if "behind" not in run:
        return
    behind = run["behind"]
    for number, (room, seconds) in enumerate(behind["rooms"].items()):
        panels[3].plot(
            [at_s / 60 for at_s in behind["at_s"]],
            seconds,
            color=colour,
            linestyle=ROOM_STYLES[number % len(ROOM_STYLES)],
            label=room.replace("_", " "),
        )


def latency(runs: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Share of the utterances whose text is there after so many seconds."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    for run in runs:
        measured = run["latency"]["with_hangover"]
        values = [max(value, SECONDS[0]) for value in measured["values"]]
        count = measured["utterances"]
        share = [100 * number / count for number in range(len(values) + 1)]
        rooms = rooms_text(run["rooms"])
        axes.step(
            [*(values or [SECONDS[-1]])[:1], *values, 2 * SECONDS[-1]],
            [*share, share[-1]],
            where="post",
            color=BEFORE if run["way"] == "before" else OURS,
            linestyle="-" if run["rooms"] > 1 else "--",
            label=f"{run['way']}, {rooms}: {len(values)} of {count} within the run",
        )
    axes.set_xscale("log")
    axes.set_xticks(SECONDS, [f"{tick:g}" for tick in SECONDS])
    axes.set_xticks([], minor=True)
    axes.set_xlim(SECONDS[0], 2 * SECONDS[-1])
    axes.set_ylim(-2, 102)
    axes.set_xlabel("from the end of speech to the text, in seconds (the pause included)")
    axes.set_ylabel("utterances that have their text, in %")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=100)


def ablation(steps: Sequence[Mapping[str, Any]], file: Path) -> None:
    """CPU time, memory and bytes of each step alone."""
    panels = (
        ("cpu_s", 1.0, "{:.1f}", "CPU time in s"),
        ("peak_mb", 1.0, "{:.0f}", "most memory in MB"),
        ("bytes", 1e-6, "{:.2f}", "bytes sent in MB"),
    )
    figure = Figure(figsize=(13, 1.6 + 0.42 * len(steps)), layout="constrained")
    figure.suptitle("The naive server with one step each", fontsize=14)
    names = [step["name"] for step in steps]
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (key, scale, form, label) in zip(all_axes, panels, strict=True):
        values = [scale * step[key] for step in steps]
        bars = axes.barh(names, values, color=[GREY, *[OURS] * (len(steps) - 1)])
        axes.bar_label(bars, [form.format(value) for value in values], padding=3)
        axes.axvline(values[0], color=GREY, linestyle="--", linewidth=1)
        axes.set_xlabel(label)
        axes.set_xlim(0, 1.2 * max(values))
        axes.set_axisbelow(True)
        axes.grid(alpha=0.25, axis="x")
    figure.axes[0].invert_yaxis()
    figure.savefig(file, dpi=100)
