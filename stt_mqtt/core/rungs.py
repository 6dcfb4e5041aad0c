"""What the line and its doors know of the engine behind them."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.types import Rung


@dataclass(frozen=True, slots=True)
class RungStatus:
    """The ladder as it stands, best rung first.

    `mode`: `auto` (the load chooses) or the name of the rung that is held. `active`: the rung
    that serves. `reason`: why it is this one, in words.
    """

    rungs: tuple[Rung, ...]
    mode: str
    active: str
    reason: str


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a line starts with. `languages`: codes of those that every rung speaks."""

    languages: frozenset[str]
    rungs: RungStatus
