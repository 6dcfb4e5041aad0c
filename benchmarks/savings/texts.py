"""How the page writes names and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OVER_TIME, LATENCY, ABLATION = "savings_time.png", "savings_latency.png", "savings_steps.png"
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def run_name(run: Mapping[str, Any]) -> str:
    """Which server, and how many rooms."""
    return f"{run['way']}, {rooms_text(run['rooms'])}"


def rooms_text(count: int) -> str:
    """How many rooms."""
    return "one room" if count == 1 else f"{count} rooms"


def number(form: str, value: float | None) -> str:
    """A number, or a dash for none."""
    return DASH if value is None else form.format(value).replace("-", MINUS)


def percent(value: float | None) -> str:
    """A share."""
    return number("{:.2%}", value)


def change(after: float, before: float) -> str:
    """By how much something grew, as a share of what it was."""
    return number("{:+.0%}", after / before - 1 if before else None)


def yes(reached: bool) -> str:
    """Whether."""
    return "yes" if reached else "**no**"


def counts(numbers: Mapping[str, int]) -> str:
    """How often what."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
