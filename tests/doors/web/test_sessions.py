from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.web.sessions import (
    FAILURES_S,
    LIFETIME_S,
    MAX_ADDRESSES,
    MAX_FAILURES,
    Failures,
    Sessions,
)

NOW = 1_795_000_000.5
TOKEN = "a-long-token-of-this-house"


def test_a_cookie_is_valid_for_its_time_and_for_every_process_with_the_token() -> None:
    cookie = Sessions(TOKEN).new(NOW)
    again = Sessions(TOKEN)
    assert again.left_s(cookie, NOW) == pytest.approx(LIFETIME_S, abs=1)
    assert again.left_s(cookie, NOW + LIFETIME_S - 2) is not None
    assert again.left_s(cookie, NOW + LIFETIME_S) is None
    # The clock was set back by more than a cookie can be valid.
    assert again.left_s(cookie, NOW - 1000) is None
    assert Sessions(TOKEN + "x").left_s(cookie, NOW) is None
    assert TOKEN not in cookie


def test_two_cookies_are_never_the_same() -> None:
    sessions = Sessions(TOKEN)
    assert sessions.new(NOW) != sessions.new(NOW)


@given(st.text() | st.from_regex(r"\d{1,12}\.[0-9a-f]{16}\.[0-9a-f]{64}", fullmatch=True))
def test_nothing_else_is_a_cookie(text: str) -> None:
    assert Sessions(TOKEN).left_s(text, NOW) is None


@given(st.text())
def test_only_the_token_is_the_token(text: str) -> None:
    assert Sessions(TOKEN).is_token(text) == (text == TOKEN)


def test_after_some_failures_an_address_waits_until_the_first_is_old_enough() -> None:
    failures = Failures()
    for number in range(MAX_FAILURES):
        assert failures.wait_s("a", number) == 0
        failures.note("a", f"guess {number}", number)
    assert failures.wait_s("a", MAX_FAILURES) == FAILURES_S - MAX_FAILURES
    assert failures.wait_s("b", MAX_FAILURES) == 0
    assert failures.wait_s("a", FAILURES_S) == 0
    failures.note("a", "another", FAILURES_S)
    assert failures.wait_s("a", FAILURES_S) == 1
    failures.forgive("a")
    failures.forgive("never seen")
    assert failures.wait_s("a", FAILURES_S) == 0


def test_the_failures_of_a_bounded_number_of_addresses_are_remembered() -> None:
    failures = Failures()
    for guess in range(MAX_FAILURES):
        failures.note("first", str(guess), 0)
    for number in range(MAX_ADDRESSES):
        failures.note(str(number), "wrong", 0)
    assert failures.wait_s("first", 0) == 0


def test_the_same_wrong_token_again_is_no_new_guess() -> None:
    failures = Failures()
    for second in range(150):
        failures.note("a", "old", second)
        assert failures.wait_s("a", second) == 0
    now = 150
    for number in range(MAX_FAILURES - 1):
        failures.note("a", f"guess {number}", now)
    assert failures.wait_s("a", now) > 0


def test_no_wrong_token_is_kept() -> None:
    failures = Failures()
    failures.note("a", "nearly the token", 0)
    assert "nearly the token" not in repr(vars(failures))
