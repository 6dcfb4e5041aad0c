"""How answers become figures, and which clips are joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.hearing import (
    PAIRS,
    PAUSES_S,
    SCORES,
    MeasuredAnswer,
    by_corpus,
    compare,
    errors,
    joined,
    joined_over_alone,
    paired,
)
from benchmarks.speech import Clip
from stt_mqtt.types import SAMPLE_RATE
from tools.clients import Answer, answer_of


def said(number: int, text: str = "lights on", corpus: str = "c", speaker: str = "") -> Clip:
    tone = (1000 * np.sin(np.arange(SAMPLE_RATE) / 5)).astype("<i2").tobytes()
    return Clip(f"{corpus}{number}", corpus, text, Path(), tone, speaker)


def heard(clips: list[Clip], *texts: str) -> dict[str, MeasuredAnswer]:
    return {
        clip.id: MeasuredAnswer(Answer(texts[number % len(texts)], 0.1), 0.5)
        for number, clip in enumerate(clips)
    }


def test_both_programs_are_compared_on_the_same_clips() -> None:
    clips = [said(number) for number in range(10)]
    rooms = [heard(clips, "lights on"), heard(clips, "lights on", "lights of")]
    row = compare(clips, rooms, "words", is_ratio=False)
    values = [row[key]["value"] for key in ("ours", "peer", "compared")]
    assert values == [0, 0.25, -0.25]
    assert compare(clips, rooms[::-1], "single_words", is_ratio=True)["compared"]["value"] == 0.5


def test_without_the_peer_nothing_is_compared() -> None:
    clips = [said(number) for number in range(10)]
    row = compare(clips, [heard(clips, "lights on")], "words", is_ratio=True)
    assert (row["clips"], row["ours"]["value"]) == (10, 0)
    assert row["peer"] is row["compared"] is None


def test_each_corpus_has_its_own_figure() -> None:
    clips = [said(1, corpus="right"), said(2, corpus="wrong")]
    rows = by_corpus(clips, [heard(clips, "lights on", "")], "words")
    assert {name: row["ours"]["value"] for name, row in rows.items()} == {
        "right": 0,
        "wrong": 1,
        "all": 0.5,
    }


def test_two_commands_are_held_against_the_same_ones_alone() -> None:
    first, second = said(1, "lights on please"), said(2, "stop")
    pair = joined(first, second, 0.5)
    alone = heard([first, second], "lights on", "stop")
    both = {**alone, pair.clip.id: MeasuredAnswer(Answer("lights on", 0.1), 0.5)}
    assert joined_over_alone([pair], both).value == 2


def test_orders_and_single_words_count_as_wholes() -> None:
    order = Clip("o", "c", "", Path(), b"", "", {"size": "sixteen ounce"})
    assert SCORES["orders"](order, MeasuredAnswer(Answer("A 16-ounce latte.", 0.1), 0.5)) == (1, 1)
    wrong = MeasuredAnswer(Answer("Fine.", 0.1), 0.5)
    assert SCORES["single_words"](said(1, "five"), wrong) == (0, 1)


def test_pairs_are_of_one_speaker_with_all_pauses_as_often_and_the_same_each_time() -> None:
    speakers = {name: [said(n, f"word {n}", name, name) for n in range(5)] for name in "ab"}
    clips = [clip for some in speakers.values() for clip in some]
    pairs = paired(clips)
    assert len(pairs) == PAIRS
    assert all(pair.first.speaker == pair.second.speaker for pair in pairs)
    assert all(pair.first.text != pair.second.text for pair in pairs)
    pauses = [
        round(pair.clip.seconds - pair.first.seconds - pair.second.seconds, 3) for pair in pairs
    ]
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
