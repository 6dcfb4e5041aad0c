"""The last answers of a device by id: what it sends again is answered again and not run again."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.types import Outcome

MAX_REMEMBERED = 16
"""Ids of one device; more than it can have said before it learns of a lost answer."""
REMEMBERED_S = 300.0
"""Longer than any satellite keeps an utterance to send it again."""


@dataclass(frozen=True, slots=True)
class RecentOutcome:
    """What became of an id. `outcome` None: it waits for the model, its answer is to come."""

    outcome: Outcome | None
    at: float


class RecentOutcomes:
    """Remembers ids that the device chose itself. Times are monotonic seconds."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[str, RecentOutcome] = {}
        """The oldest first."""

    def expect(self, id: str | None, now: float) -> None:
        """An utterance was opened; None: the device gave no id, so it cannot repeat one."""
        if id is None:
            return
        self._by_id.pop(id, None)
        self._by_id[id] = RecentOutcome(None, now)
        while len(self._by_id) > MAX_REMEMBERED:
            del self._by_id[next(iter(self._by_id))]

    def give_up(self, id: str) -> None:
        """Only a part of an utterance came: sent again it is not a repetition."""
        self._by_id.pop(id, None)

    def note(self, outcome: Outcome, now: float) -> None:
        """An utterance was answered, not in part."""
        if outcome.id in self._by_id and not outcome.incomplete:
            self._by_id[outcome.id] = RecentOutcome(outcome, now)

    def find(self, id: str | None, now: float) -> RecentOutcome | None:
        """What became of an id in the last minutes."""
        found = None if id is None else self._by_id.get(id)
        return found if found is not None and now - found.at < REMEMBERED_S else None
