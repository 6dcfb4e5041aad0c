"""Partial results: what of a text is stable, and when a draft is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.core.partials import (
    DRAFT_EVERY_S,
    FIRST_DRAFT_S,
    MAX_EVERY_S,
    SURE,
    WORK_SHARE,
    DraftTimes,
    Partials,
    rest_of,
)
from stt_mqtt.types import Transcript

TURN_ON = "Turn on the kitchen"


def transcript(text: str, confidence: float = 0.9) -> Transcript:
    return Transcript(text, "en", confidence, 0.01)


def revised(*texts: str) -> Partials:
    partials = Partials()
    for at, text in enumerate(texts):
        partials.revise(transcript(text), at)
    return partials


# What is stable --------------------------------------------------------------------------------


def test_the_first_hypothesis_is_a_revision_of_which_nothing_is_stable() -> None:
    partials = revised("Turn on the")
    assert (partials.revision, partials.text, partials.stable) == (1, "Turn on the", "")
    assert partials.language == "en"


def test_what_two_hypotheses_agree_on_is_stable_except_the_last_words() -> None:
    partials = revised("Turn on the kitchen lights.", "Turn on the kitchen lights now.")
    assert partials.stable == "Turn on the kitchen"


def test_case_and_punctuation_do_not_matter_and_are_not_stable_at_the_end() -> None:
    partials = revised("well turn on", "Well, turn on the light.")
    assert partials.stable == "Well, turn on"
    partials = revised("Well. Turn", "Well, turn on")
    assert partials.stable == "Well"


def test_a_hypothesis_that_differs_begins_anew_after_what_is_stable() -> None:
    partials = revised("a b c d", "a b c d", "a b X y z", "a b Y y z")
    assert partials.stable == "a b"
    assert partials.text == "a b Y y z"


def test_what_contradicts_the_stable_text_is_no_revision() -> None:
    partials = revised(TURN_ON, TURN_ON)
    assert partials.stable == "Turn on"
    assert not partials.revise(transcript("Turn off the kitchen lights."), 2)
    assert (partials.revision, partials.text) == (2, TURN_ON)


def test_the_spelling_of_the_stable_text_stays() -> None:
    partials = revised(TURN_ON, TURN_ON, "turn On, the kitchen lights")
    assert partials.text == "Turn on, the kitchen lights"


def test_a_doubtful_hypothesis_is_shown_but_makes_nothing_stable() -> None:
    partials = revised(TURN_ON)
    assert partials.revise(transcript(TURN_ON + " lights", SURE - 0.01), 1)
    assert partials.revise(transcript(TURN_ON + " light"), 2)
    assert (partials.text, partials.stable) == (TURN_ON + " light", "")
    assert partials.revise(transcript(TURN_ON + " light"), 3)
    assert partials.stable == "Turn on the"


def test_the_same_again_is_no_revision() -> None:
    partials = revised("Stop.", "Stop.")
    assert partials.revision == 1


@pytest.mark.parametrize("text", ["", "..."])
def test_a_hypothesis_without_words_is_no_revision(text: str) -> None:
    partials = revised("Stop", text)
    assert (partials.revision, partials.text) == (1, "Stop")


def test_a_hypothesis_about_less_audio_than_the_last_one_is_no_revision() -> None:
    partials = revised("a b", "a b c d")
    assert not partials.revise(transcript("a b X"), 0.5)
    assert partials.text == "a b c d"


words = st.sampled_from(["a", "A", "b,", "b", "c.", "...", "d-e", "ß", "ss", "7%", "-"])
texts = st.lists(words, max_size=7).map(" ".join)
hypotheses = st.lists(st.tuples(texts, st.sampled_from([0.3, SURE, 0.99]), st.integers(0, 9)))


@given(hypotheses)
def test_stable_characters_never_change_and_each_revision_is_new(
    found: list[tuple[str, float, int]],
) -> None:
    partials = Partials()
    for text, confidence, at in found:
        before = partials.revision, partials.text, partials.stable
        is_new = partials.revise(transcript(text, confidence), at)
        assert partials.stable.startswith(before[2])
        assert partials.text.startswith(partials.stable)
        assert partials.revision == before[0] + is_new
        assert is_new == ((partials.text, partials.stable) != before[1:])


def test_the_rest_of_a_text_follows_the_words_of_its_beginning() -> None:
    assert rest_of("turn On, the light", "Turn on") == ", the light"
    assert rest_of("Turn off", "Turn on") is None
    assert rest_of("Turn", "Turn on") is None
    assert rest_of("Turn on", "") == "Turn on"
    assert rest_of("Turn on", "Turn on") == ""


# When a draft is due ---------------------------------------------------------------------------


def due_after(times: DraftTimes, heard_s: float) -> float:
    """How much more audio there is until a draft is due."""
    later_s = 0.0
    while not times.is_due(heard_s + later_s):
        later_s += 0.01
        assert later_s < 10
    return later_s


def test_drafts_become_ever_rarer() -> None:
    times, heard_s, waits = DraftTimes(), 1.0, []
    for _ in range(12):
        waits.append(due_after(times, heard_s))
        heard_s += waits[-1]
        times.begin()
        times.end(0.01)
    assert waits[:2] == pytest.approx([FIRST_DRAFT_S, DRAFT_EVERY_S], abs=0.02)
    assert waits[1:] == sorted(waits[1:])
    assert waits[-1] == pytest.approx(MAX_EVERY_S, abs=0.02)


def test_no_draft_is_due_while_one_is_made() -> None:
    times = DraftTimes()
    due_after(times, 1.0)
    times.begin()
    assert not times.is_due(9.0)
    times.end(0.01)
    assert times.is_due(9.0)


def test_a_draft_that_took_long_is_followed_by_a_long_pause() -> None:
    times = DraftTimes()
    first_s = 1.0 + due_after(times, 1.0)
    times.begin()
    times.end(0.4)
    assert due_after(times, first_s) == pytest.approx(WORK_SHARE * 0.4, abs=0.02)


def test_a_draft_that_could_not_be_made_is_tried_again_later() -> None:
    times = DraftTimes()
    heard_s = 1.0 + due_after(times, 1.0)
    times.skip()
    assert due_after(times, heard_s) == pytest.approx(DRAFT_EVERY_S, abs=0.02)
