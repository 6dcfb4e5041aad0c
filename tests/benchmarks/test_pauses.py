from __future__ import annotations

import numpy as np
import pytest

from benchmarks import sounds
from benchmarks.household import label
from benchmarks.pauses import (
    APART_S,
    PAUSES_S,
    background,
    planted,
    quiet_places,
    quietest,
    speech_span,
)
from benchmarks.sounds import Sound, level_dbfs
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.types import SAMPLE_RATE

ROOM_DBFS = -70.0
FIRST_AT_S, FIRST_S, GAP_S, SECOND_S = 0.5, 2.4, 0.2, 1.8
"""Two sentences in a room, and how long their speech lasts."""
SECOND_AT_S = FIRST_AT_S + FIRST_S + GAP_S
BEFORE_S = 0.3
"""Of silence in a sample before its first sound."""


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def room(seconds: float) -> Sound:
    return sounds.at_level(sounds.pink(rng(), seconds), ROOM_DBFS)


def spoken(number: int, seconds: float) -> Sound:
    """The first `seconds` of speech of a sample of the demo."""
    sound = sounds.from_pcm(SAMPLES[number].pcm())[round(BEFORE_S * SAMPLE_RATE) :]
    return sounds.faded(sound[: round(seconds * SAMPLE_RATE)])


def two_sentences() -> Sound:
    sound = room(SECOND_AT_S + SECOND_S + 0.8)
    sounds.add(sound, spoken(0, FIRST_S), round(FIRST_AT_S * SAMPLE_RATE))
    sounds.add(sound, spoken(1, SECOND_S), round(SECOND_AT_S * SAMPLE_RATE))
    return sound


def recordings() -> list[Sound]:
    return [two_sentences(), *(sounds.from_pcm(sample.pcm()) for sample in SAMPLES)]


@pytest.mark.parametrize("seconds", PAUSES_S)
@pytest.mark.parametrize("number", range(len(recordings())))
def test_a_pause_has_its_length_and_all_samples_of_the_words_are_unchanged(
    number: int, seconds: float
) -> None:
    sound = recordings()[number]
    made = planted(sound, seconds, rng())
    assert made is not None
    added = round(seconds * SAMPLE_RATE)
    assert len(made.sound) == len(sound) + added
    assert np.array_equal(made.sound[: made.at], sound[: made.at])
    assert np.array_equal(made.sound[made.at + added :], sound[made.at :])
    assert made.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("number", range(len(recordings())))
def test_nothing_clicks_where_a_pause_begins_and_ends(number: int) -> None:
    sound = recordings()[number]
    made = planted(sound, 0.3, rng())
    assert made is not None
    steps = np.abs(np.diff(sound[made.at - 800 : made.at + 800])).max()
    noise = np.abs(np.diff(background(sound, 1.0, rng()))).max()
    for joint in (made.at, made.at + round(0.3 * SAMPLE_RATE)):
        assert np.abs(np.diff(made.sound[joint - 3 : joint + 3])).max() <= steps + noise


def test_a_pause_is_as_loud_as_the_background_of_its_recording() -> None:
    made = planted(two_sentences(), 0.5, rng())
    assert made is not None
    inside = made.sound[made.at + 800 : made.at + 7200]
    assert level_dbfs(inside) == pytest.approx(ROOM_DBFS, abs=2)


def test_a_pause_lies_between_two_stretches_of_speech() -> None:
    at = quietest(two_sentences())
    assert at is not None
    assert FIRST_AT_S + FIRST_S <= at / SAMPLE_RATE <= SECOND_AT_S + 0.1


def test_a_recording_without_room_for_a_pause_gets_none() -> None:
    word = room(1.2)
    sounds.add(word, spoken(0, 0.5), 6400)
    assert planted(word, 0.3, rng()) is None
    assert planted(room(1.0), 0.3, rng()) is None


@pytest.mark.parametrize("seconds", [1.8, 2.1, 2.4])
def test_the_end_of_the_last_sound_is_known_to_30_ms(seconds: float) -> None:
    sound = room(FIRST_AT_S + seconds + 1.0)
    sentence = spoken(0, seconds)
    sounds.add(sound, sentence, round(FIRST_AT_S * SAMPLE_RATE))
    last = np.flatnonzero(np.abs(sentence) > 0.01)[-1] / SAMPLE_RATE
    span = speech_span(sound)
    assert span is not None
    assert span[0] == pytest.approx(FIRST_AT_S, abs=0.15)
    assert span[1] == pytest.approx(FIRST_AT_S + last, abs=0.03)


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_the_end_of_the_last_sound_of_a_clean_recording_is_that_of_its_level(number: int) -> None:
    pcm = SAMPLES[number].pcm()
    speech, span = label(np.frombuffer(pcm, "<i2")), speech_span(sounds.from_pcm(pcm))
    assert speech is not None
    assert span is not None
    assert span[1] == pytest.approx(speech.end_s, abs=0.03)


def test_the_background_of_digital_silence_is_not_silent() -> None:
    assert level_dbfs(background(np.zeros(16_000, np.float32), 1.0, rng())) == pytest.approx(
        -80, abs=0.1
    )


def test_quiet_places_are_apart_from_each_other_and_the_quietest_is_first() -> None:
    sound = two_sentences()
    first, *others = quiet_places(sound, 3)
    assert first == quietest(sound)
    assert others
    places = sorted([first, *others])
    assert min(np.diff(places)) >= APART_S * SAMPLE_RATE
    assert quiet_places(room(1.0), 3) == []
