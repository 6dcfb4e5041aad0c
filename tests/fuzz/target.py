"""What a fuzz target is, and what counts as a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

HANG_S = 1.0
"""Most CPU time of a case, in seconds. Wall time would say how busy the machine is."""
MEMORY_MB = 64
"""Most memory that a case may add to the process at any moment.

Decoded audio has at most 30 s. At 48 kHz with two channels, that is 11 MB, and it is copied.
"""


class How(StrEnum):
    """Where the bytes of the cases come from."""

    GUIDED = "atheris"
    """libFuzzer mutates seeds and keeps what reaches new code. Without atheris: `MUTATED`."""
    MUTATED = "mutation"
    """Seeds are mutated at random. For native code, which does not tell what was reached."""
    STRUCTURED = "hypothesis"
    """Random bytes decide what a strategy of hypothesis generates."""


class Kind(StrEnum):
    """Kinds of failures."""

    EXCEPTION = "exception"
    """An exception that the code may not raise, or an error that it logged."""
    CRASH = "crash"
    """The process died."""
    HANG = "hang"
    """More CPU time than `HANG_S`."""
    MEMORY = "memory"
    """More memory than the cap."""
    UNANSWERED = "unanswered"
    """An utterance that was opened did not get exactly one outcome."""


class UnansweredError(AssertionError):
    """An utterance that was opened did not get exactly one outcome."""


@dataclass(frozen=True, slots=True)
class Target:
    """Code that takes hostile bytes.

    `run` handles one case. What it raises is a failure. `cases`: how many a whole run has.
    """

    name: str
    run: Callable[[bytes], None]
    cases: int
    how: How = How.GUIDED
    seeds: Callable[[], list[bytes]] = list
    max_bytes: int = 2048
    memory_mb: int = MEMORY_MB


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that failed. `where`: what is the same in all cases of one defect."""

    kind: Kind
    where: str
    detail: str
