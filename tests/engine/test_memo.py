"""What was found in an utterance while it was open, and when it may be used again."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from stt_mqtt.app.book import read_phrases
from stt_mqtt.config import PhrasesConfig
from stt_mqtt.engine.phrases import CurrentBook
from stt_mqtt.engine.recognizer import MAX_REMEMBERED, Memo, Piece, Recognizer
from stt_mqtt.engine.transcriber import DecodePass, Hypothesis, Speech
from stt_mqtt.errors import InferenceFailedError, UtteranceError
from stt_mqtt.phrases.names import NO_NAMES
from stt_mqtt.stages import Stage
from stt_mqtt.types import Batch, Completion, InferenceResult, Verdict
from tests.engine.scripted import FakeVoice, Scripted, hypothesis, speech
from tests.engine.test_pipeline import pcm, pipeline, utterance
from tests.phrases.books import book

BOOK = book("language: en\nintents: {Lamp: {data: [{sentences: ['turn on the light']}]}}\n")
OTHER_BOOK = book("language: en\nintents: {Lamp: {data: [{sentences: ['light on']}]}}\n")
STATES = speech().samples.reshape(-1, 4)


def recognizer(model: Scripted | None = None) -> Recognizer:
    return Recognizer(model or Scripted(), FakeVoice(), CurrentBook(BOOK))


def asked(memo: Memo | None = None) -> Piece:
    said = replace(speech(), prompt="Lamps.", hotwords=("Kiri",), for_phrases=True)
    return Piece(said, 1.0, "kitchen", memo or Memo())


def find(used: Recognizer, piece: Piece, may_retry: bool = True) -> Hypothesis | UtteranceError:
    ((index, found),) = used.recognize([piece], may_retry)
    assert index == 0
    return found


def count(model: Scripted) -> int:
    """How many pieces the model was given."""
    return sum(len(speeches) for _, speeches in model.asked)


def test_the_same_samples_with_the_same_settings_cost_no_inference() -> None:
    model = Scripted()
    used, piece = recognizer(model), asked()
    first = find(used, piece)
    again = find(used, replace(piece, speech=replace(piece.speech)))
    assert count(model) == 1
    assert isinstance(first, Hypothesis)
    assert not first.remembered
    assert again == replace(first, remembered=True)
    assert first.completion is Completion.COMPLETE


CHANGES: dict[str, Callable[[Piece], Piece]] = {
    "samples": lambda piece: replace(
        piece, speech=replace(piece.speech, samples=speech(2).samples)
    ),
    "length": lambda piece: replace(
        piece, speech=replace(piece.speech, samples=piece.speech.samples[:-1])
    ),
    "language": lambda piece: replace(piece, speech=replace(piece.speech, language=None)),
    "languages": lambda piece: replace(piece, speech=replace(piece.speech, languages=("de", "en"))),
    "prompt": lambda piece: replace(piece, speech=replace(piece.speech, prompt=None)),
    "hotwords": lambda piece: replace(piece, speech=replace(piece.speech, hotwords=())),
    "phrases": lambda piece: replace(piece, speech=replace(piece.speech, for_phrases=False)),
    "area": lambda piece: replace(piece, area="hall"),
    "utterance": lambda piece: replace(piece, memo=Memo()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_found_under_another_setting_is_not_used(what: str) -> None:
    model = Scripted()
    used, piece = recognizer(model), asked()
    find(used, piece)
    find(used, CHANGES[what](piece))
    assert count(model) == 2


def test_what_another_model_or_another_book_gave_is_not_used() -> None:
    piece = asked()
    find(recognizer(), piece)
    other_model = Scripted(lambda *_: hypothesis("Other."))
    found = find(recognizer(other_model), piece)
    assert isinstance(found, Hypothesis)
    assert found.text == "Other."
    model = Scripted()
    used = recognizer(model)
    find(used, piece)
    assert used.current is not None
    used.current.book = OTHER_BOOK
    find(used, piece)
    assert count(model) == 2


def test_what_was_found_while_the_book_was_replaced_is_not_used() -> None:
    current = CurrentBook(BOOK)

    def answer(*_: object) -> Hypothesis:
        current.book = OTHER_BOOK
        return hypothesis()

    model = Scripted(answer)
    used, piece = Recognizer(model, FakeVoice(), current), asked()
    find(used, piece)
    find(used, piece)
    assert count(model) == 2


def test_a_book_that_was_read_again_is_another_one_and_the_two_are_not_compared() -> None:
    before, after = (read_phrases(PhrasesConfig(builtin=True), NO_NAMES) for _ in range(2))
    for one in (before, after):
        one.compiled("en")
    model, current = Scripted(), CurrentBook(before)
    used, piece = Recognizer(model, FakeVoice(), current), asked()
    find(used, piece)
    current.book = after
    assert isinstance(find(used, piece), Hypothesis)
    assert count(model) == 2
    assert before != after
    assert before.compiled("en") != after.compiled("en")


def ends(text: str, sure: float = 0.9, **changed: Any) -> tuple[Hypothesis, Scripted]:
    """What is found in speech that ends with its sentence, and the model."""
    answer = replace(hypothesis(text), window=STATES)
    model = Scripted(lambda *_: answer, likely={text: math.log(sure)}, **changed)
    said = replace(speech(), for_end=True)
    found = find(Recognizer(model, FakeVoice()), Piece(said, 1.0, None, Memo(for_end=True)))
    assert isinstance(found, Hypothesis)
    return found, model


@pytest.mark.parametrize("text", ["It is late.", "Is it late?", "Stop!"])
def test_the_probability_of_the_mark_that_ends_a_sentence_is_told(text: str) -> None:
    found, model = ends(text)
    assert found.end_prob == pytest.approx(0.9)
    assert model.scored == [[text]]


@pytest.mark.parametrize("text", ["It is", "It is...", "It is,", "It is --", "It is.."])
def test_a_text_without_such_a_mark_is_not_asked_about(text: str) -> None:
    found, model = ends(text)
    assert (found.end_prob, model.scored) == (0.0, [])


def test_an_end_that_cannot_be_judged_is_none(caplog: pytest.LogCaptureFixture) -> None:
    found, _ = ends("It is late.", scoring_fails=True)
    assert (found.text, found.end_prob) == ("It is late.", 0.0)
    assert "please report this" in caplog.text
    assert "late" not in caplog.text


def test_nobody_judges_the_end_of_a_sentence_on_which_nothing_depends() -> None:
    model = Scripted(lambda *_: replace(hypothesis(), window=STATES))
    found = find(Recognizer(model, FakeVoice()), Piece(speech(), 1.0, None, Memo()))
    assert isinstance(found, Hypothesis)
    assert (found.end_prob, model.scored) == (0.0, [])


def test_a_phrase_of_the_book_has_an_end_of_its_own() -> None:
    model = Scripted(lambda *_: replace(hypothesis(), window=STATES))
    piece = asked(Memo(for_end=True))
    found = find(recognizer(model), replace(piece, speech=replace(piece.speech, for_end=True)))
    assert isinstance(found, Hypothesis)
    assert (found.phrase is not None, found.end_prob, model.scored) == (True, 0.0, [])


def test_a_remembered_end_costs_no_inference() -> None:
    answer = replace(hypothesis(), window=STATES)
    model = Scripted(lambda *_: answer, likely={answer.text: math.log(0.9)})
    used = Recognizer(model, FakeVoice())
    piece = Piece(replace(speech(), for_end=True), 1.0, None, Memo(for_end=True))
    found = [find(used, piece) for _ in range(2)]
    assert [one.end_prob for one in found if isinstance(one, Hypothesis)] == [
        pytest.approx(0.9)
    ] * 2
    assert len(model.scored) == 1


def test_an_utterance_whose_end_depends_on_it_has_it_judged() -> None:
    answer = replace(hypothesis(), window=STATES)
    model = Scripted(lambda *_: answer, likely={answer.text: math.log(0.9)})
    for memo, expected in ((Memo(for_end=True), 0.9), (Memo(), 0.0), (None, 0.0)):
        result = pipeline(model).transcribe(replace(utterance(pcm(1.0)), memo=memo))
        assert result.transcript is not None
        assert result.transcript.end_prob == pytest.approx(expected)


def test_without_a_memo_nothing_is_remembered() -> None:
    model = Scripted()
    piece = replace(asked(), memo=None)
    for _ in range(2):
        find(recognizer(model), piece)
    assert count(model) == 2


def test_an_error_is_not_remembered() -> None:
    answers = iter(list[Hypothesis | UtteranceError]([InferenceFailedError("full"), hypothesis()]))
    used, piece = recognizer(Scripted(lambda *_: next(answers))), asked()
    assert isinstance(find(used, piece), InferenceFailedError)
    assert isinstance(find(used, piece), Hypothesis)


def test_a_retried_hypothesis_is_remembered_with_its_work_and_not_retried_again() -> None:
    def answer(said: Speech, decode_pass: DecodePass) -> Hypothesis:
        return hypothesis("Go.", tokens=1) if decode_pass is DecodePass.FIRST else hypothesis()

    model = Scripted(answer)
    used, piece = Recognizer(model, FakeVoice()), asked()
    first, again = find(used, piece), find(used, piece)
    assert isinstance(first, Hypothesis)
    assert first.retried
    assert first.work_s > 0
    assert again == replace(first, remembered=True)
    assert len(model.asked) == 2


def test_the_states_of_the_model_are_not_kept() -> None:
    used = recognizer(Scripted(lambda *_: replace(hypothesis("Off."), states=STATES)))
    piece = asked()
    find(used, piece)
    again = find(used, piece)
    assert isinstance(again, Hypothesis)
    assert again.states is None


def test_the_oldest_piece_is_forgotten() -> None:
    model = Scripted()
    used, memo = recognizer(model), Memo()
    pieces = [Piece(speech(mark), 1.0, memo=memo) for mark in range(1, MAX_REMEMBERED + 2)]
    for piece in pieces:
        find(used, piece)
    assert count(model) == len(pieces)
    for piece in pieces[1:]:
        find(used, piece)
    assert count(model) == len(pieces)
    find(used, pieces[0])
    assert count(model) == len(pieces) + 1


def test_known_pieces_come_first_and_only_the_others_go_to_the_model() -> None:
    model = Scripted(lambda said, _: hypothesis(f"{said.samples[0] * 64:.0f}."))
    used, memo = recognizer(model), Memo()
    known, new, other = (Piece(speech(mark), 1.0, memo=memo) for mark in (1, 2, 3))
    find(used, known)
    found = dict(used.recognize([new, known, other], may_retry=True))
    assert list(found) == [1, 0, 2]
    texts = {index: one.text for index, one in found.items() if isinstance(one, Hypothesis)}
    assert texts == {0: "2.", 1: "1.", 2: "3."}
    assert model.passes[1:] == [("first", [2, 3])]


def test_two_threads_may_use_a_memo_at_once() -> None:
    memo = Memo()
    pieces = [Piece(speech(mark, seconds=0.01), 1.0, memo=memo) for mark in range(1, 40)]

    def use(offset: int) -> None:
        for turn in range(200):
            piece = pieces[(offset + turn) % len(pieces)]
            memo.keep(piece, ("a",), hypothesis())
            memo.find(piece, ("a",))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(0, 40, 5))) == [None] * 8
    assert sum(memo.find(piece, ("a",)) is not None for piece in pieces) <= MAX_REMEMBERED


def verdict_on(model: Scripted, memo: Memo, *marks: int) -> Verdict:
    """The verdict on an utterance of stretches that are pieces of their own."""
    said = replace(utterance(b"".join(pcm(25.0, mark) for mark in marks)), memo=memo)
    ((_, verdict),) = pipeline(model).run(Batch(1, (said,), may_retry=True, together=4))
    return verdict


def test_a_result_tells_the_work_that_was_done_before_and_since() -> None:
    model, memo = Scripted(), Memo()
    first = verdict_on(model, memo, 1)
    again = verdict_on(model, memo, 1)
    assert isinstance(first, InferenceResult)
    assert isinstance(again, InferenceResult)
    assert first.work_s is not None
    assert first.work_s > 0
    assert first.remembered_s is None
    assert (again.work_s, again.remembered_s) == (0, first.work_s)
    assert set(first.stages) == {Stage.DECODE, Stage.GATE, Stage.JUDGE, Stage.RETRY}
    assert set(again.stages) == {Stage.DECODE, Stage.GATE}
    assert again.transcript == first.transcript


def test_a_result_of_which_a_part_is_new_is_not_remembered() -> None:
    model, memo = Scripted(), Memo()
    verdict_on(model, memo, 1)
    before = count(model)
    longer = verdict_on(model, memo, 1, 2)
    assert isinstance(longer, InferenceResult)
    assert longer.remembered_s is None
    assert longer.work_s is not None
    assert longer.work_s > 0
    assert count(model) > before
