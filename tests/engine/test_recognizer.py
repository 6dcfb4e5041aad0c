from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from stt_mqtt.engine.calibration import Floats
from stt_mqtt.engine.recognizer import Piece, Recognizer
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech
from stt_mqtt.engine.voice import VoiceDetector
from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.types import Samples
from tests.engine.scripted import FakeVoice, Scripted, hypothesis, marked, speech
from tests.fakes import FakeClock

GOOD = hypothesis()
DOUBTED = replace(GOOD, no_speech_prob=0.4)
"""The model is not sure enough, so the voice detector has to say."""
SPARSE = hypothesis("Go.", tokens=1)
"""Too few words for the second of speech that pieces have here."""
LOOP = hypothesis("Ah! " * 12, tokens=24)


def piece(mark: int = 1, speech_s: float = 1.0) -> Piece:
    return Piece(speech(mark), speech_s)


def by_mark(
    first: dict[int, Hypothesis | UtteranceError],
    second: dict[int, Hypothesis | UtteranceError] | None = None,
) -> Scripted:
    """A model that answers each piece by its mark."""
    answers = {DecodePass.FIRST: first, DecodePass.SECOND: second or {}}
    return Scripted(lambda said, decode_pass: answers[decode_pass][marked(said.samples)])


def bare(found: Hypothesis) -> Hypothesis:
    """What was found, as the model gave it."""
    return replace(found, work_s=0.0, retried=False)


def recognized(
    model: Scripted, pieces: Sequence[Piece], may_retry: bool = True, voice: float = 0.9
) -> list[tuple[int, Hypothesis | UtteranceError]]:
    return list(Recognizer(model, FakeVoice(voice)).recognize(pieces, may_retry))


def find(model: Scripted, said: Piece, may_retry: bool = True, voice: float = 0.9) -> Hypothesis:
    ((index, found_one),) = recognized(model, [said], may_retry, voice)
    assert index == 0
    assert isinstance(found_one, Hypothesis)
    return found_one


def test_all_pieces_go_to_the_model_together() -> None:
    model = by_mark({n: hypothesis(f"Number {n}.") for n in (1, 2, 3)})
    found = recognized(model, [piece(n) for n in (1, 2, 3)])
    assert model.passes == [("first", [1, 2, 3])]
    assert [index for index, _ in found] == [0, 1, 2]
    texts = [found_one.text for _, found_one in found if isinstance(found_one, Hypothesis)]
    assert texts == ["Number 1.", "Number 2.", "Number 3."]


def test_a_clear_transcript_is_believed_without_the_voice_detector() -> None:
    voice = FakeVoice(0.0)
    ((_, found_one),) = Recognizer(Scripted(), voice).recognize([piece()], may_retry=True)
    assert isinstance(found_one, Hypothesis)
    assert (bare(found_one), voice.asked) == (GOOD, [])


@pytest.mark.parametrize(
    "answer", [DOUBTED, hypothesis("Thank you.", 3), LOOP], ids=["unsure", "phantom", "loop"]
)
def test_the_voice_detector_is_asked_about_what_is_in_doubt_only(answer: Hypothesis) -> None:
    voice = FakeVoice()
    model = by_mark({1: GOOD, 2: answer, 3: hypothesis("", 0, no_speech=0.9)})
    list(Recognizer(model, voice).recognize([piece(n) for n in (1, 2, 3)], may_retry=False))
    assert voice.asked == [2]


def test_people_do_say_thank_you() -> None:
    thanks = hypothesis("Thank you.", 3, no_speech=0.1)
    assert bare(find(Scripted(lambda *_: thanks), piece(speech_s=0.8))) == thanks


def test_noise_leaves_no_text_but_its_numbers() -> None:
    phantom = hypothesis("Thank you.", 3, log_prob=-0.9, no_speech=0.7)
    found_one = find(Scripted(lambda *_: phantom), piece(speech_s=3.0), voice=0.03)
    assert bare(found_one) == replace(phantom, text="")


def test_noise_gets_no_retry() -> None:
    model = Scripted(lambda *_: replace(LOOP, no_speech_prob=0.7))
    found_one = find(model, piece(speech_s=5.0), voice=0.03)
    assert not found_one.retried
    assert model.passes == [("first", [1])]


def test_a_doubtful_transcript_is_looked_at_once_more() -> None:
    model = by_mark({1: SPARSE}, {1: GOOD})
    found_one = find(model, piece())
    assert (bare(found_one), found_one.retried) == (GOOD, True)
    assert model.passes == [("first", [1]), ("second", [1])]


def test_a_second_look_that_is_as_doubtful_is_the_last() -> None:
    model = by_mark({1: SPARSE}, {1: SPARSE})
    assert bare(find(model, piece())) == SPARSE
    assert model.passes == [("first", [1]), ("second", [1])]


def test_without_time_there_is_no_retry() -> None:
    model = by_mark({1: SPARSE})
    found_one = find(model, piece(), may_retry=False)
    assert (bare(found_one), found_one.retried) == (SPARSE, False)
    assert model.passes == [("first", [1])]


@pytest.mark.parametrize(
    "second", [hypothesis("", 0), LOOP, replace(GOOD, mean_log_prob=-3.0)], ids=lambda h: h.text
)
def test_a_worse_second_look_changes_nothing(second: Hypothesis) -> None:
    found_one = find(by_mark({1: SPARSE}, {1: second}), piece())
    assert (bare(found_one), found_one.retried) == (SPARSE, True)


def test_a_second_look_that_fails_leaves_the_first() -> None:
    found_one = find(by_mark({1: SPARSE}, {1: InferenceFailedError("broken")}), piece())
    assert (bare(found_one), found_one.retried) == (SPARSE, True)


def test_what_is_looked_at_twice_comes_last() -> None:
    model = by_mark({1: SPARSE, 2: GOOD, 3: SPARSE, 4: GOOD}, {1: GOOD, 3: GOOD})
    found = recognized(model, [piece(n) for n in (1, 2, 3, 4)])
    assert [index for index, _ in found] == [1, 3, 0, 2]


def test_the_others_are_answered_before_anything_is_looked_at_twice() -> None:
    model = by_mark({1: SPARSE, 2: GOOD}, {1: GOOD})
    found: Iterator[object] = Recognizer(model, FakeVoice()).recognize([piece(1), piece(2)], True)
    next(found)
    assert model.passes == [("first", [1, 2])]


@dataclass
class Wiped:
    """A model that hears nothing behind a prompt or hotwords."""

    bare: Hypothesis | UtteranceError = GOOD

    def __call__(self, said: Speech, decode_pass: DecodePass) -> Hypothesis | UtteranceError:
        return hypothesis("", 0) if said.prompt or said.hotwords else self.bare


@pytest.mark.parametrize(
    "prompted", [replace(speech(), prompt="In the hall."), replace(speech(), hotwords=("Kiri",))]
)
def test_a_prompt_that_wipes_the_words_is_dropped(prompted: Speech) -> None:
    model = Scripted(Wiped())
    assert bare(find(model, Piece(prompted, 1.0))) == GOOD
    assert [(said.prompt, said.hotwords) for _, (said,) in model.asked][1:] == [(None, ())]


LAMP = replace(speech(), prompt="Turn on the kitchen floor lamp.", hotwords=("Siobhan",))


def test_what_may_be_the_prompts_is_decided_without_it() -> None:
    pause = hypothesis("Pause.", 2)
    model = Scripted(
        lambda said, _: hypothesis("Turn on the kitchen floor lamp.") if said.prompt else pause
    )
    found_one = find(model, Piece(LAMP, 1.0))
    assert (bare(found_one), found_one.retried) == (pause, True)
    assert [
        (decode_pass.name, said.prompt, said.hotwords) for decode_pass, (said,) in model.asked
    ] == [
        ("FIRST", LAMP.prompt, LAMP.hotwords),
        ("PLAIN", None, ()),
    ]


def test_who_says_what_the_prompt_has_is_heard_as_it_is_written_there() -> None:
    model = Scripted(lambda said, _: hypothesis("Siobhan." if said.hotwords else "Shivan.", 3))
    assert find(model, Piece(LAMP, 0.7)).text == "Siobhan."


def test_noise_that_becomes_a_name_is_noise_without_the_hotwords() -> None:
    clear = hypothesis("Siobhan.", 3)
    noise = hypothesis("Thank you.", 3, log_prob=-0.9, no_speech=0.7)
    model = Scripted(lambda said, _: clear if said.hotwords else noise)
    assert find(model, Piece(LAMP, 3.0), voice=0.03).text == ""


def test_with_others_waiting_the_prompts_words_are_believed() -> None:
    model = Scripted(lambda *_: hypothesis("Siobhan.", 3))
    assert find(model, Piece(LAMP, 0.7), may_retry=False).text == "Siobhan."
    assert len(model.asked) == 1


def test_a_loop_is_decided_again_without_what_led_to_it() -> None:
    model = Scripted(lambda _, decode_pass: GOOD if decode_pass is DecodePass.PLAIN else LOOP)
    found_one = find(model, Piece(LAMP, 2.0))
    assert (bare(found_one), found_one.retried) == (GOOD, True)
    assert [(decode_pass.name, said.prompt) for decode_pass, (said,) in model.asked][1:] == [
        ("PLAIN", None)
    ]


@pytest.mark.parametrize("may_retry", [True, False])
@pytest.mark.parametrize("said", [speech(), LAMP], ids=["bare", "prompted"])
def test_a_loop_is_never_published(said: Speech, may_retry: bool) -> None:
    prompted = hypothesis("Turn on the kitchen floor lamp. " * 6, 42)
    model = Scripted(lambda one, _: prompted if one.prompt else LOOP)
    found_one = find(model, Piece(said, 3.0), may_retry)
    assert found_one.text == ""


def test_what_is_said_again_is_published_once_where_there_is_no_time() -> None:
    model = Scripted(lambda *_: hypothesis("Cancel timer. Cancel timer.", 6))
    found_one = find(model, Piece(LAMP, 1.0), may_retry=False)
    assert found_one.text == "Cancel timer."


@pytest.mark.parametrize("may_retry", [True, False])
def test_who_says_it_twice_is_heard_twice(may_retry: bool) -> None:
    model = Scripted(lambda *_: hypothesis("New York, New York.", 5))
    assert find(model, piece(), may_retry).text == "New York, New York."


@pytest.mark.parametrize("plain", [hypothesis("", 0), LOOP], ids=["nothing", "loop"])
def test_a_worse_plain_look_changes_nothing(plain: Hypothesis) -> None:
    model = Scripted(
        lambda _, decode_pass: (
            hypothesis("Go on, go on.") if decode_pass is DecodePass.FIRST else plain
        )
    )
    assert find(model, piece()).text == "Go on, go on."


def test_a_loop_without_the_prompt_leaves_what_may_be_the_prompts() -> None:
    model = Scripted(lambda said, _: hypothesis("Siobhan.") if said.hotwords else LOOP)
    assert find(model, Piece(LAMP, 1.0)).text == "Siobhan."


def test_a_decision_that_fails_unexpectedly_leaves_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: Speech, decode_pass: DecodePass) -> Hypothesis:
        if decode_pass is DecodePass.FIRST:
            return SPARSE
        raise ZeroDivisionError

    assert bare(find(Scripted(broken), piece())) == SPARSE
    assert "please report" in caplog.text


def test_a_prompt_that_leaves_words_is_kept() -> None:
    model = Scripted()
    find(model, Piece(replace(speech(), prompt="In the hall."), 1.0))
    assert len(model.asked) == 1


def test_nothing_heard_without_a_prompt_is_not_tried_again() -> None:
    model = Scripted(lambda *_: hypothesis("", 0))
    assert find(model, piece()).text == ""
    assert len(model.asked) == 1


def test_what_is_heard_without_the_prompt_is_judged_like_the_rest() -> None:
    phantom = hypothesis("Thank you.", 3, no_speech=0.7)
    model = Scripted(Wiped(phantom))
    said = Piece(replace(speech(), prompt="In the hall."), 3.0)
    assert find(model, said, voice=0.03).text == ""


def test_a_failure_without_the_prompt_leaves_what_was_heard_with_it() -> None:
    model = Scripted(Wiped(InferenceFailedError("broken")))
    assert find(model, Piece(replace(speech(), prompt="x"), 1.0)).text == ""


def test_an_error_harms_only_its_own_piece() -> None:
    error = InferenceFailedError("broken")
    found = recognized(by_mark({1: GOOD, 2: error, 3: GOOD}), [piece(n) for n in (1, 2, 3)])
    assert [index for index, _ in found] == [0, 1, 2]
    assert found[1][1] is error
    assert all(isinstance(found[index][1], Hypothesis) for index in (0, 2))


class DeafTo2(FakeVoice):
    """A voice detector that breaks on the second piece."""

    def probabilities(self, samples: Samples) -> Floats:
        if marked(samples) == 2:
            raise ZeroDivisionError
        return super().probabilities(samples)


def test_an_unexpected_failure_harms_only_its_own_piece(caplog: pytest.LogCaptureFixture) -> None:
    recognizer = Recognizer(Scripted(lambda *_: DOUBTED), DeafTo2())
    with caplog.at_level(logging.ERROR):
        found = list(recognizer.recognize([piece(n) for n in (1, 2, 3)], may_retry=True))
    assert [index for index, _ in found] == [0, 1, 2]
    assert isinstance(found[1][1], InferenceFailedError)
    assert "unexpected ZeroDivisionError" in found[1][1].detail
    assert all(isinstance(found[index][1], Hypothesis) for index in (0, 2))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert DOUBTED.text not in caplog.text


@dataclass
class Slow:
    """Takes a second for each piece at first sight, four for a retry."""

    clock: FakeClock
    answers: Callable[[Speech, DecodePass], Hypothesis | UtteranceError]

    def __call__(self, said: Speech, decode_pass: DecodePass) -> Hypothesis | UtteranceError:
        self.clock.advance(1.0 if decode_pass is DecodePass.FIRST else 4.0)
        return self.answers(said, decode_pass)


@dataclass
class SlowVoice(VoiceDetector):
    """Takes half a second."""

    clock: FakeClock

    def probabilities(self, samples: Samples) -> Floats:
        self.clock.advance(0.5)
        return np.full(10, 0.9, np.float32)


def test_the_work_of_all_pieces_adds_up_to_the_time_that_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(100.0)
    monkeypatch.setattr("stt_mqtt.engine.recognizer.time", SimpleNamespace(perf_counter=clock.now))
    sparse = replace(SPARSE, no_speech_prob=0.4)
    answers = by_mark({1: sparse, 2: GOOD, 3: DOUBTED}, {1: GOOD}).answer
    recognizer = Recognizer(Scripted(Slow(clock, answers)), SlowVoice(clock))
    found = dict(recognizer.recognize([piece(n) for n in (1, 2, 3)], may_retry=True))
    times = {
        index: found_one.work_s
        for index, found_one in found.items()
        if isinstance(found_one, Hypothesis)
    }
    # Three together take 3 s; asking for a voice 0.5 s, twice; the retry 4 s.
    assert times == {1: 1.0, 2: 1.5, 0: 5.5}
    assert sum(times.values()) == clock.now() - 100.0


def test_who_takes_long_to_fetch_an_answer_is_not_charged_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("stt_mqtt.engine.recognizer.time", SimpleNamespace(perf_counter=clock.now))
    recognizer = Recognizer(Scripted(Slow(clock, lambda *_: GOOD)), FakeVoice())
    found = recognizer.recognize([piece(1), piece(2)], may_retry=False)
    next(found)
    clock.advance(100.0)
    _, last = next(found)
    assert isinstance(last, Hypothesis)
    assert last.work_s == 1.0
