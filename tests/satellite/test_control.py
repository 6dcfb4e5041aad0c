from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt import __version__
from stt_mqtt.satellite.control import (
    MAX_PAYLOAD_BYTES,
    MAX_REASON,
    ControlCommand,
    SatelliteState,
    parse_wishes,
)


@pytest.mark.parametrize(
    ("payload", "wishes"),
    [
        ('{"muted": true}', ControlCommand(muted=True)),
        ('{"listen": false, "playing": true}', ControlCommand(listen=False, playing=True)),
        ('{"volume": 11, "muted": null}', ControlCommand()),
        ("{}", ControlCommand()),
        ("", ControlCommand()),
    ],
)
def test_what_is_missing_stays_as_it_is(payload: str, wishes: ControlCommand) -> None:
    assert parse_wishes(payload.encode(), retained=False) == wishes


def test_of_a_retained_message_only_the_mute_counts() -> None:
    payload = b'{"muted": true, "listen": true, "playing": true}'
    assert parse_wishes(payload, retained=True) == ControlCommand(muted=True)


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
    assert parse_wishes(payload, retained=False) == ControlCommand()
    assert "satellite/set is ignored" in caplog.text


@given(st.binary(max_size=2 * MAX_PAYLOAD_BYTES), st.booleans())
def test_nothing_on_the_topic_breaks_anything(payload: bytes, retained: bool) -> None:
    assert isinstance(parse_wishes(payload, retained), ControlCommand)


def test_the_state_is_json() -> None:
    state = SatelliteState(
        "always", "opus", muted=False, playing=True, listening=False, reason=None, dropped=3
    )
    assert json.loads(state.as_json()) == {
        "v": 1,
        "model": "stt-mqtt satellite",
        "version": __version__,
        "mode": "always",
        "codec": "opus",
        "muted": False,
        "playing": True,
        "listening": False,
        "reason": None,
        "dropped": 3,
    }


def test_a_reason_is_one_printable_line_of_bounded_length() -> None:
    reason = "no microphone: \x1b[31m'USB'\nis gone\u202e " + "x" * 1000
    state = SatelliteState("always", "opus", False, False, False, reason, 0)
    told = json.loads(state.as_json())["reason"]
    assert told.startswith("no microphone:  [31m'USB' is gone")
    assert told.isprintable()
    assert len(told) == MAX_REASON
    assert told.endswith("…")


@given(st.text())
def test_whatever_a_library_says_the_state_is_small_json(reason: str) -> None:
    payload = SatelliteState(
        "push_to_talk", "pcm_s16le", True, True, False, reason, 10**9
    ).as_json()
    assert len(payload) < 1024
    assert json.loads(payload)["listening"] is False
