"""What came back for what was said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.satellite.answers import (
    ANSWER_TIMEOUT_S,
    MAX_EXPECTED,
    MAX_PAYLOAD_BYTES,
    AnswerTracker,
    Resend,
)


def result(utterance: object = "a", **changes: Any) -> bytes:
    """A message as the service sends it."""
    fields = {
        "v": 1,
        "id": utterance,
        "device": "kitchen",
        "ts": 1_795_300_000.12,
        "outcome": "transcript",
        "text": "Turn on the light.",
        "end": "stop",
        "latency_s": 0.081,
        "error": None,
    }
    return json.dumps({**fields, **changes}).encode()


def said(answers: AnswerTracker, utterance: str, closed_at: float) -> None:
    """An utterance that reaches the service at its end."""
    answers.begin(utterance)
    answers.end(utterance, closed_at)
    answers.sent(utterance, acknowledged=True, now=closed_at)


def test_a_transcript_of_ours_is_to_be_acted_upon_until_its_speech_is_too_old() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=100.0)
    answer = answers.take(result(), 100.5)
    assert answer is not None
    assert (answer.id, answer.outcome, answer.text) == ("a", "transcript", "Turn on the light.")
    assert answer.latency_s == pytest.approx(0.5)
    assert answer.ours
    assert not answer.late
    assert answer.act_until == 130.0


@pytest.mark.parametrize(("age_s", "late"), [(30.0, False), (30.1, True)])
def test_what_comes_too_late_is_shown_and_not_acted_upon(age_s: float, late: bool) -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answer = answers.take(result(), age_s)
    assert answer is not None
    assert answer.text == "Turn on the light."
    assert answer.late is late
    assert (answer.act_until is None) is late


@pytest.mark.parametrize("utterance", [None, "somebody-else"])
def test_an_answer_to_somebody_else_is_shown_and_not_acted_upon(utterance: str | None) -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answer = answers.take(result(utterance), 1.0)
    assert answer is not None
    assert not answer.ours
    assert (answer.latency_s, answer.act_until) == (None, None)
    assert answers.outstanding == 1


def test_an_error_has_its_code_and_detail_and_no_words() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    error = {"code": "overloaded", "detail": "the queue is full"}
    answer = answers.take(result(outcome="error", error=error, text="ignored"), 1.0)
    assert answer is not None
    assert (answer.outcome, answer.text) == ("error", "")
    assert (answer.error_code, answer.detail) == ("overloaded", "the queue is full")
    assert answer.act_until is None
    assert answers.outstanding == 0


@pytest.mark.parametrize("outcome", ["no_speech", "aborted", "something_new"])
def test_every_outcome_settles_an_utterance_also_one_that_is_not_known_yet(outcome: str) -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answer = answers.take(result(outcome=outcome, text=""), 1.0)
    assert answer is not None
    assert answer.outcome == outcome
    assert answer.act_until is None
    assert answers.outstanding == 0


def test_a_message_that_the_broker_delivers_twice_is_one_answer() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    assert answers.take(result(), 1.0) is not None
    assert answers.take(result(), 2.0) is None


def test_what_is_answered_twice_is_acted_upon_once() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    first = answers.take(result(text="Turn on"), 1.0)
    later = answers.take(result(), 6.0)
    assert first is not None
    assert later is not None
    assert (first.act_until, later.act_until) == (30.0, None)
    assert later.latency_s == 6.0
    assert answers.outstanding == 0


def test_half_an_utterance_is_shown_while_the_whole_of_it_is_waited_for() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    half = answers.take(result(text="Turn on", end="disconnect"), 1.0)
    assert half is not None
    assert (half.text, half.cut, half.act_until) == ("Turn on", True, None)
    assert answers.outstanding == 1
    whole = answers.take(result(), 2.0)
    assert whole is not None
    assert whole.act_until == 30.0
    assert answers.outstanding == 0


def test_what_was_dropped_before_it_was_sent_is_not_waited_for() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    said(answers, "b", closed_at=0.0)
    answers.forget("a")
    answers.forget("never-heard-of")
    assert answers.outstanding == 1


def test_who_waits_longest_for_an_answer_is_known() -> None:
    answers = AnswerTracker(max_age_s=30)
    assert answers.waiting_since is None
    said(answers, "a", closed_at=2.0)
    said(answers, "b", closed_at=1.0)
    assert answers.waiting_since == 1.0
    answers.take(result("b"), 3.0)
    assert answers.waiting_since == 2.0
    answers.forget("a")
    assert answers.waiting_since is None


def test_of_too_many_utterances_the_oldest_is_forgotten() -> None:
    answers = AnswerTracker(max_age_s=30)
    for number in range(MAX_EXPECTED + 1):
        said(answers, str(number), closed_at=0.0)
    assert answers.outstanding == MAX_EXPECTED
    first, second = answers.take(result("0"), 1.0), answers.take(result("1"), 1.0)
    assert first is not None
    assert second is not None
    assert (first.ours, second.ours) == (False, True)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"transcript"',
        b"{}",
        b"{" * 100_000,
        b"[" * 60_000,
        b"1" * 60_000,
        result(5),
        result("x" * 65),
        result(outcome=None),
        result(outcome="x" * 65),
        result(text=None),
        result(text=["Turn on the light."]),
        result(error="overloaded"),
        result(error={"code": 5}),
        result(error={"code": "x" * 65}),
        result(error={"code": "overloaded", "detail": {}}),
        result(text="x" * MAX_PAYLOAD_BYTES),
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_what_is_no_result_is_nothing(payload: bytes) -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    assert answers.take(payload, 1.0) is None
    assert answers.outstanding == 1


def test_what_is_missing_beside_the_outcome_is_not_needed() -> None:
    answer = AnswerTracker(max_age_s=30).take(b'{"outcome":"no_speech"}', 0.0)
    assert answer is not None
    assert (answer.id, answer.text) == (None, "")


def test_halves_of_surrogate_pairs_become_something_that_can_be_printed() -> None:
    answers = AnswerTracker(max_age_s=30)
    error = {"code": "x", "detail": "\udc80"}
    answer = answers.take(result(text="a\ud800b", error=error), 0.0)
    assert answer is not None
    assert (answer.text, answer.detail) == ("a?b", "?")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.binary()
    | st.builds(json.dumps, JSON).map(str.encode)
    | st.builds(
        result,
        JSON,
        outcome=st.just("transcript") | JSON,
        text=st.text() | JSON,
        error=JSON,
        end=JSON,
    )
)
def test_whatever_comes_in_nothing_else_comes_out(payload: bytes) -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answer = answers.take(payload, 1.0)
    if answer is not None:
        answer.text.encode()
        assert answer.ours is (answer.id == "a")
        assert answer.act_until is None or (answer.ours and answer.text and not answer.cut)


@pytest.mark.parametrize("end", ["gap", "disconnect", "restart", "shutdown"])
def test_the_words_of_a_part_are_not_acted_upon(end: str) -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    half = answers.take(result(end=end), 1.0)
    assert half is not None
    assert half.cut
    assert half.act_until is None
    assert answers.outstanding == 1


def test_a_part_is_what_the_service_calls_incomplete_whatever_else_it_says_of_it() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    half = answers.take(result(end="something-new", incomplete=True), 1.0)
    assert half is not None
    assert (half.resend, half.cut, half.act_until) == (Resend.SAME_ID, True, None)
    error = {"code": "too_short", "detail": "no audio came"}
    nothing = answers.take(
        result(outcome="error", text="", end="disconnect", incomplete=True, error=error), 2.0
    )
    assert nothing is not None
    assert nothing.resend is Resend.SAME_ID
    assert answers.outstanding == 1
    whole = answers.take(result(incomplete=False), 3.0)
    assert whole is not None
    assert (whole.resend, whole.act_until) == (Resend.NO, 30.0)


@pytest.mark.parametrize(
    ("changes", "resend"),
    [
        ({"end": "stop"}, Resend.NO),
        ({"end": "endpoint"}, Resend.NO),
        ({"end": "gap", "incomplete": False}, Resend.NEW_ID),
        ({"end": "restart"}, Resend.SAME_ID),
        ({"end": "shutdown", "incomplete": False}, Resend.LATER),
        (
            {"outcome": "error", "error": {"code": "shutting_down", "detail": "the service stops"}},
            Resend.LATER,
        ),
    ],
)
def test_what_was_not_heard_whole_is_sent_again_in_the_way_that_the_service_needs(
    changes: dict[str, object], resend: Resend
) -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answer = answers.take(result(**changes), 1.0)
    assert answer is not None
    assert answer.resend is resend


def test_the_words_of_the_next_service_are_acted_upon_after_one_has_left_without_them() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    error = {"code": "shutting_down", "detail": "the service stops"}
    answers.take(result(outcome="error", text="", error=error), 1.0)
    assert answers.outstanding == 1
    answer = answers.take(result(), 9.0)
    assert answer is not None
    assert answer.act_until == 30.0


def test_a_repeated_answer_is_acted_upon_if_the_first_one_was_lost_and_never_else() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "lost", closed_at=0.0)
    said(answers, "heard", closed_at=0.0)
    answers.take(result("heard"), 1.0)
    for utterance, act_until in (("lost", 30.0), ("heard", None)):
        answer = answers.take(result(utterance, repeated=True), 5.0)
        assert answer is not None
        assert answer.repeated
        assert answer.act_until == act_until
    assert answers.take(result("lost", repeated=True), 6.0) is None
    assert answers.outstanding == 0


def test_what_was_sent_under_another_id_is_answered_under_that() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answers.rename("a", "b")
    answers.rename("never-heard-of", "c")
    old, new = answers.take(result("a", repeated=True), 1.0), answers.take(result("b"), 2.0)
    assert old is not None
    assert new is not None
    assert (old.ours, new.act_until) == (False, 30.0)


def test_what_was_said_before_the_machine_slept_is_not_acted_upon() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answers.slept()
    answer = answers.take(result(), 0.5)
    assert answer is not None
    assert (answer.late, answer.act_until) == (True, None)


def test_what_was_not_sent_is_waited_for_when_it_was() -> None:
    answers = AnswerTracker(max_age_s=600)
    answers.begin("a")
    answers.end("a", 0.0)
    answers.tick(500.0)
    assert (answers.outstanding, answers.waiting_since) == (1, None)
    answers.sent("a", acknowledged=False, now=500.0)
    answers.sent("a", acknowledged=False, now=504.0)
    assert answers.waiting_since == 500.0
    answers.sent("a", acknowledged=True, now=508.0)
    assert answers.waiting_since == 508.0
    answers.sent("never-heard-of", acknowledged=True, now=0.0)
    assert answers.waiting_since == 508.0


def test_the_wait_begins_anew_when_the_broker_is_back() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answers.begin("b")
    answers.end("b", 5.0)
    answers.connected(40.0)
    assert answers.waiting_since == 40.0


def test_what_nobody_answers_is_not_waited_for_for_ever() -> None:
    answers = AnswerTracker(max_age_s=30)
    said(answers, "a", closed_at=0.0)
    answers.tick(ANSWER_TIMEOUT_S - 1)
    assert (answers.outstanding, answers.unanswered) == (1, 0)
    answers.tick(ANSWER_TIMEOUT_S)
    assert (answers.outstanding, answers.unanswered) == (0, 1)


def test_a_refusal_that_comes_before_the_end_is_the_answer() -> None:
    answers = AnswerTracker(max_age_s=30)
    answers.begin("a")
    error = {"code": "disabled", "detail": "switched off"}
    refused = answers.take(result(outcome="error", text="", error=error), 1.0)
    assert refused is not None
    assert (refused.ours, refused.latency_s, refused.error_code) == (True, None, "disabled")
    answers.end("a", 2.0)
    assert answers.outstanding == 0


def test_what_is_still_being_said_is_not_waited_for() -> None:
    answers = AnswerTracker(max_age_s=30)
    answers.begin("a")
    assert (answers.outstanding, answers.waiting_since) == (0, None)
    answers.end("b", 2.0)
    assert answers.outstanding == 0


def test_the_answer_to_an_utterance_that_the_service_has_ended_may_come_before_the_end() -> None:
    answers = AnswerTracker(max_age_s=30)
    answers.begin("a")
    answer = answers.take(result(end="endpoint"), 100.0)
    assert answer is not None
    assert answer.ended_by_service
    assert answer.act_until == 130.0
    answers.end("a", 100.1)
    repeated = answers.take(result(end="endpoint", repeated=True), 101.0)
    assert repeated is not None
    assert repeated.act_until is None
    assert answers.outstanding == 0


def test_no_other_answer_to_an_open_utterance_is_acted_upon() -> None:
    answers = AnswerTracker(max_age_s=30)
    answers.begin("a")
    answer = answers.take(result(end="cap"), 100.0)
    assert answer is not None
    assert not answer.ended_by_service
    assert answer.act_until is None
