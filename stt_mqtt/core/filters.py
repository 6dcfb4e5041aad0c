"""What a device sends too late or twice opens no second utterance."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.types import Outcome

LATE_CHUNK_WINDOW_S = 0.3
"""How long after a stop or abort chunks are taken for stragglers of what ended."""
MAX_REMEMBERED = 16
"""Ids of one device; more than it can have said before it learns of a lost answer."""
REMEMBERED_S = 300.0
"""Longer than any satellite keeps an utterance to send it again."""


class LateChunkFilter:
    """Whether chunks that find no open utterance are dropped. Times are monotonic seconds."""

    __slots__ = ("_pause_s", "_until", "_waiting_for_pause_since")

    def __init__(self) -> None:
        self._until = float("-inf")
        self._pause_s = 0.0
        self._waiting_for_pause_since: float | None = None

    def for_stragglers(self, since: float) -> None:
        """Drop chunks for a moment after a stop or abort."""
        self._until = since + LATE_CHUNK_WINDOW_S
        self._waiting_for_pause_since = None

    def until_pause(self, now: float, pause_s: float) -> None:
        """Drop chunks until none came for `pause_s`: after a cap or a refused start."""
        self._waiting_for_pause_since = now
        self._pause_s = pause_s

    def end(self) -> None:
        """Hear again at once: a start came."""
        self._until = float("-inf")
        self._waiting_for_pause_since = None

    def drops_chunk(self, now: float) -> bool:
        """Whether a chunk that comes now is dropped."""
        if self._waiting_for_pause_since is not None:
            if now - self._waiting_for_pause_since < self._pause_s:
                self._waiting_for_pause_since = now
                return True
            self._waiting_for_pause_since = None
        return now < self._until

    def would_drop_chunk(self, now: float) -> bool:
        """What `drops_chunk` would say; the state stays as it is."""
        since = self._waiting_for_pause_since
        return now < self._until or (since is not None and now - since < self._pause_s)


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

    def forget(self, id: str) -> None:
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
