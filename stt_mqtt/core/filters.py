"""Filters for late chunks and repeated ids, so that neither opens a second utterance."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.types import Outcome

LATE_CHUNK_WINDOW_S = 0.3
"""How long after a stop or abort chunks count as late chunks of the utterance that ended."""
REST_S = 30.0
"""How long after a gap numbered chunks count as the rest of the utterance that ended. Longer than
any network holds them back, and than speech is of use."""
MAX_REMEMBERED = 16
"""Ids of one device; more than it can use before it notices that an answer was lost."""
REMEMBERED_S = 300.0
"""Longer than any satellite keeps an utterance for sending it again."""


class LateChunkFilter:
    """Decides whether chunks without an open utterance are dropped. Times: monotonic seconds."""

    __slots__ = ("_pause_s", "_until", "_waiting_for_pause_since")

    def __init__(self) -> None:
        self._until = float("-inf")
        self._pause_s = 0.0
        self._waiting_for_pause_since: float | None = None

    def for_stragglers(self, since: float) -> None:
        """Drop chunks for `LATE_CHUNK_WINDOW_S` after a stop or abort."""
        self._until = since + LATE_CHUNK_WINDOW_S
        self._waiting_for_pause_since = None

    def after_gap(self, since: float, numbered: bool) -> None:
        """Drop chunks for `REST_S` or until a start or stop, if they are `numbered`."""
        if numbered:
            self._until = since + REST_S

    def until_pause(self, now: float, pause_s: float) -> None:
        """Drop chunks until none arrives for `pause_s`. Used after a cap or a refused start."""
        self._waiting_for_pause_since = now
        self._pause_s = pause_s

    def end(self) -> None:
        """Stop dropping chunks: a start arrived."""
        self._until = float("-inf")
        self._waiting_for_pause_since = None

    def drops_chunk(self, now: float) -> bool:
        """Whether a chunk that arrives now is dropped."""
        if self._waiting_for_pause_since is not None:
            if now - self._waiting_for_pause_since < self._pause_s:
                self._waiting_for_pause_since = now
                return True
            self._waiting_for_pause_since = None
        return now < self._until

    def would_drop_chunk(self, now: float) -> bool:
        """The same as `drops_chunk`, without a change of state."""
        since = self._waiting_for_pause_since
        return now < self._until or (since is not None and now - since < self._pause_s)


@dataclass(frozen=True, slots=True)
class RecentOutcome:
    """The outcome of an id. `outcome` None: the utterance is not answered yet."""

    outcome: Outcome | None
    at: float


class RecentOutcomes:
    """Remembers the ids that a device chose, with their outcomes. Times are monotonic seconds."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[str, RecentOutcome] = {}
        """Oldest first."""

    def expect(self, id: str | None, now: float) -> None:
        """Remember the id of an opened utterance. None: the device gave no id."""
        if id is None:
            return
        self._by_id.pop(id, None)
        self._by_id[id] = RecentOutcome(None, now)
        while len(self._by_id) > MAX_REMEMBERED:
            del self._by_id[next(iter(self._by_id))]

    def forget(self, id: str) -> None:
        """Forget the id of an incomplete utterance: sent again, it is not a repetition."""
        self._by_id.pop(id, None)

    def note(self, outcome: Outcome, now: float) -> None:
        """Remember the outcome, unless the utterance was incomplete."""
        if outcome.id in self._by_id and not outcome.incomplete:
            self._by_id[outcome.id] = RecentOutcome(outcome, now)

    def find(self, id: str | None, now: float) -> RecentOutcome | None:
        """The outcome of an id that was used within `REMEMBERED_S`, if any."""
        found = None if id is None else self._by_id.get(id)
        return found if found is not None and now - found.at < REMEMBERED_S else None
