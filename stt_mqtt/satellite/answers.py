"""What comes back for what was said: `result` messages, matched with our utterances.

Everybody with the right to may publish a `result`, and anything in it. Only what answers our own
utterance, whole and in time, may be acted upon; the rest is only shown. `now` is monotonic seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from stt_mqtt.types import EndReason, OutcomeKind

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_EXPECTED = 64
"""Utterances that are remembered; the oldest is forgotten first."""
ANSWER_TIMEOUT_S = 60.0
"""So long after its end an utterance is not answered any more."""
_CUT = frozenset({EndReason.DISCONNECT, EndReason.GAP, EndReason.RESTART, EndReason.SHUTDOWN})
"""How what was begun with a start ends when not all of it came."""
MAX_NAME = 64
"""Characters of an id, an outcome or a code."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One result. `id` None: about a message that opened no utterance."""

    id: str | None
    outcome: str
    """An `OutcomeKind`, or what a newer service has besides."""
    text: str
    """The words, well-formed Unicode, as they came; empty unless it is a transcript."""
    error_code: str | None
    detail: str | None
    cut: bool
    """Whether the connection broke in it: the whole of it is sent again."""
    latency_s: float | None
    """From the end of the speech to `now`; None unless it is ours."""
    ours: bool
    """Whether it answers an utterance of this run."""
    late: bool
    """Whether its speech ended too long ago to act upon it."""
    act_until: float | None
    """When its words are too old, in monotonic seconds; None: they are only to be shown."""


@dataclass(slots=True)
class _Expected:
    closed_at: float | None = None
    answered: bool = False
    last: int | None = None
    """Hash of its last message, which the broker may deliver twice."""


class Answers:
    """Knows which utterances were spoken, and which of them were answered."""

    def __init__(self, max_age_s: float) -> None:
        """`max_age_s`: how long after the end of the speech its words may be acted upon."""
        self._max_age_s = max_age_s
        self._expected: dict[str, _Expected] = {}
        self.unanswered = 0
        """Utterances that nobody answered in time."""

    @property
    def outstanding(self) -> int:
        """How many utterances have ended and have no whole answer yet."""
        return len(self._waiting)

    @property
    def waiting_since(self) -> float | None:
        """When the speech ended that has waited longest for its answer; None: nothing waits."""
        return min(self._waiting, default=None)

    def begin(self, utterance: str) -> None:
        """An utterance begins. A refusal may answer it before it ends."""
        self._expected[utterance] = _Expected()
        if len(self._expected) > MAX_EXPECTED:
            del self._expected[next(iter(self._expected))]

    def end(self, utterance: str, closed_at: float) -> None:
        """Its speech ended at `closed_at`."""
        if utterance in self._expected:
            self._expected[utterance].closed_at = closed_at

    def forget(self, utterance: str) -> None:
        """An utterance was never sent whole, so nothing is to be waited for."""
        self._expected.pop(utterance, None)

    def tick(self, now: float) -> None:
        """Wait no longer for what was not answered in time."""
        for utterance, one in list(self._expected.items()):
            if one.answered or one.closed_at is None or now - one.closed_at < ANSWER_TIMEOUT_S:
                continue
            self.unanswered += 1
            del self._expected[utterance]

    def take(self, payload: bytes, now: float) -> Answer | None:
        """The answer in a `result` message; None if it is none, or came in before.

        An utterance that is sent again is answered again. Its words are to be acted upon once.
        """
        try:
            result = _read(payload)
        except (ValueError, TypeError, RecursionError):
            return None
        expected = None if result.id is None else self._expected.get(result.id)
        if result.id is None or expected is None:
            return Answer(*result, latency_s=None, ours=False, late=False, act_until=None)
        digest = hash(payload)
        if digest == expected.last:
            return None
        expected.last = digest
        to_act = bool(result.text) and not result.cut and not expected.answered
        expected.answered |= not result.cut
        closed_at = expected.closed_at
        if closed_at is None:
            return Answer(*result, latency_s=None, ours=True, late=False, act_until=None)
        latency_s = max(now - closed_at, 0.0)
        late = latency_s > self._max_age_s
        act_until = closed_at + self._max_age_s if to_act and not late else None
        return Answer(*result, latency_s, ours=True, late=late, act_until=act_until)

    @property
    def _waiting(self) -> list[float]:
        """When the utterances ended that wait for their answers."""
        return [
            one.closed_at
            for one in self._expected.values()
            if one.closed_at is not None and not one.answered
        ]


class _Result(NamedTuple):
    """What the first fields of an `Answer` are made of."""

    id: str | None
    outcome: str
    text: str
    error_code: str | None
    detail: str | None
    cut: bool


def _read(payload: bytes) -> _Result:
    """Raises ValueError, TypeError or RecursionError where it is no result."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError
    fields = _section(json.loads(payload))
    error = _section(fields.get("error") or {})
    outcome = _text(fields.get("outcome"), MAX_NAME)
    return _Result(
        id=_optional(fields.get("id"), MAX_NAME),
        outcome=outcome,
        text=_text(fields.get("text", "")) if outcome == OutcomeKind.TRANSCRIPT else "",
        error_code=_optional(error.get("code"), MAX_NAME),
        detail=_optional(error.get("detail")),
        cut=outcome != OutcomeKind.ERROR and fields.get("end") in _CUT,
    )


def _section(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _optional(value: object, limit: int = MAX_PAYLOAD_BYTES) -> str | None:
    return None if value is None else _text(value, limit)


def _text(value: object, limit: int = MAX_PAYLOAD_BYTES) -> str:
    """Without halves of surrogate pairs, which JSON can hold and nothing can print."""
    if not isinstance(value, str) or len(value) > limit:
        raise TypeError
    return value.encode("utf-8", "replace").decode()
