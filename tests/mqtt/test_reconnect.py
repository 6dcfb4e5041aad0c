"""When to connect again, and in which protocol."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import Protocol
from stt_mqtt.mqtt.reconnect import PEACE_S, Attempt, Cause, first_attempt

AUTO, V5, V311 = Protocol.AUTO, Protocol.V5, Protocol.V311


def follow(wanted: Protocol, *endings: Cause, jitter: float = 0.0) -> list[tuple[Protocol, float]]:
    attempt = first_attempt(wanted)
    seen = []
    for ended in endings:
        attempt = attempt.after(ended, jitter)
        seen.append((attempt.protocol, attempt.delay_s))
    return seen


@pytest.mark.parametrize(
    ("wanted", "first"), [(AUTO, V5), (V5, V5), (V311, V311)], ids=["auto", "5", "3.1.1"]
)
def test_the_first_attempt_is_made_at_once(wanted: Protocol, first: Protocol) -> None:
    attempt = first_attempt(wanted)
    assert (attempt.protocol, attempt.delay_s) == (first, 0.0)


def test_a_network_that_fails_is_tried_after_1_2_and_then_every_3_s() -> None:
    delays = [delay for _, delay in follow(V5, *[Cause.UNREACHABLE] * 5)]
    assert delays == [1, 2, 3, 3, 3]


def test_jitter_shortens_network_delays_by_up_to_a_quarter() -> None:
    assert [delay for _, delay in follow(V5, *[Cause.REFUSED] * 2, jitter=1.0)] == [
        0.75,
        1.5,
    ]


def test_refused_credentials_are_tried_after_30_60_120_240_and_then_every_300_s() -> None:
    seen = follow(AUTO, *[Cause.CREDENTIALS] * 6, jitter=1.0)
    assert seen == [(V5, delay) for delay in (30, 60, 120, 240, 300, 300)]


def test_another_trouble_starts_the_credential_delays_again() -> None:
    seen = follow(
        V5,
        Cause.CREDENTIALS,
        Cause.CREDENTIALS,
        Cause.UNREACHABLE,
        Cause.CREDENTIALS,
    )
    assert [delay for _, delay in seen] == [30, 60, 1, 30]


def test_who_is_thrown_out_by_his_own_identifier_waits_longer_every_time() -> None:
    seen = follow(AUTO, *[Cause.TAKEN_OVER] * 7)
    assert seen == [(V5, delay) for delay in (1, 5, 30, 60, 120, 300, 300)]
    delays = [delay for _, delay in follow(V5, Cause.TAKEN_OVER, jitter=1.0)]
    assert delays == [0.75]


def test_a_takeover_after_a_long_connection_is_the_first_one_again() -> None:
    attempt = Attempt(V5, takeovers=4)
    assert attempt.after(Cause.TAKEN_OVER, 0.0, PEACE_S - 1).delay_s == 120
    assert attempt.after(Cause.TAKEN_OVER, 0.0, PEACE_S).delay_s == 1
    assert attempt.after(Cause.LOST, 0.0, PEACE_S).takeovers == 0


def test_a_lost_connection_is_tried_again_after_a_second_however_bad_it_was_before() -> None:
    seen = follow(
        V5,
        Cause.UNREACHABLE,
        Cause.UNREACHABLE,
        Cause.LOST,
        Cause.UNREACHABLE,
    )
    assert [delay for _, delay in seen] == [1, 2, 1, 2]


@pytest.mark.parametrize("ended", [Cause.UNSUPPORTED, Cause.NO_ANSWER])
def test_auto_tries_3_1_1_at_once_where_5_is_not_answered_and_alternates(
    ended: Cause,
) -> None:
    assert follow(AUTO, *[ended] * 4) == [(V311, 0), (V5, 1), (V311, 0), (V5, 2)]


def test_auto_stays_with_what_has_worked_once() -> None:
    seen = follow(
        AUTO,
        Cause.NO_ANSWER,
        Cause.LOST,
        Cause.NO_ANSWER,
        Cause.UNSUPPORTED,
    )
    assert [protocol for protocol, _ in seen] == [V311, V311, V311, V311]


def test_refused_credentials_do_not_change_the_protocol() -> None:
    seen = follow(AUTO, Cause.NO_ANSWER, Cause.CREDENTIALS, Cause.CREDENTIALS)
    assert seen == [(V311, 0), (V311, 30), (V311, 60)]


@given(st.sampled_from([V5, V311]), st.lists(st.sampled_from(Cause)))
def test_a_given_protocol_never_changes(wanted: Protocol, endings: list[Cause]) -> None:
    assert {protocol for protocol, _ in follow(wanted, *endings)} <= {wanted}


@given(
    st.sampled_from(Protocol),
    st.lists(st.sampled_from(Cause), min_size=2),
    st.floats(0, 1),
)
def test_there_is_never_a_tight_loop(wanted: Protocol, endings: list[Cause], jitter: float) -> None:
    delays = [delay for _, delay in follow(wanted, *endings, jitter=jitter)]
    assert all(0 <= delay <= 300 for delay in delays)
    assert all(first + second >= 0.75 for first, second in pairwise(delays))


def test_an_attempt_is_a_value() -> None:
    attempt = Attempt(V5)
    attempt.after(Cause.UNREACHABLE, 0.0)
    assert attempt == Attempt(V5)
