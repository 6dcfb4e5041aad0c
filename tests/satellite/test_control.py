from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt import __version__
from stt_mqtt.satellite.control import MAX_PAYLOAD_BYTES, State, Wishes, parse_wishes


@pytest.mark.parametrize(
    ("payload", "wishes"),
    [
        ('{"muted": true}', Wishes(muted=True)),
        ('{"listen": false, "playing": true}', Wishes(listen=False, playing=True)),
        ('{"volume": 11, "muted": null}', Wishes()),
        ("{}", Wishes()),
        ("", Wishes()),
    ],
)
def test_what_is_missing_stays_as_it_is(payload: str, wishes: Wishes) -> None:
    assert parse_wishes(payload.encode(), retained=False) == wishes


def test_of_a_retained_message_only_the_mute_counts() -> None:
    payload = b'{"muted": true, "listen": true, "playing": true}'
    assert parse_wishes(payload, retained=True) == Wishes(muted=True)


@pytest.mark.parametrize(
    "payload",
    [
        b"ON",
        b"[]",
        b'{"muted": 1}',
        b'{"listen": "yes", "muted": true}',
        b"\xff\xfe",
        b"[" * 1000,
        b'{"muted": true, "x": "' + b"x" * MAX_PAYLOAD_BYTES + b'"}',
    ],
)
def test_what_cannot_be_read_changes_nothing_and_is_said(
    payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert parse_wishes(payload, retained=False) == Wishes()
    assert "satellite/set is ignored" in caplog.text


@given(st.binary(max_size=2 * MAX_PAYLOAD_BYTES), st.booleans())
def test_nothing_on_the_topic_breaks_anything(payload: bytes, retained: bool) -> None:
    assert isinstance(parse_wishes(payload, retained), Wishes)


def test_the_state_is_json() -> None:
    state = State("always", "opus", muted=False, playing=True, listening=False, dropped=3)
    assert json.loads(state.as_json()) == {
        "v": 1,
        "version": __version__,
        "mode": "always",
        "codec": "opus",
        "muted": False,
        "playing": True,
        "listening": False,
        "dropped": 3,
    }
