"""What a scenario is: a row of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks.fleet.house import House, Setup

Data: TypeAlias = dict[str, Any]
Found: TypeAlias = Mapping[str, Any]

OF_MANY = 0.95
"""The share of a 95th percentile."""


def _nothing(_found: Found) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row of the table.

    `run` makes it happen in a house and returns what was found. `shown`: the cell of the table.
    `lost`: utterances that must not be. `missed`: times and rates that miss what must be; on a busy
    machine and in a quick run they mean nothing. `told`: lines below the table. `setup` None: any
    servers will do. `early`: before simulated workers come. `quick`: part of a quick run.
    """

    name: str
    must: str
    aim: str
    run: Callable[[House], Data]
    shown: Callable[[Found], str]
    lost: Callable[[Found], Sequence[str]] = _nothing
    missed: Callable[[Found], Sequence[str]] = _nothing
    told: Callable[[Found], Sequence[str]] = _nothing
    setup: Setup | None = None
    early: bool = False
    quick: bool = False


def over(what: str, value: float | None, limit: float) -> list[str]:
    """A miss, if `value` is not known or above `limit`."""
    return [] if value is not None and value <= limit else [f"{what}: {value} instead of {limit}"]
