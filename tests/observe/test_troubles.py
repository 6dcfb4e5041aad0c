from __future__ import annotations

from stt_mqtt import errors
from stt_mqtt.errors import UtteranceError
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.observe.troubles import DROPPED, KINDS, MAX_DETAIL, WHAT_TO_DO, Troubles
from stt_mqtt.types import DeviceKey, Outcome, OutcomeKind


def failed(error: UtteranceError | None, room: str = "kitchen") -> Outcome:
    return Outcome(DeviceKey("native", room), "a", 0.0, OutcomeKind.ERROR, error=error)


def test_the_last_error_of_each_kind_says_where_it_was_and_what_to_do() -> None:
    troubles = Troubles()
    troubles.outcome(failed(errors.CorruptAudioError("no FLAC"), "attic"), 100.0)
    troubles.outcome(failed(errors.TooShortError("20 ms of audio"), "attic"), 101.0)
    troubles.outcome(failed(errors.CorruptAudioError("no Opus"), "cellar"), 102.0)
    first, second = troubles.latest()
    assert (first.kind, first.count, first.at) == ("corrupt_audio", 2, 102.0)
    assert (first.device, first.detail) == ("cellar", "no Opus")
    assert "codec" in first.what_to_do
    assert (second.kind, second.count) == ("too_short", 1)


def test_an_outcome_without_an_error_is_no_trouble() -> None:
    troubles = Troubles()
    troubles.outcome(failed(None), 1.0)
    assert troubles.latest() == []


def test_every_error_code_and_every_reason_to_drop_has_something_to_do() -> None:
    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, UtteranceError)
        and kind is not UtteranceError
    }
    assert codes == set(WHAT_TO_DO)
    is_right = {DropReason.REPEATED, DropReason.ELSEWHERE}
    assert {reason.value for reason in DropReason} - set(DROPPED) == is_right
    for text in [*WHAT_TO_DO.values(), *(todo for _, todo in DROPPED.values())]:
        assert text.endswith(".")


def test_what_was_dropped_is_noted_when_its_count_rises() -> None:
    troubles = Troubles()
    troubles.dropped({"bad_name": 2, "repeated": 5, "unheard_of": 1, "retained": 0}, 10.0)
    (found,) = troubles.latest()
    assert (found.kind, found.count, found.at, found.device) == ("bad_name", 2, 10.0, None)
    troubles.dropped({"bad_name": 2}, 20.0)
    assert troubles.latest() == [found]
    troubles.dropped({"bad_name": 5}, 30.0)
    assert (troubles.latest()[0].count, troubles.latest()[0].at) == (5, 30.0)


def test_details_and_kinds_are_bounded() -> None:
    troubles = Troubles()
    for number in range(KINDS + 5):
        error = UtteranceError("x" * 1000)
        error.code = f"code_{number}"  # type: ignore[misc]
        troubles.outcome(failed(error), float(number))
    assert len(troubles.latest()) == KINDS
    assert len(troubles.latest()[0].detail) == MAX_DETAIL
    assert troubles.latest()[0].what_to_do
