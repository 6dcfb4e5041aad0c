"""Plots a bench: latency and throughput over the number of rooms."""

from __future__ import annotations

from pathlib import Path

from stt_mqtt.commands.bench_report import Report
from stt_mqtt.commands.manifest import BENCH_EXTRA
from stt_mqtt.errors import MissingExtraError

MEDIAN_COLOUR = "#1f6f8b"
TAIL_COLOUR = "#d1495b"
THROUGHPUT_COLOUR = "#2e7d4f"
BAR = 0.4


def draw(report: Report, file: Path) -> None:
    """Draw the plot into a PNG file. Raises MissingExtraError without matplotlib, and OSError."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(error.name, BENCH_EXTRA) from error
    levels = report.levels
    places = range(len(levels))
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    figure.suptitle(f"stt-mqtt bench: {report.setting}", fontsize=12)
    latency, throughput = figure.subplots(1, 2)
    for percent, name, colour, aside in (
        (50, "half of the utterances", MEDIAN_COLOUR, -BAR / 2),
        (95, "95 % of the utterances", TAIL_COLOUR, BAR / 2),
    ):
        bars = latency.bar(
            [place + aside for place in places],
            [1000 * level.latency_s(percent) for level in levels],
            width=BAR,
            color=colour,
            label=name,
        )
        latency.bar_label(bars, fmt="%.0f", padding=3)
    latency.set_title("Latency: from the end of an utterance to its text")
    latency.set_ylabel("milliseconds, at most")
    latency.legend(loc="upper left", frameon=False)
    bars = throughput.bar(
        places, [level.per_s for level in levels], width=1.4 * BAR, color=THROUGHPUT_COLOUR
    )
    throughput.bar_label(bars, fmt="%.1f", padding=3)
    throughput.set_title("Throughput")
    throughput.set_ylabel("utterances per second")
    for panel in (latency, throughput):
        panel.set_xlabel("rooms that speak without a pause")
        panel.set_xticks(places, [str(level.rooms) for level in levels])
        panel.set_ylim(top=1.12 * panel.get_ylim()[1])
        panel.grid(axis="y", alpha=0.25)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, format="png", dpi=120)
