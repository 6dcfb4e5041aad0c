"""What the observers of open utterances are told: the end of a turn, and an open phrase."""

from __future__ import annotations

from typing import Any

import pytest

from stt_mqtt.core.listening import OPEN_S
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import (
    Completion,
    DeviceKey,
    Endpointing,
    EndReason,
    TurnEnd,
    UtteranceStart,
    Verdict,
)
from tests.core.speech import WORDS, found, quiet
from tests.core.test_glimpses import KITCHEN, PATIENT, PAUSE, SERVICE_ENDS, Bench, glimpsing
from tests.fakes import heard, nothing_heard

OPEN = found(Completion.OPEN, "Set the kitchen to")
LONG_PATIENCE_MS = round(1000 * OPEN_S) + 100


class Turns:
    """Notes what it is told, and how many outcomes there were by then."""

    def __init__(self, bench: Bench, fails: bool = False) -> None:
        self.ended: list[tuple[DeviceKey, str, int]] = []
        self.open: list[tuple[DeviceKey, str]] = []
        self._bench = bench
        self._fails = fails
        bench.service.registry.observers.add_for_turns("native", self)

    def turn_ended(self, key: DeviceKey, id: str) -> None:
        self.ended.append((key, id, len(self._bench.outcomes)))
        if self._fails:
            raise RuntimeError

    def phrase_open(self, key: DeviceKey, id: str) -> None:
        self.open.append((key, id))
        if self._fails:
            raise RuntimeError


def paused(**more: Any) -> tuple[Bench, Turns]:
    """Somebody pauses after some words, which are being recognised."""
    bench = glimpsing(**more)
    return bench, Turns(bench)


# The end of a turn -------------------------------------------------------------------------------


def test_the_end_of_a_turn_is_told_at_once_and_not_with_its_outcome() -> None:
    bench, turns = paused()
    bench.answer(found())
    bench.say(quiet(0.3))
    assert bench.running == [("a", EndReason.ENDPOINT)]
    assert turns.ended == [(KITCHEN, "a", 0)]
    bench.answer()
    bench.start()
    assert len(bench.outcomes) == 2
    assert bench.last.repeated
    assert len(turns.ended) == 1


def test_an_end_by_silence_in_the_audio_is_told_too() -> None:
    bench = Bench()
    turns = Turns(bench)
    bench.start(turn_end=SERVICE_ENDS)
    bench.say(WORDS + quiet(0.8))
    assert turns.ended == [(KITCHEN, "a", 0)]


def test_no_other_end_is_told() -> None:
    bench, turns = paused()
    bench.answer(found(Completion.EXTENDABLE))
    bench.stop()
    for id in ("b", "c"):
        bench.start(id=id)
        bench.say(WORDS)
    bench.service.abort(KITCHEN, None)
    bench.submit_single(KITCHEN)
    bench.start(id="d")
    bench.pass_time(10.0)
    assert turns.ended == []


# An open phrase ----------------------------------------------------------------------------------


def test_an_open_phrase_is_told_as_soon_as_it_is_known_and_once_in_each_pause() -> None:
    bench, turns = paused()
    bench.answer(OPEN)
    assert turns.open == [(KITCHEN, "a")]
    bench.say(quiet(1.0))
    assert len(turns.open) == 1
    bench.say(WORDS + PAUSE)
    bench.answer(OPEN)
    assert turns.open == [(KITCHEN, "a")] * 2
    assert bench.is_listening
    assert turns.ended == []


@pytest.mark.parametrize(
    "verdict",
    [
        *(found(one) for one in Completion if one is not Completion.OPEN),
        nothing_heard(),
        heard(""),
        InferenceFailedError("broken"),
    ],
)
def test_nothing_else_that_was_said_is_told(verdict: Verdict) -> None:
    bench, turns = paused()
    bench.answer(verdict)
    assert turns.open == []


def test_nothing_is_told_if_the_device_ends_its_utterances_by_silence_alone() -> None:
    bench, turns = paused(**PATIENT)
    bench.answer(OPEN)
    assert turns.open == []


def test_nothing_is_told_if_the_service_waits_itself() -> None:
    bench = Bench()
    turns = Turns(bench)
    bench.start(turn_end=TurnEnd(Endpointing.PHRASES, pause_s=0.7))
    bench.say(WORDS + PAUSE)
    bench.answer(OPEN)
    assert bench.is_listening
    assert turns.open == []


def test_nothing_is_told_if_the_speaker_has_paused_again_since() -> None:
    bench, turns = paused()
    bench.say(WORDS + PAUSE)
    bench.answer(OPEN)
    assert turns.open == []
    bench.answer(OPEN)
    assert turns.open == [(KITCHEN, "a")]


def test_nothing_is_told_about_an_utterance_that_has_ended() -> None:
    bench, turns = paused()
    bench.service.stop(KITCHEN, None, 1000)
    bench.answer(OPEN)
    assert bench.is_listening
    bench.pass_time(1.0)
    assert bench.running == [("a", EndReason.STOP)]
    assert turns.open == []


def test_who_is_told_to_wait_is_not_waited_for_shorter_than_that() -> None:
    bench, turns = paused(device_defaults={"idle_timeout_ms": LONG_PATIENCE_MS})
    bench.answer(OPEN)
    assert turns.open == [(KITCHEN, "a")]
    bench.pass_time(OPEN_S)
    assert bench.is_listening
    for short in ({"idle_timeout_ms": 1500}, {"gap_timeout_ms": 1500}):
        bench = Bench(device_defaults=short)
        turns = Turns(bench)
        if "idle_timeout_ms" in short:
            bench.start()
        bench.say(WORDS + PAUSE)
        bench.answer(OPEN)
        assert turns.open == []


def test_a_draft_is_no_pause() -> None:
    bench = Bench(device_defaults={"partials": True})
    turns = Turns(bench)
    bench.service.attach("native", bench.outlet, Readers())
    bench.start()
    bench.say(WORDS)
    assert bench.pool.utterances[0].draft_after is not None
    bench.answer(OPEN)
    assert turns.open == []


class Readers:
    def partial(self, partial: object) -> None:
        return


# Observers ---------------------------------------------------------------------------------------


def test_an_observer_that_fails_harms_neither_the_utterance_nor_the_other_observers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = glimpsing()
    failing, after = Turns(bench, fails=True), Turns(bench)
    bench.answer(OPEN)
    bench.say(WORDS + PAUSE)
    bench.answer(found())
    bench.say(quiet(0.3))
    for observer in (failing, after):
        assert observer.open == [(KITCHEN, "a")]
        assert observer.ended == [(KITCHEN, "a", 0)]
    assert caplog.text.count("a change was not told") == 2
    bench.answer()
    assert bench.outcomes == [("a", EndReason.ENDPOINT)]


def test_only_the_observers_of_its_door_are_told() -> None:
    bench = Bench()
    turns = Turns(bench)
    other = DeviceKey("other", "kitchen")
    bench.service.start(other, UtteranceStart(id="a"))
    bench.say(WORDS + PAUSE, other)
    bench.answer(OPEN)
    bench.say(WORDS + PAUSE, other)
    bench.answer(found())
    bench.say(quiet(0.3), other)
    assert bench.running == [("a", EndReason.ENDPOINT)]
    assert (turns.open, turns.ended) == ([], [])
