"""The frame of every benchmark: options, what it was measured on, JSON, Markdown and plots."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import speech
from benchmarks.harness import say
from stt_mqtt.engine.resources import usable_cores
from stt_mqtt.errors import ModelError
from tools.brokers import MOSQUITTO

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("ctranslate2", "faster-whisper", "numpy", "paho-mqtt")
QUICK = "**A quick run: it shows that the benchmark works, not what it measures.**"
DASH = "\N{EN DASH}"

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A script. `measure` may raise ModelError or OSError if something is missing.

    `lost`: what went wrong, in words; with any of it the script ends with status 1.
    `draw`: writes plots to a folder.
    """

    name: str
    measure: Callable[[argparse.Namespace], Data]
    page: Callable[[Data], list[str]]
    lost: Callable[[Data], list[str]] = lambda _data: []
    draw: Callable[[Data, Path], None] | None = None
    needs_speech: bool = True


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="a few seconds, to see that it works")
    made.add_argument(
        "--results",
        type=Path,
        help="folder for the result files (default: benchmarks/results; none with --quick)",
    )
    made.add_argument(
        "--page", action="store_true", help="only the page, from the JSON that is there"
    )
    return made


def run(benchmark: Benchmark, arguments: argparse.ArgumentParser) -> int:
    """Measure, print the page and write the files.

    Returns 1 if something was lost, 2 if something is missing that the benchmark needs.
    """
    options = arguments.parse_args()
    folder: Path | None = options.results or (None if options.quick else RESULTS)
    if options.page:
        folder = folder or RESULTS
        data: Data = json.loads((folder / f"{benchmark.name}.json").read_text())
    else:
        if benchmark.needs_speech and not options.quick and not os.environ.get(speech.VARIABLE):
            print(f"set {speech.VARIABLE} to the folder of the speech data", file=sys.stderr)
            return 2
        head = {"benchmark": benchmark.name, "quick": options.quick, "measured": measured_on()}
        try:
            data = head | benchmark.measure(options)
        except (ModelError, FileNotFoundError) as error:
            print(error, file=sys.stderr)
            return 2
    heading, *rest = benchmark.page(data)
    lines = [
        heading,
        *(["", QUICK] if data["quick"] else []),
        *rest,
        "",
        described(data["measured"]),
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        told = re.sub(r"\[[-\d\s.,e+]*\]", lambda numbers: " ".join(numbers[0].split()),
                      json.dumps(data, indent=1))  # fmt: skip
        (folder / f"{benchmark.name}.json").write_text(told + "\n")
        (folder / f"{benchmark.name}.md").write_text(text)
        if benchmark.draw is not None:
            benchmark.draw(data, folder)
    lost = benchmark.lost(data)
    for what in lost:
        say(f"lost: {what}")
    return 1 if lost else 0


def measured_on() -> Data:
    """The commit, the day, the machine in general terms, and how busy it is."""
    dirty = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {
        "commit": _git("rev-parse", "--short", "HEAD") or None,
        "dirty": bool(dirty),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores_usable": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_average_1min_before": round(os.getloadavg()[0], 2),
        "broker": _broker_name(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def described(measured: Mapping[str, Any]) -> str:
    """The last line of a page."""
    commit = f"commit `{measured['commit']}`" if measured["commit"] else "no known commit"
    changed = " with changes that are not in it" if measured["dirty"] else ""
    return (
        f"Measured on {commit}{changed}, {measured['date']}: {measured['architecture']}, "
        f"{measured['cores_usable']:g} usable cores, {measured['memory_gb']} GB, "
        f"{measured['system']}, Python {measured['python']}, "
        + ", ".join(f"{name} {measured[name]}" for name in LIBRARIES)
        + f", {measured['broker']}; load average before: {measured['load_average_1min_before']}."
    )


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parents[1]), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _broker_name() -> str:
    if MOSQUITTO is None:
        return f"embedded broker (iotcore {importlib.metadata.version('iotcore')})"
    text = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout
    return f"Mosquitto {text.split()[2]}"


# Markdown ---------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table: the first column to the left, the others to the right; None is a dash."""
    rule = ["---", *("---:" for _ in header[1:])]
    shown = [[DASH if cell is None else str(cell) for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *shown)]


def number(form: str, value: float | None) -> str:
    """A number, or a dash for none."""
    return DASH if value is None else form.format(value)


def points(low_to_high: Sequence[float | None]) -> str:
    """A difference of shares in points of a percent: its value, and its interval if it is known."""
    value, *limits = (None if one is None else f"{100 * one:+.1f}" for one in low_to_high)
    if value is None:
        return DASH
    return value if not limits or None in limits else f"{value} [{limits[0]}, {limits[1]}]"


def counts(numbers: Mapping[str, object]) -> str:
    """How much of what, without what is zero."""
    return ", ".join(f"{name} {value}" for name, value in numbers.items() if value) or "none"


# Plots ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a plot. `style`: of the line, `step` or `dots`."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    label: str | None = None
    style: str = "-"


@dataclass(frozen=True, slots=True)
class Panel:
    """Axes. `ticks`: names of values of y; `log`: of such axes; `promised`: a dashed line."""

    y_label: str
    curves: Sequence[Curve]
    x_label: str = ""
    title: str = ""
    log: str = ""
    ticks: Mapping[float, str] = field(default_factory=dict)
    promised: float | None = None


def plot(file: Path, title: str, columns: Sequence[Sequence[Panel]]) -> None:
    """Draw panels in columns that share their x axis. Without matplotlib there is no plot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        say("matplotlib is not installed: no plot")
        return
    rows = len(columns[0])
    figure = Figure(figsize=(1.5 + 5 * len(columns), 1.5 + 3 * rows), layout="constrained")
    figure.suptitle(title, fontsize=15)
    grid = figure.subplots(rows, len(columns), sharex="col", squeeze=False)
    for number_, column in enumerate(columns):
        for axes, panel in zip(grid[:, number_], column, strict=True):
            for curve in panel.curves:
                if curve.style == "dots":
                    axes.scatter(curve.x, curve.y, s=9, color=curve.colour, label=curve.label)
                elif curve.style == "step":
                    axes.step(curve.x, curve.y, where="post", color=curve.colour, label=curve.label)
                else:
                    axes.plot(curve.x, curve.y, curve.style, color=curve.colour, label=curve.label)
            axes.set(ylabel=panel.y_label, xlabel=panel.x_label, title=panel.title)
            if "x" in panel.log:
                axes.set_xscale("log")
            if "y" in panel.log:
                axes.set_yscale("log")
            if panel.ticks:
                axes.set_yticks(list(panel.ticks), list(panel.ticks.values()))
            if panel.promised is not None:
                axes.axhline(panel.promised, color="black", linestyle="--", linewidth=1)
            if any(curve.label for curve in panel.curves):
                axes.legend(fontsize="small")
            axes.grid(alpha=0.25)
    figure.savefig(file, dpi=100)
