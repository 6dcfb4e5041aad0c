"""What comes back for what was said: `result` messages, matched with our utterances.

Everybody with the right to may publish a `result`, and anything in it. Only what answers our own
utterance, whole and in time, may be acted upon; the rest is only shown. `now` is monotonic seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from stt_mqtt.errors import ShuttingDownError
from stt_mqtt.types import EndReason, OutcomeKind

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_EXPECTED = 64
"""Utterances that are remembered; the oldest is forgotten first."""
ANSWER_TIMEOUT_S = 60.0
"""So long after it was sent an utterance is not answered any more."""
_INCOMPLETE = frozenset({EndReason.DISCONNECT, EndReason.RESTART})
"""How a part ends for which the service waits for the whole."""
MAX_NAME = 64
"""Characters of an id, an outcome or a code."""


class Resend(StrEnum):
    """Whether an utterance has to be sent once more."""

    NO = "no"
    """It is answered, whatever the answer is."""
    SAME_ID = "same_id"
    """Only a part of it came; the service waits for all of it, under the same id."""
    NEW_ID = "new_id"
    """Only a part of it came, and the service takes that for all: it needs another id."""
    LATER = "later"
    """The service was about to leave."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """One result. `id` None: about a message that opened no utterance."""

    id: str | None
    outcome: str
    """An `OutcomeKind`, or what a newer service has besides."""
    text: str
    """The words, well-formed Unicode, as they came; empty unless it is a transcript."""
    error_code: str | None
    detail: str | None
    hint: str | None
    """What looks wrong with the audio."""
    resend: Resend
    repeated: bool
    """Whether the service has given this answer before."""
    latency_s: float | None
    """From the end of the speech to `now`; None unless it is ours."""
    ours: bool
    """Whether it answers an utterance of this run."""
    late: bool
    """Whether its speech ended too long ago to act upon it."""
    act_until: float | None
    """When its words are too old, in monotonic seconds; None: they are only to be shown."""

    @property
    def cut(self) -> bool:
        """Whether only a part was heard, which says nothing."""
        return self.resend is not Resend.NO and self.error_code is None


@dataclass(slots=True)
class _Expected:
    closed_at: float | None = None
    """When its speech ended."""
    sent_at: float | None = None
    """Since when somebody can be expected to answer: somebody there has all of it."""
    answered: bool = False
    slept: bool = False
    """Whether the machine slept since: nobody knows how old it is."""
    last: int | None = None
    """Hash of its last message, which the broker may deliver twice."""


class AnswerTracker:
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
        """Since when somebody should have answered; None: everything is answered, or not sent.

        The time in which the broker or the service was away does not count.
        """
        sent = (one.sent_at for one in self._waiting if one.sent_at is not None)
        return min(sent, default=None)

    def begin(self, utterance: str) -> None:
        """An utterance begins. A refusal may answer it before it ends."""
        self._expected[utterance] = _Expected()
        if len(self._expected) > MAX_EXPECTED:
            del self._expected[next(iter(self._expected))]

    def end(self, utterance: str, closed_at: float) -> None:
        """Its speech ended at `closed_at`."""
        if utterance in self._expected:
            self._expected[utterance].closed_at = closed_at

    def sent(self, utterance: str, acknowledged: bool, now: float) -> None:
        """The broker has all of it; `acknowledged`: the service is known to have it, too."""
        one = self._expected.get(utterance)
        if one is not None and (acknowledged or one.sent_at is None):
            one.sent_at = now

    def connected(self, now: float) -> None:
        """The broker was away: what came meanwhile comes now."""
        for one in self._waiting:
            one.sent_at = None if one.sent_at is None else now

    def rename(self, utterance: str, name: str) -> None:
        """An utterance is sent under another id."""
        if utterance in self._expected:
            self._expected[name] = self._expected.pop(utterance)

    def slept(self) -> None:
        """The machine slept: nothing that was said before is to be acted upon."""
        for one in self._expected.values():
            one.slept = True

    def forget(self, utterance: str) -> None:
        """An utterance was never sent whole, so nothing is to be waited for."""
        self._expected.pop(utterance, None)

    def tick(self, now: float) -> None:
        """Wait no longer for what was not answered in time."""
        for utterance, one in list(self._expected.items()):
            if one.answered or one.sent_at is None or now - one.sent_at < ANSWER_TIMEOUT_S:
                continue
            self.unanswered += 1
            del self._expected[utterance]

    def take(self, payload: bytes, now: float) -> ServiceAnswer | None:
        """The answer in a `result` message; None if it is none, or came in before.

        An utterance that is sent resend is answered again. Its words are to be acted upon once:
        by the first answer that gets here, also if it is a repeated one.
        """
        try:
            result = _read(payload)
        except (ValueError, TypeError, RecursionError):
            return None
        expected = None if result.id is None else self._expected.get(result.id)
        if result.id is None or expected is None:
            return ServiceAnswer(*result, latency_s=None, ours=False, late=False, act_until=None)
        digest = hash(payload)
        if digest == expected.last:
            return None
        expected.last = digest
        settles = result.resend is Resend.NO
        to_act = bool(result.text) and settles and not expected.answered
        expected.answered |= settles
        closed_at = expected.closed_at
        if closed_at is None:
            return ServiceAnswer(*result, latency_s=None, ours=True, late=False, act_until=None)
        latency_s = max(now - closed_at, 0.0)
        late = latency_s > self._max_age_s or expected.slept
        act_until = closed_at + self._max_age_s if to_act and not late else None
        return ServiceAnswer(*result, latency_s, ours=True, late=late, act_until=act_until)

    @property
    def _waiting(self) -> list[_Expected]:
        """The utterances that have ended and wait for their answers."""
        return [
            one for one in self._expected.values() if one.closed_at is not None and not one.answered
        ]


class _Result(NamedTuple):
    """What the first fields of an `ServiceAnswer` are made of."""

    id: str | None
    outcome: str
    text: str
    error_code: str | None
    detail: str | None
    hint: str | None
    resend: Resend
    repeated: bool


def _read(payload: bytes) -> _Result:
    """Raises ValueError, TypeError or RecursionError where it is no result."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError
    fields = _section(json.loads(payload))
    error = _section(fields.get("error") or {})
    outcome = _text(fields.get("outcome"), MAX_NAME)
    code = _optional(error.get("code"), MAX_NAME)
    return _Result(
        id=_optional(fields.get("id"), MAX_NAME),
        outcome=outcome,
        text=_text(fields.get("text", "")) if outcome == OutcomeKind.TRANSCRIPT else "",
        error_code=code,
        detail=_optional(error.get("detail")),
        hint=_optional(fields.get("hint")),
        resend=_resend(fields, code),
        repeated=fields.get("repeated") is True,
    )


def _resend(fields: Mapping[str, object], code: str | None) -> Resend:
    end = fields.get("end")
    if end == EndReason.SHUTDOWN or code == ShuttingDownError.code:
        return Resend.LATER
    incomplete = fields.get("incomplete")
    # Older services do not say it.
    if incomplete is True or (incomplete is None and end in _INCOMPLETE):
        return Resend.SAME_ID
    # We mark each end, so that a pause that ends it is a hole.
    return Resend.NEW_ID if end == EndReason.GAP else Resend.NO


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
