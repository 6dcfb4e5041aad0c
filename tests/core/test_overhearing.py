"""What a device keeps in mind of its utterances at another gateway."""

from __future__ import annotations

from stt_mqtt.core.device import Device
from stt_mqtt.core.overhearing import overhear_chunk, overhear_result, overhear_start
from stt_mqtt.core.ownership import EVERYTHING
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind, UtteranceStart
from tests.core.test_device import Bench

KEY = DeviceKey("native", "kitchen")


def a_device() -> Device:
    return Bench(gap_timeout_ms=800, idle_timeout_ms=5000).device


def test_audio_belongs_to_the_other_gateway_until_a_pause() -> None:
    device = a_device()
    for now in (0.0, 0.5, 1.0):
        overhear_chunk(device, now)
    assert not device.takes_chunk(1.5)
    assert device.takes_chunk(1.9)


def test_audio_after_a_start_belongs_to_the_other_gateway_for_as_long_as_it_waits_for_it() -> None:
    device = a_device()
    overhear_start(device, 0.0)
    overhear_chunk(device, 3.0)
    assert not device.takes_chunk(7.9)
    assert device.takes_chunk(8.1)


def test_a_stop_ends_that() -> None:
    device = a_device()
    overhear_start(device, 0.0)
    device.stop(None, None, 1.0)
    assert device.takes_chunk(1.4)


def test_an_answer_is_news_once_and_is_then_repeated() -> None:
    device = a_device()
    outcome = Outcome(KEY, "a", 1.0, OutcomeKind.NO_SPEECH)
    assert overhear_result(device, outcome, 0.0)
    assert not overhear_result(device, outcome, 1.0)
    (repeated,) = device.start(UtteranceStart(id="a"), 2.0)
    assert repeated.outcome is outcome  # type: ignore[union-attr]


def test_an_answer_to_an_utterance_that_is_open_here_is_news() -> None:
    device = a_device()
    device.start(UtteranceStart(id="a"), 0.0)
    assert overhear_result(device, Outcome(KEY, "a", 1.0, OutcomeKind.NO_SPEECH), 1.0)


def test_without_a_fleet_everything_is_this_process_s() -> None:
    EVERYTHING.connected()
    EVERYTHING.disconnected()
    EVERYTHING.heard(b"")
    EVERYTHING.say_goodbye()
    EVERYTHING.tick()
    assert EVERYTHING.said_offline()
    assert EVERYTHING.owns("kitchen")
    assert EVERYTHING.leads
    assert EVERYTHING.alone
    assert not EVERYTHING.is_live("a")
    assert (EVERYTHING.shared, EVERYTHING.gateway, EVERYTHING.deadline) == (False, None, None)
