"""How what was heard becomes figures, and the figures are held against the goals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.hearing import (
    GOALS,
    PAIRS,
    PAUSES_S,
    SCORES,
    Compared,
    MeasuredAnswer,
    by_corpus,
    compare,
    errors,
    joined,
    joined_over_alone,
    of_rooms,
    paired,
    words,
    worst,
)
from benchmarks.scoring import Estimate
from benchmarks.speech import Clip
from stt_mqtt.types import SAMPLE_RATE
from tools.clients import Answer, answer_of

GOAL = {goal.key: goal for goal in GOALS}


def said(number: int, text: str = "lights on", corpus: str = "c", speaker: str = "") -> Clip:
    tone = (1000 * np.sin(np.arange(SAMPLE_RATE) / 5)).astype("<i2").tobytes()
    return Clip(f"{corpus}{number}", corpus, text, Path(), tone, speaker)


def heard(clips: list[Clip], *texts: str) -> dict[str, MeasuredAnswer]:
    return {
        clip.id: MeasuredAnswer(Answer(texts[number % len(texts)], 0.1), 0.5)
        for number, clip in enumerate(clips)
    }


def found(value: float, of: str) -> Compared:
    ours = Estimate(value if of == "value" else 0.5)
    return Compared(1, ours, Estimate(0.5), Estimate(value))


@pytest.mark.parametrize(
    ("key", "value", "met"),
    [
        ("words", 0.8, "aim"),
        ("words", 0.9, "must"),
        ("words", 0.91, "no"),
        ("orders", 0.04, "aim"),
        ("orders", 0.01, "must"),
        ("orders", 0.0, "no"),
        ("single_words", 0.0, "must"),
        ("single_words", -0.01, "no"),
        ("worst_corpus", -0.01, "aim"),
        ("worst_corpus", 0.02, "no"),
        ("noise", 0.03, "must"),
        ("cpu_idle", 0.15, "must"),
        ("cpu_rooms", 0.15, "no"),
        ("pairs", 1.2, "must"),
    ],
)
def test_a_figure_meets_the_aim_the_must_or_neither(key: str, value: float, met: str) -> None:
    assert GOAL[key].met(found(value, GOAL[key].of)) == met


def test_without_the_peer_what_is_held_against_it_is_not_measured() -> None:
    alone = Compared(1, Estimate(0.0), None, None)
    assert GOAL["words"].met(alone) == GOAL["words"].met(None) == "not measured"
    assert GOAL["noise"].met(alone) == "aim"


def test_both_programs_are_compared_on_the_same_clips() -> None:
    clips = [said(number) for number in range(10)]
    row = compare(clips, heard(clips, "lights on"), heard(clips, "lights on", "lights of"), words)
    assert row.ours.value == 0
    assert row.peer is not None
    assert row.peer.value == 0.25
    assert row.compared is not None
    assert row.compared.value == -0.25


def test_the_worst_corpus_is_a_large_one() -> None:
    large = [said(number, corpus="large") for number in range(30)]
    better = [said(number, corpus="better") for number in range(30)]
    small = [said(number, corpus="small") for number in range(29)]
    clips = [*large, *better, *small]
    ours = {**heard(large, "lights on", "light on"), **heard([*better, *small], "")}
    ours |= heard(better, "lights on")
    corpora = by_corpus(clips, ours, heard(clips, "lights on"), words)
    assert worst(corpora) == "large"
    assert worst(by_corpus(clips, ours, None, words)) is None


def test_two_commands_are_held_against_the_same_ones_alone() -> None:
    first, second = said(1, "lights on please"), said(2, "stop")
    pair = joined(first, second, 0.5)
    alone = heard([first, second], "lights on", "stop")
    both = {**alone, pair.clip.id: MeasuredAnswer(Answer("lights on", 0.1), 0.5)}
    assert joined_over_alone([pair], both).value == 2


def test_orders_and_single_words_count_as_wholes() -> None:
    order = Clip("o", "c", "", Path(), b"", "", {"size": "sixteen ounce"})
    assert SCORES["slots"](order, MeasuredAnswer(Answer("A 16-ounce latte.", 0.1), 0.5)) == (1, 1)
    assert SCORES["right_word"](said(1, "five"), MeasuredAnswer(Answer("Fine.", 0.1), 0.5)) == (
        0,
        1,
    )


def test_many_rooms_give_one_number_each() -> None:
    crowd = {"utterances": 8, "cpu_s_per_utterance": 0.1}
    row = of_rooms([crowd, {"utterances": 8, "cpu_s_per_utterance": 0.8}])
    assert row.compared == Estimate(0.125)
    assert of_rooms([crowd]).compared is None


def test_pairs_are_of_one_speaker_with_all_pauses_as_often_and_the_same_each_time() -> None:
    speakers = {name: [said(n, f"word {n}", name, name) for n in range(5)] for name in "ab"}
    clips = [clip for some in speakers.values() for clip in some]
    pairs = paired(clips)
    assert len(pairs) == PAIRS
    assert all(pair.first.speaker == pair.second.speaker for pair in pairs)
    assert all(pair.first.text != pair.second.text for pair in pairs)
    pauses = [pair.pause_s for pair in pairs]
    assert {pauses.count(pause) for pause in PAUSES_S} == {PAIRS // len(PAUSES_S)}
    assert [pair.clip.id for pair in pairs] == [pair.clip.id for pair in paired(clips)]


def test_nobody_known_makes_no_pairs() -> None:
    assert paired([said(number, speaker=str(number)) for number in range(9)]) == []


def test_between_two_commands_is_as_much_room_as_in_the_first_one() -> None:
    first, second = said(1), said(2)
    quiet = bytes(SAMPLE_RATE * 2 // 5)
    room = Clip("r", "c", "lights on", first.file, quiet + first.pcm, "")
    digital = np.frombuffer(joined(room, second, 2.0).clip.pcm, "<i2")[len(room.pcm) // 2 :]
    assert np.abs(digital[: 2 * SAMPLE_RATE]).max() == 0
    noisy = np.frombuffer(joined(first, second, 2.0).clip.pcm, "<i2")[len(first.pcm) // 2 :]
    assert np.sqrt(np.mean(noisy[: 2 * SAMPLE_RATE].astype(float) ** 2)) == pytest.approx(707, 0.02)


def test_an_answer_that_never_comes_is_an_error_and_ends_no_run() -> None:
    def hear(_pcm: bytes) -> Answer:
        raise TimeoutError

    answer = answer_of(hear, said(1).pcm)
    assert answer.text == ""
    assert errors([answer, Answer("lights on", 0.1)]) == {"no_answer": 1}
