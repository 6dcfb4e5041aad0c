"""Answers: `result` messages, matched with the utterances of this satellite.

Others may publish on `result`, too, and anything. A transcript may be acted upon only if it answers
an utterance of this run, whole and in time. Everything else is only shown.
`now` is monotonic seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from stt_mqtt.errors import ShuttingDownError
from stt_mqtt.types import EndReason, OutcomeKind

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_EXPECTED = 64
"""Utterances that are remembered; the oldest is forgotten first."""
ANSWER_TIMEOUT_S = 60.0
"""An utterance that was sent so long ago is not answered any more."""
_INCOMPLETE = frozenset({EndReason.DISCONNECT, EndReason.RESTART})
"""Ends of a part. The service then waits for the whole."""
_ENDPOINT = "endpoint"
MAX_NAME = 64
"""Most characters of an id, an outcome or an error code."""


class Resend(StrEnum):
    """Whether and how an utterance has to be sent again."""

    NO = "no"
    """It is answered."""
    SAME_ID = "same_id"
    """The service got only a part of it and waits for the whole, under the same id."""
    NEW_ID = "new_id"
    """The service got only a part of it and takes that for the whole: it needs a new id."""
    LATER = "later"
    """The service was shutting down."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """One `result` message. `id` None: it is about a message that opened no utterance."""

    id: str | None
    outcome: str
    """An `OutcomeKind`, or one that only a newer service knows."""
    text: str
    """The transcript, as well-formed Unicode; empty for another outcome."""
    error_code: str | None
    detail: str | None
    hint: str | None
    """What looks wrong with the audio."""
    resend: Resend
    repeated: bool
    """Whether the service repeats an answer."""
    ended_by_service: bool = False
    """Whether the service ended the utterance, perhaps while it was still open here."""
    latency_s: float | None = None
    """From the end of the speech to `now`, in seconds; None if `ours` is false."""
    ours: bool = False
    """Whether it answers an utterance of this run."""
    late: bool = False
    """Whether the speech ended too long ago to act upon it."""
    act_until: float | None = None
    """Until when the transcript may be acted upon, in monotonic seconds; None: not at all."""

    @property
    def cut(self) -> bool:
        """Whether only a part was transcribed."""
        return self.resend is not Resend.NO and self.error_code is None


@dataclass(slots=True)
class _Expected:
    closed_at: float | None = None
    """When its speech ended."""
    sent_at: float | None = None
    """Since when an answer can be expected; None: not yet."""
    answered: bool = False
    slept: bool = False
    """Whether the machine slept since, so that its age is not known."""
    last: int | None = None
    """Hash of its last message: the broker may deliver a message twice."""


class AnswerTracker:
    """Knows the utterances of this run, and which of them were answered."""

    def __init__(self, max_age_s: float) -> None:
        """`max_age_s`: how long after the end of its speech a transcript may be acted upon."""
        self._max_age_s = max_age_s
        self._expected: dict[str, _Expected] = {}
        self.unanswered = 0
        """Utterances that were not answered in time."""

    @property
    def outstanding(self) -> int:
        """How many utterances have ended and are not answered."""
        return len(self._waiting)

    @property
    def waiting_since(self) -> float | None:
        """Since when an answer is due; None: everything is answered, or yet to be sent.

        The time while the broker or the service was away does not count.
        """
        sent = (one.sent_at for one in self._waiting if one.sent_at is not None)
        return min(sent, default=None)

    def begin(self, utterance: str) -> None:
        """An utterance begins. A refusal may answer it before its end."""
        self._expected[utterance] = _Expected()
        if len(self._expected) > MAX_EXPECTED:
            del self._expected[next(iter(self._expected))]

    def end(self, utterance: str, closed_at: float) -> None:
        """Its speech ended at `closed_at`."""
        if utterance in self._expected:
            self._expected[utterance].closed_at = closed_at

    def sent(self, utterance: str, acknowledged: bool, now: float) -> None:
        """The broker has all of it. `acknowledged`: the service is known to have it too."""
        one = self._expected.get(utterance)
        if one is not None and (acknowledged or one.sent_at is None):
            one.sent_at = now

    def connected(self, now: float) -> None:
        """The broker was away: answers can be expected from now on."""
        for one in self._waiting:
            one.sent_at = None if one.sent_at is None else now

    def rename(self, utterance: str, name: str) -> None:
        """An utterance is sent under a new id."""
        if utterance in self._expected:
            self._expected[name] = self._expected.pop(utterance)

    def slept(self) -> None:
        """The machine slept: no transcript of earlier speech may be acted upon."""
        for one in self._expected.values():
            one.slept = True

    def forget(self, utterance: str) -> None:
        """An utterance was dropped: no answer is expected."""
        self._expected.pop(utterance, None)

    def tick(self, now: float) -> None:
        """Give up on what was not answered in time."""
        for utterance, one in list(self._expected.items()):
            if one.answered or one.sent_at is None or now - one.sent_at < ANSWER_TIMEOUT_S:
                continue
            self.unanswered += 1
            del self._expected[utterance]

    def take(self, payload: bytes, now: float) -> ServiceAnswer | None:
        """The answer in a `result` message; None: it is malformed, or a duplicate.

        An utterance that is sent again is answered again. Its transcript may be acted upon once:
        the first time that an answer comes in, even if the service says that it is repeated.
        """
        try:
            answer = _read(payload)
        except (ValueError, TypeError, RecursionError):
            return None
        expected = None if answer.id is None else self._expected.get(answer.id)
        if expected is None:
            return answer
        digest = hash(payload)
        if digest == expected.last:
            return None
        expected.last = digest
        settles = answer.resend is Resend.NO
        to_act = bool(answer.text) and settles and not expected.answered
        expected.answered |= settles
        if answer.ended_by_service and expected.closed_at is None:
            expected.closed_at = now
        if expected.closed_at is None:
            return replace(answer, ours=True)
        latency_s = max(now - expected.closed_at, 0.0)
        late = latency_s > self._max_age_s or expected.slept
        act_until = expected.closed_at + self._max_age_s if to_act and not late else None
        return replace(answer, latency_s=latency_s, ours=True, late=late, act_until=act_until)

    @property
    def _waiting(self) -> list[_Expected]:
        """The utterances that have ended and are not answered."""
        return [
            one for one in self._expected.values() if one.closed_at is not None and not one.answered
        ]


def _read(payload: bytes) -> ServiceAnswer:
    """Raises ValueError, TypeError or RecursionError for a malformed payload."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError
    fields = _section(json.loads(payload))
    error = _section(fields.get("error") or {})
    outcome = _text(fields.get("outcome"), MAX_NAME)
    code = _optional(error.get("code"), MAX_NAME)
    return ServiceAnswer(
        id=_optional(fields.get("id"), MAX_NAME),
        outcome=outcome,
        text=_text(fields.get("text", "")) if outcome == OutcomeKind.TRANSCRIPT else "",
        error_code=code,
        detail=_optional(error.get("detail")),
        hint=_optional(fields.get("hint")),
        resend=_resend(fields, code),
        repeated=fields.get("repeated") is True,
        ended_by_service=fields.get("end") == _ENDPOINT,
    )


def _resend(fields: Mapping[str, object], code: str | None) -> Resend:
    end = fields.get("end")
    if end == EndReason.SHUTDOWN or code == ShuttingDownError.code:
        return Resend.LATER
    incomplete = fields.get("incomplete")
    # Older services do not send `incomplete`.
    if incomplete is True or (incomplete is None and end in _INCOMPLETE):
        return Resend.SAME_ID
    # A satellite always sends a stop: an end by pause means that audio was lost.
    return Resend.NEW_ID if end == EndReason.GAP else Resend.NO


def _section(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _optional(value: object, limit: int = MAX_PAYLOAD_BYTES) -> str | None:
    return None if value is None else _text(value, limit)


def _text(value: object, limit: int = MAX_PAYLOAD_BYTES) -> str:
    """A text without lone surrogates, which JSON may hold and nothing can print."""
    if not isinstance(value, str) or len(value) > limit:
        raise TypeError
    return value.encode("utf-8", "replace").decode()
