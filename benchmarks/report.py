"""What all benchmarks share: options, the description of the machine, JSON, Markdown and plots."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    """A script. `measure` raises ModelError or FileNotFoundError if something is missing.

    `lost`: losses in words; with any the exit status is 1. `draw`: writes plots to a folder.
    """

    name: str
    measure: Callable[[argparse.Namespace], Data]
    page: Callable[[Data], list[str]]
    lost: Callable[[Data], list[str]] = lambda _data: []
    draw: Callable[[Data, Path], None] | None = None
    needs_speech: bool = True


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="some seconds, to see that it works")
    made.add_argument("--results", type=Path, help="folder for the results; none with --quick")
    made.add_argument("--page", action="store_true", help="only write the page, from its JSON")
    return made


def run(benchmark: Benchmark, arguments: argparse.ArgumentParser) -> int:
    """Measure, print the page and write the files. Returns the exit status: 1 lost, 2 missing."""
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
    quick = ["", QUICK] if data["quick"] else []
    text = "\n".join([heading, *quick, *rest, "", described(data["measured"])]) + "\n"
    print(text, end="")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        # Lists of numbers in one line.
        written = re.sub(
            r"\[[-\d\s.,e+]*\]", lambda one: " ".join(one[0].split()), json.dumps(data, indent=1)
        )
        (folder / f"{benchmark.name}.json").write_text(written + "\n")
        (folder / f"{benchmark.name}.md").write_text(text)
        if benchmark.draw is not None:
            benchmark.draw(data, folder)
    lost = benchmark.lost(data)
    for what in lost:
        say(f"lost: {what}")
    return 1 if lost else 0


def measured_on() -> Data:
    """The commit, the day, the machine, its load and the versions."""
    git = ("git", "-C", str(RESULTS.parents[1]))
    if MOSQUITTO is None:
        broker = f"embedded broker (iotcore {importlib.metadata.version('iotcore')})"
    else:
        broker = f"Mosquitto {_output(MOSQUITTO, '-h').split()[2]}"
    return {
        "commit": _output(*git, "rev-parse", "--short", "HEAD") or None,
        "dirty": bool(_output(*git, "status", "--porcelain", "--", ".", ":!benchmarks/results")),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores_usable": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_average_1min_before": round(os.getloadavg()[0], 2),
        "broker": broker,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def described(measured: Mapping[str, Any]) -> str:
    """The last line of a page."""
    libraries = ", ".join(f"{name} {measured[name]}" for name in LIBRARIES)
    return (
        "Measured on "
        + (f"commit `{measured['commit']}`" if measured["commit"] else "no known commit")
        + (" with changes that are not in it" if measured["dirty"] else "")
        + f", {measured['date']}: {measured['architecture']}, {measured['cores_usable']:g} usable "
        f"cores, {measured['memory_gb']} GB, {measured['system']}, Python {measured['python']}, "
        f"{libraries}, {measured['broker']}; "
        f"load average before: {measured['load_average_1min_before']}."
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table. All columns but the first are aligned right; None is a dash."""
    rule = ["---", *("---:" for _ in header[1:])]
    shown = [[DASH if cell is None else str(cell) for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *shown)]


def number(form: str, value: float | None) -> str:
    """A number, or a dash for none."""
    return DASH if value is None else form.format(value)


def interval(limits: Sequence[float | None]) -> str:
    """A share in percent and its interval: value, low and high; a dash for none."""
    value, low, high = (one if one is None else 100 * one for one in limits)
    if value is None or low is None or high is None:
        return DASH
    return f"{value:.1f}% ({low:.1f} to {high:.1f})"


def points(low_to_high: Sequence[float | None]) -> str:
    """A difference of shares in percentage points: value, low and high; a dash for none."""
    value, *limits = [number("{:+.1f}", one and 100 * one) for one in low_to_high]
    return value if not limits or DASH in limits else f"{value} [{limits[0]}, {limits[1]}]"


def counts(numbers: Mapping[str, object]) -> str:
    """Names and their numbers, without zeros."""
    return ", ".join(f"{name} {value}" for name, value in numbers.items() if value) or "none"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a plot. `style`: one of `STYLES`."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    label: str | None = None
    style: str = "line"


@dataclass(frozen=True, slots=True)
class Panel:
    """Axes. `log`: `y` for a logarithmic one; `ticks`: names of y values; `promised`: a line."""

    y_label: str
    curves: Sequence[Curve]
    x_label: str = ""
    title: str = ""
    log: str = ""
    ticks: Mapping[float, str] | None = None
    promised: float | None = None


STYLES: Mapping[str, Mapping[str, Any]] = {
    "line": {},
    "step": {"drawstyle": "steps-post"},
    "dots": {"linestyle": "", "marker": "o", "markersize": 3},
}


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
    for axes, panel in zip(grid.T.flat, itertools.chain(*columns), strict=True):
        for curve in panel.curves:
            style = STYLES[curve.style]
            axes.plot(curve.x, curve.y, color=curve.colour, label=curve.label, **style)
        axes.set(ylabel=panel.y_label, xlabel=panel.x_label, title=panel.title)
        if panel.log == "y":
            axes.set_yscale("log")
        if panel.ticks:
            axes.set_yticks(list(panel.ticks), list(panel.ticks.values()))
        if panel.promised is not None:
            axes.axhline(panel.promised, color="black", linestyle="--", linewidth=1)
        if any(curve.label for curve in panel.curves):
            axes.legend(fontsize="small")
        axes.grid(alpha=0.25)
    figure.savefig(file, dpi=100)
