"""When to connect again, in which protocol, and what the log says of a connection that fails."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import Protocol
from stt_mqtt.mqtt.reconnect import (
    MAX_REASONS,
    STEADY_S,
    UNDISTURBED_S,
    Attempt,
    Cause,
    FailureLog,
    first_attempt,
)

GONE = "broker.lan:1883 cannot be reached: Name or service not known"
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
    assert attempt.after(Cause.TAKEN_OVER, 0.0, UNDISTURBED_S - 1).delay_s == 120
    assert attempt.after(Cause.TAKEN_OVER, 0.0, UNDISTURBED_S).delay_s == 1
    assert attempt.after(Cause.LOST, 0.0, UNDISTURBED_S).takeovers == 0


def test_who_keeps_losing_a_connection_with_a_configured_identifier_fights_ever_less() -> None:
    attempt, delays = first_attempt(V5, named=True), []
    for _ in range(7):
        attempt = attempt.after(Cause.LOST, 0.0, lived_s=1.0)
        delays.append(attempt.delay_s)
    assert delays == [1, 1, 5, 15, 30, 60, 60]
    assert attempt.after(Cause.LOST, 1.0, lived_s=1.0).delay_s == 45
    assert attempt.after(Cause.LOST, 0.0, lived_s=STEADY_S).delay_s == 1
    again = attempt.after(Cause.UNREACHABLE, 0.0).after(Cause.LOST, 0.0, lived_s=1.0)
    assert again.delay_s == 1


def test_with_an_identifier_of_its_own_it_comes_back_at_once_however_often_it_is_lost() -> None:
    attempt = first_attempt(V5)
    for _ in range(7):
        attempt = attempt.after(Cause.LOST, 0.0, lived_s=1.0)
        assert attempt.delay_s == 1


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


class Bench:
    """What is said of one attempt after the other, at the times that the test gives."""

    def __init__(self, client_id: str | None = None) -> None:
        self.failures = FailureLog(client_id)
        self.said: list[tuple[float, str]] = []

    def fail(
        self, now: float, reason: str = GONE, ended: Cause = Cause.UNREACHABLE, lived_s: float = 0.0
    ) -> None:
        message = self.failures.message_for(ended, reason, lived_s, now)
        if message is not None:
            self.said.append((now, str(message)))

    def lose(self, now: float, lived_s: float = 1.0, ended: Cause = Cause.LOST) -> None:
        self.fail(now, "it broke", ended, lived_s)


def test_a_reason_is_said_at_once_then_after_1_2_4_minutes_and_at_last_every_hour() -> None:
    bench = Bench()
    for now in range(0, 6 * 3600, 3):
        bench.fail(1000.0 + now)
    minutes = [(now - 1000) / 60 for now, _ in bench.said]
    assert minutes == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]


def test_a_repetition_tells_how_long_it_has_been_so() -> None:
    bench = Bench()
    for now in (0.0, 60.0, 180.0, 3 * 3600.0):
        bench.fail(now)
    assert [text for _, text in bench.said] == [
        GONE,
        f"{GONE} (so for 1 min)",
        f"{GONE} (so for 3 min)",
        f"{GONE} (so for 3 h)",
    ]


def test_another_reason_is_said_at_once_and_is_the_one_that_is_repeated() -> None:
    bench = Bench()
    bench.fail(0.0, "a")
    bench.fail(3.0, "b")
    bench.fail(6.0, "a")
    bench.fail(60.0, "b")
    assert bench.said == [(0.0, "a"), (3.0, "b"), (60.0, "b (so for 1 min)")]


def test_reasons_that_never_end_do_not_fill_the_log() -> None:
    bench = Bench()
    for number in range(1000):
        bench.fail(number * 0.01, f"reason {number}")
    assert len(bench.said) == MAX_REASONS


def test_a_connection_that_lasted_ends_the_trouble_before_it() -> None:
    bench = Bench()
    bench.fail(0.0)
    bench.fail(300.0)
    bench.lose(400.0, lived_s=STEADY_S)
    bench.fail(401.0)
    assert bench.said[2:] == [(400.0, "it broke"), (401.0, GONE)]


def test_a_loss_now_and_then_is_said_each_time() -> None:
    bench = Bench("stt")
    for now in (0.0, 60.0, 120.0, 180.0):
        bench.lose(now, lived_s=50.0)
    assert [text for _, text in bench.said] == ["it broke"] * 4
    assert not bench.failures.flapping


def test_three_losses_soon_after_it_came_up_make_the_identifier_the_likely_cause() -> None:
    bench = Bench("stt")
    for now in range(0, 50, 2):
        bench.lose(float(now))
    assert bench.said == [
        (0.0, "it broke"),
        (
            4.0,
            "it broke, again and again soon after it came up: it is likely that another client "
            "uses the identifier mqtt.client_id: stt; give each one of its own",
        ),
    ]
    assert bench.failures.flapping


def test_an_identifier_of_our_own_making_is_not_suspected() -> None:
    bench = Bench()
    for now in range(0, 50, 2):
        bench.lose(float(now))
    assert bench.said[1] == (
        4.0,
        "it broke, again and again soon after it came up: the log of the broker says why",
    )


def test_a_broker_that_cannot_be_reached_in_between_is_another_trouble() -> None:
    bench = Bench("stt")
    for now in (0.0, 10.0, 20.0):
        bench.lose(now)
        bench.fail(now + 5.0)
    assert not bench.failures.flapping


def test_a_takeover_names_the_identifier_at_once_and_then_ever_less_often() -> None:
    bench = Bench("stt")
    times = [0.0, 5.0, 35.0, 95.0, 215.0, 515.0, 1000.0]
    for now in times:
        bench.lose(now, lived_s=30.0, ended=Cause.TAKEN_OVER)
    text = (
        "it broke: another client uses the identifier mqtt.client_id: stt; give each one of its own"
    )
    assert bench.said == [
        (0.0, text),
        (95.0, f"{text} (so for 2 min)"),
        (215.0, f"{text} (so for 4 min)"),
        (515.0, f"{text} (so for 9 min)"),
        (1000.0, f"{text} (so for 17 min)"),
    ]


def test_a_takeover_after_a_long_peace_is_said_anew() -> None:
    bench = Bench("stt")
    bench.lose(0.0, ended=Cause.TAKEN_OVER)
    bench.lose(1000.0, lived_s=UNDISTURBED_S, ended=Cause.TAKEN_OVER)
    assert len({text for _, text in bench.said}) == 1
    assert len(bench.said) == 2


@given(
    st.lists(st.tuples(st.sampled_from(Cause), st.floats(0, 9), st.floats(0.75, 300)), max_size=60),
    st.sampled_from([None, "stt"]),
)
def test_while_nothing_lasts_the_pauses_between_repetitions_grow(
    endings: list[tuple[Cause, float, float]], client_id: str | None
) -> None:
    bench, now = Bench(client_id), 0.0
    for ended, lived_s, pause_s in endings:
        now += pause_s
        bench.fail(now, "a", ended, lived_s)
    repeated = [at for at, text in bench.said if "so for" in text]
    pauses = [later - earlier for earlier, later in pairwise(repeated)]
    assert all(pause >= 120.0 for pause in pauses)
    assert len(bench.said) - len(repeated) <= 4
