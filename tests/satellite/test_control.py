from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt import __version__
from stt_mqtt.config import ListenMode, SatelliteConfig
from stt_mqtt.satellite.control import (
    MAX_PAYLOAD_BYTES,
    MAX_REASON,
    ControlCommand,
    ListenPolicy,
    SatelliteState,
    parse_command,
)
from stt_mqtt.satellite.segmenter import ListenState


@pytest.mark.parametrize(
    ("payload", "command"),
    [
        ('{"muted": true}', ControlCommand(muted=True)),
        ('{"listen": false, "playing": true}', ControlCommand(listen=False, playing=True)),
        ('{"ended": "den:7_a.b-c"}', ControlCommand(ended="den:7_a.b-c")),
        ('{"ended": "7", "muted": true}', ControlCommand(muted=True, ended="7")),
        ('{"ended": null}', ControlCommand()),
        ('{"open": "den:7_a.b-c"}', ControlCommand(open="den:7_a.b-c")),
        ('{"open": null, "ended": "7"}', ControlCommand(ended="7")),
        ('{"volume": 11, "muted": null}', ControlCommand()),
        ("{}", ControlCommand()),
        ("", ControlCommand()),
    ],
)
def test_what_is_missing_stays_as_it_is(payload: str, command: ControlCommand) -> None:
    assert parse_command(payload.encode(), retained=False) == command


def test_of_a_retained_message_only_the_mute_counts() -> None:
    payload = b'{"muted": true, "listen": true, "playing": true, "ended": "7", "open": "8"}'
    assert parse_command(payload, retained=True) == ControlCommand(muted=True)


@pytest.mark.parametrize(
    "payload",
    [
        b"ON",
        b"[]",
        b'{"muted": 1}',
        b'{"listen": "yes", "muted": true}',
        b'{"ended": 7, "muted": true}',
        b'{"ended": "", "muted": true}',
        b'{"ended": "a/b", "muted": true}',
        b'{"ended": "' + b"x" * 65 + b'"}',
        b'{"open": true, "muted": true}',
        b'{"open": "a b", "muted": true}',
        b'{"open": ["7"], "ended": "7"}',
        b"\xff\xfe",
        b"[" * 1000,
        b'{"muted": true, "x": "' + b"x" * MAX_PAYLOAD_BYTES + b'"}',
    ],
)
def test_what_cannot_be_read_changes_nothing_and_is_said(
    payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert parse_command(payload, retained=False) == ControlCommand()
    assert "satellite/set is ignored" in caplog.text


@given(st.binary(max_size=2 * MAX_PAYLOAD_BYTES), st.booleans())
def test_nothing_on_the_topic_breaks_anything(payload: bytes, retained: bool) -> None:
    assert isinstance(parse_command(payload, retained), ControlCommand)


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


NOW = 1000.0


def policy(mode: ListenMode) -> ListenPolicy:
    return ListenPolicy(SatelliteConfig(mode=mode))


def test_always_means_always() -> None:
    assert policy(ListenMode.ALWAYS).state(NOW, False) is ListenState.ACTIVE


def test_a_wake_up_listens_for_a_while() -> None:
    woken = policy(ListenMode.WAKE)
    assert woken.state(NOW, False) is ListenState.WAITING
    woken.listen(NOW)
    assert woken.state(NOW + 7.9, False) is ListenState.ACTIVE
    assert woken.state(NOW + 8.0, False) is ListenState.WAITING


def test_who_has_begun_to_speak_is_heard_to_the_end() -> None:
    woken = policy(ListenMode.WAKE)
    woken.listen(NOW)
    assert woken.state(NOW + 9.0, True) is ListenState.ACTIVE
    woken.stop_listening()
    assert woken.state(NOW + 9.0, True) is ListenState.WAITING


def test_a_button_listens_until_it_is_released() -> None:
    pressed = policy(ListenMode.PUSH_TO_TALK)
    pressed.listen(NOW)
    assert pressed.state(NOW + 10, False) is ListenState.HELD
    pressed.stop_listening()
    assert pressed.state(NOW + 10, False) is ListenState.WAITING


def test_a_button_that_nobody_releases_is_released_in_the_end() -> None:
    pressed = policy(ListenMode.PUSH_TO_TALK)
    pressed.listen(NOW)
    assert pressed.state(NOW + SatelliteConfig().vad.max_utterance_s, False) is ListenState.WAITING


@pytest.mark.parametrize("mode", list(ListenMode))
def test_who_is_muted_does_not_listen_whatever_happens(mode: ListenMode) -> None:
    muted = policy(mode)
    muted.muted = True
    muted.listen(NOW)
    assert muted.state(NOW, True) is ListenState.OFF
    muted.muted = False
    assert muted.state(NOW, False) in {ListenState.ACTIVE, ListenState.HELD}


def test_it_does_not_listen_while_a_sound_plays_but_not_for_ever() -> None:
    playing = policy(ListenMode.ALWAYS)
    playing.play(True, NOW)
    assert playing.state(NOW + 59, False) is ListenState.OFF
    assert playing.state(NOW + 60, False) is ListenState.ACTIVE
    playing.play(True, NOW + 100)
    playing.play(False, NOW + 101)
    assert playing.state(NOW + 101, False) is ListenState.ACTIVE


@given(
    st.sampled_from([ListenMode.WAKE, ListenMode.PUSH_TO_TALK]),
    st.lists(st.tuples(st.sampled_from(["listen", "stop", "play", "silent"]), st.floats(0, 30))),
)
def test_left_alone_nobody_is_listened_to(
    mode: ListenMode, events: list[tuple[str, float]]
) -> None:
    quiet, now = policy(mode), NOW
    for event, later_s in events:
        now += later_s
        match event:
            case "listen":
                quiet.listen(now)
            case "stop":
                quiet.stop_listening()
            case _:
                quiet.play(event == "play", now)
    assert quiet.state(now + 61, False) is ListenState.WAITING
