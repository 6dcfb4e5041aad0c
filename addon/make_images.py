"""Draws the add-on's icon and logo: `python addon/make_images.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon

FOLDER = Path(__file__).parent / "stt_mqtt"
DPI = 100
GROUND, PAPER, SOUND, WORDS = "#10394c", "#f4f8f9", "#ef8a3c", "#10394c"

BARS = (0.16, 0.34, 0.58, 0.42, 0.22)
"""Heights of the bars of sound, of the 1 that the bubble is wide."""
LINES = (0.34, 0.22, 0.29)
"""Lengths of the lines of writing."""


def canvas(width_px: int, height_px: int) -> tuple[Figure, Axes]:
    """A transparent picture whose coordinates are pixels, from the lower left corner."""
    figure = Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width_px)
    axes.set_ylim(0, height_px)
    axes.axis("off")
    return figure, axes


def rounded(axes: Axes, box: tuple[float, float, float, float], radius: float, color: str) -> None:
    """A filled box (left, bottom, width, height) with round corners."""
    left, bottom, width, height = box
    style = f"round,pad=0,rounding_size={radius}"
    axes.add_patch(
        FancyBboxPatch((left, bottom), width, height, boxstyle=style, linewidth=0, color=color)
    )


def mark(axes: Axes, left: float, bottom: float, size: float) -> None:
    """The sign: in a speech bubble, sound becomes writing."""
    rounded(axes, (left, bottom, size, size), 0.2 * size, GROUND)
    bubble = (left + 0.11 * size, bottom + 0.29 * size, 0.78 * size, 0.56 * size)
    rounded(axes, bubble, 0.11 * size, PAPER)
    tail = ((0.24, 0.31), (0.44, 0.31), (0.24, 0.13))
    axes.add_patch(
        Polygon([(left + x * size, bottom + y * size) for x, y in tail], linewidth=0, color=PAPER)
    )
    middle = bottom + 0.57 * size
    thick = 0.044 * size
    for number, height in enumerate(BARS):
        high = 0.62 * height * size
        at = left + (0.185 + 0.069 * number) * size
        rounded(axes, (at, middle - high / 2, thick, high), thick / 2, SOUND)
    for number, length in enumerate(LINES):
        below = middle + (0.115 - 0.115 * number) * size - thick / 2
        long = 0.76 * length * size
        rounded(axes, (left + 0.555 * size, below, long, thick), thick / 2, WORDS)


def save(figure: Figure, name: str) -> None:
    """Write a PNG without anything that differs from one run to the next."""
    figure.savefig(FOLDER / name, dpi=DPI, transparent=True, metadata={"Software": None})


def icon() -> None:
    """128 x 128 pixels."""
    figure, axes = canvas(128, 128)
    mark(axes, 2, 2, 124)
    save(figure, "icon.png")


def logo() -> None:
    """250 x 100 pixels: the sign, and the name on a ground that suits light and dark pages."""
    figure, axes = canvas(250, 100)
    rounded(axes, (1, 1, 248, 98), 20, GROUND)
    mark(axes, 4, 4, 92)
    axes.text(100, 55, "stt-mqtt", fontsize=19.5, fontweight="bold", color=PAPER, va="center")
    axes.text(101, 32, "speech to text", fontsize=10.5, color=SOUND, va="center")
    save(figure, "logo.png")


if __name__ == "__main__":
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        icon()
        logo()
