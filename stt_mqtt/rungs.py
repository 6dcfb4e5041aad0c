"""The rungs of the ladder, and what the service knows of the engine. Immutable values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of the ladder: a model with its decoding settings."""

    name: str
    model: str
    beam_size: int
    compute_type: str


@dataclass(frozen=True, slots=True)
class RungStatus:
    """The state of the ladder, best rung first.

    `mode`: `auto` (the load chooses) or the name of the held rung. `active`: the rung in use.
    `reason`: why this rung is in use, in words.
    """

    rungs: tuple[Rung, ...]
    mode: str
    active: str
    reason: str


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the service knows of the engine at the start.

    `languages`: codes of the languages that every rung supports.
    """

    languages: frozenset[str]
    rung_status: RungStatus
