"""The table of a run, on the terminal and as a page."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import report
from tests.fuzz.campaign import Tally
from tests.fuzz.target import HANG_S, MEMORY_MB

LIBRARIES = ("atheris", "hypothesis", "av", "aiohttp", "pyyaml", "hassil")


def data_of(tallies: Sequence[Tally], seed: int, measured: dict[str, Any]) -> dict[str, Any]:
    """What is written as JSON. `measured`: `report.measured_on()` before the run."""
    return {
        "benchmark": "fuzz",
        "measured": measured,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "seed": seed,
        "hang_s": HANG_S,
        "memory_mb": MEMORY_MB,
        "targets": [asdict(tally) for tally in tallies],
    }


def table(tallies: Sequence[Tally]) -> list[str]:
    """A row for each target, and their sum."""
    rows = [
        [
            tally.target,
            tally.how,
            f"{tally.cases:,}",
            f"{tally.cases / tally.cpu_s:,.0f}" if tally.cpu_s else None,
            sum(tally.failed.values()),
        ]
        for tally in tallies
    ]
    cases, cpu_s = sum(one.cases for one in tallies), sum(one.cpu_s for one in tallies)
    failures = sum(sum(one.failed.values()) for one in tallies)
    rate = f"{cases / cpu_s:,.0f}" if cpu_s else None
    rows.append(["**all**", "", f"{cases:,}", rate, failures])
    return report.table(["target", "cases from", "cases", "cases/s", "failures"], rows)


def page(tallies: Sequence[Tally], data: dict[str, Any]) -> str:
    """The page of a run."""
    libraries = ", ".join(f"{name} {version}" for name, version in data["libraries"].items())
    cpu_s = sum(one.cpu_s for one in tallies)
    unproved = sum(one.unproved for one in tallies)
    lines = [
        "# Hostile bytes",
        "",
        "Written by `python -m tests.fuzz --results`; [tests/fuzz](../../tests/fuzz/README.md) "
        f"says what a target is. Seed {data['seed']}, {cpu_s / 60:.0f} minutes of CPU "
        "time. `cases/s` are per second of CPU time, with the start of the process.",
        "",
        *table(tallies),
        "",
        f"A failure is a crash, an exception that the code may not raise, {HANG_S:g} s of CPU "
        f"time, {MEMORY_MB} MB more memory, or an utterance without exactly one outcome. "
        f"Cases that were slow or large only once: {unproved}.",
        "",
        f"{report.described(data['measured'])} {libraries}.",
    ]
    return "\n".join(lines) + "\n"


def write(folder: Path, tallies: Sequence[Tally], data: dict[str, Any]) -> None:
    """Write `fuzz.json` and `fuzz.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fuzz.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / "fuzz.md").write_text(page(tallies, data))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
