from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import ListenMode, SatelliteConfig
from stt_mqtt.satellite.attention import ListenPolicy
from stt_mqtt.satellite.events import ListenState

NOW = 1000.0


def attention(mode: ListenMode) -> ListenPolicy:
    return ListenPolicy(SatelliteConfig(mode=mode))


def test_always_means_always() -> None:
    assert attention(ListenMode.ALWAYS).ear(NOW, False) is ListenState.OPEN


def test_a_wake_up_opens_the_ear_for_a_while() -> None:
    woken = attention(ListenMode.WAKE)
    assert woken.ear(NOW, False) is ListenState.WAITING
    woken.listen(NOW)
    assert woken.ear(NOW + 7.9, False) is ListenState.OPEN
    assert woken.ear(NOW + 8.0, False) is ListenState.WAITING


def test_who_has_begun_to_speak_is_heard_to_the_end() -> None:
    woken = attention(ListenMode.WAKE)
    woken.listen(NOW)
    assert woken.ear(NOW + 9.0, True) is ListenState.OPEN
    woken.stop_listening()
    assert woken.ear(NOW + 9.0, True) is ListenState.WAITING


def test_a_button_holds_the_ear_open_until_it_is_released() -> None:
    pressed = attention(ListenMode.PUSH_TO_TALK)
    pressed.listen(NOW)
    assert pressed.ear(NOW + 10, False) is ListenState.HELD
    pressed.stop_listening()
    assert pressed.ear(NOW + 10, False) is ListenState.WAITING


def test_a_button_that_nobody_releases_is_released_in_the_end() -> None:
    pressed = attention(ListenMode.PUSH_TO_TALK)
    pressed.listen(NOW)
    assert pressed.ear(NOW + SatelliteConfig().vad.max_utterance_s, False) is ListenState.WAITING


@pytest.mark.parametrize("mode", list(ListenMode))
def test_who_is_muted_is_deaf_whatever_happens(mode: ListenMode) -> None:
    muted = attention(mode)
    muted.muted = True
    muted.listen(NOW)
    assert muted.ear(NOW, True) is ListenState.DEAF
    muted.muted = False
    assert muted.ear(NOW, False) in {ListenState.OPEN, ListenState.HELD}


def test_it_is_deaf_while_a_sound_plays_but_not_for_ever() -> None:
    playing = attention(ListenMode.ALWAYS)
    playing.play(True, NOW)
    assert playing.ear(NOW + 59, False) is ListenState.DEAF
    assert playing.ear(NOW + 60, False) is ListenState.OPEN
    playing.play(True, NOW + 100)
    playing.play(False, NOW + 101)
    assert playing.ear(NOW + 101, False) is ListenState.OPEN


@given(
    st.sampled_from([ListenMode.WAKE, ListenMode.PUSH_TO_TALK]),
    st.lists(st.tuples(st.sampled_from(["listen", "stop", "play", "silent"]), st.floats(0, 30))),
)
def test_left_alone_nobody_is_listened_to(
    mode: ListenMode, events: list[tuple[str, float]]
) -> None:
    quiet, now = attention(mode), NOW
    for event, later_s in events:
        now += later_s
        match event:
            case "listen":
                quiet.listen(now)
            case "stop":
                quiet.stop_listening()
            case _:
                quiet.play(event == "play", now)
    assert quiet.ear(now + 61, False) is ListenState.WAITING
