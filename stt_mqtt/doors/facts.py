"""What people may know of a door: an immutable value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoorFacts:
    """One door. `where`: its address, or what it is for. `on`: whether the configuration wants it.

    `problem`: why it does not work, and what to do; None: it does, or it is off.
    """

    name: str
    where: str
    on: bool = True
    problem: str | None = None
    clients: tuple[str, ...] | None = None
    """Who is connected, one name for each connection. None: the door cannot tell."""
