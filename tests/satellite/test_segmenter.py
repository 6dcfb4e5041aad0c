from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import VadConfig
from stt_mqtt.core.listening import OPEN_S
from stt_mqtt.satellite.segmenter import (
    ENDING_GAP_S,
    ENDING_S,
    FRAME_S,
    ONSET_S,
    OPEN_HANGOVER_S,
    PROMPT_S,
    TAIL_S,
    CloseReason,
    ListenState,
    Segmenter,
    SegmenterOutput,
    VadFrame,
)

CONFIG = VadConfig()
QUIET, SOFT, SPEECH = ".", "s", "X"
HANGOVER = CONFIG.hangover_ms // 30
PRE_ROLL = CONFIG.pre_roll_ms // 30
OPEN_HANGOVER = round(OPEN_HANGOVER_S / FRAME_S)
BEGINS_AFTER = CONFIG.min_speech_ms // 30


def frame(number: int, sound: str) -> VadFrame:
    """Frame `number`, recognisable by its bytes."""
    return VadFrame(
        number.to_bytes(4, "little"),
        number * FRAME_S,
        begins=sound == SPEECH,
        goes_on=sound in {SPEECH, "x"},
        sounds=sound != QUIET,
    )


@dataclass
class Listening:
    """A segmenter and what it made of the sounds: utterances as lists of frame numbers."""

    config: VadConfig = CONFIG
    state: ListenState = ListenState.ACTIVE
    utterances: list[list[int]] = field(default_factory=list)
    reasons: list[CloseReason] = field(default_factory=list)
    heard: int = 0

    def __post_init__(self) -> None:
        self.segmenter = Segmenter(self.config)

    def hear(self, sounds: str) -> None:
        for sound in sounds:
            self.take(self.segmenter.push(frame(self.heard, sound), self.state))
            self.heard += 1

    def take(self, output: SegmenterOutput) -> None:
        if output.opened_at is not None:
            assert len(self.utterances) == len(self.reasons)
            self.utterances.append([])
            assert output.opened_at == pytest.approx(
                int.from_bytes(output.frames[0], "little") * 0.03
            )
        if output.frames:
            assert len(self.utterances) == len(self.reasons) + 1
            self.utterances[-1].extend(int.from_bytes(pcm, "little") for pcm in output.frames)
        if output.closed is not None:
            self.reasons.append(output.closed)
            assert len(self.utterances) == len(self.reasons)
        assert self.segmenter.speaking == (len(self.utterances) > len(self.reasons))


def test_an_utterance_has_what_was_heard_shortly_before_it() -> None:
    listening = Listening()
    listening.hear(QUIET * 50 + SPEECH * 20 + QUIET * 30)
    ((first, *_, last),) = listening.utterances
    assert first == 50 - PRE_ROLL
    assert (last - 69) * FRAME_S == pytest.approx(TAIL_S, abs=FRAME_S)
    assert listening.reasons == [CloseReason.PAUSE]


def test_it_ends_when_the_hangover_is_over() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + QUIET * (HANGOVER - 1))
    assert not listening.reasons
    listening.hear(QUIET)
    assert listening.reasons == [CloseReason.PAUSE]


def test_a_pause_shorter_than_the_hangover_is_part_of_it() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + QUIET * (HANGOVER - 1) + SPEECH * 20)
    assert listening.utterances == [list(range(20 + HANGOVER - 1 + 20))]


def test_a_click_in_the_pause_does_not_prolong_it() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + QUIET * 10 + SPEECH + QUIET * (HANGOVER - 11))
    assert listening.reasons == [CloseReason.PAUSE]


def test_after_the_beginning_of_a_phrase_it_waits_as_long_as_the_service_would() -> None:
    assert OPEN_HANGOVER_S == OPEN_S


def test_a_longer_pause_after_the_beginning_of_a_phrase_is_part_of_the_utterance() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + QUIET * 10)
    listening.segmenter.expect_more()
    listening.hear(QUIET * (OPEN_HANGOVER - 11) + SPEECH * 20)
    assert listening.utterances == [list(range(20 + OPEN_HANGOVER - 1 + 20))]
    assert not listening.reasons


def test_when_that_pause_is_over_it_ends_too() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + QUIET * 10)
    listening.segmenter.expect_more()
    listening.hear(QUIET * (OPEN_HANGOVER - 11))
    assert not listening.reasons
    listening.hear(QUIET)
    assert listening.reasons == [CloseReason.PAUSE]
    ((*_, last),) = listening.utterances
    assert (last - 19) * FRAME_S == pytest.approx(TAIL_S, abs=FRAME_S), "silence is not sent"


def test_the_next_pause_is_as_long_as_usual_until_it_is_told_again() -> None:
    listening = Listening()
    for _ in range(2):
        listening.hear(SPEECH * 20 + QUIET * 10)
        listening.segmenter.expect_more()
        listening.hear(QUIET * 30)
    listening.hear(SPEECH * 20 + QUIET * (HANGOVER - 1))
    assert not listening.reasons
    listening.hear(QUIET)
    assert listening.reasons == [CloseReason.PAUSE]


def test_a_click_in_that_pause_does_not_end_it_early() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + QUIET * 10)
    listening.segmenter.expect_more()
    listening.hear(SPEECH + QUIET * (OPEN_HANGOVER - 12))
    assert not listening.reasons


@pytest.mark.parametrize("sounds", ["", QUIET * 20, SPEECH * 20, SPEECH * 20 + QUIET * HANGOVER])
def test_what_is_told_while_nobody_pauses_is_about_no_later_pause(sounds: str) -> None:
    listening = Listening()
    listening.hear(sounds)
    listening.segmenter.expect_more()
    listening.reasons, listening.utterances = [], listening.utterances[len(listening.reasons) :]
    listening.hear(SPEECH * (0 if listening.utterances else BEGINS_AFTER) + QUIET * HANGOVER)
    assert listening.reasons == [CloseReason.PAUSE]


def test_a_usual_pause_that_is_longer_stays_as_it_is() -> None:
    listening = Listening(VadConfig(hangover_ms=3000))
    listening.hear(SPEECH * 20 + QUIET * 10)
    listening.segmenter.expect_more()
    listening.hear(QUIET * 89)
    assert not listening.reasons
    listening.hear(QUIET)
    assert listening.reasons == [CloseReason.PAUSE]


def test_clicks_are_no_utterance() -> None:
    listening = Listening()
    listening.hear((SPEECH * (BEGINS_AFTER - 1) + QUIET * 20) * 10)
    assert listening.utterances == []


def test_the_soft_beginning_of_a_word_belongs_to_it() -> None:
    listening = Listening()
    listening.hear(QUIET * 50 + SOFT * 8 + SPEECH * 20)
    assert listening.utterances[0][0] == 50 - PRE_ROLL


def test_a_noise_long_before_a_word_does_not_belong_to_it() -> None:
    listening = Listening()
    listening.hear(QUIET * 10 + SOFT * 60 + SPEECH * 20)
    (utterance,) = listening.utterances
    assert utterance[0] * FRAME_S >= 70 * FRAME_S - ONSET_S - (PRE_ROLL + 2) * FRAME_S


def test_the_hissing_end_of_a_word_belongs_to_it() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + SOFT * 11 + QUIET * 30)
    assert listening.utterances == [list(range(31))]
    assert listening.reasons == [CloseReason.PAUSE]


def test_so_does_a_plosive_behind_a_closed_mouth() -> None:
    closure = round(ENDING_GAP_S / FRAME_S)
    listening = Listening()
    listening.hear(SPEECH * 20 + SOFT * 3 + QUIET * closure + SOFT + QUIET * 30)
    assert listening.utterances == [list(range(20 + 3 + closure + 1))]


def test_a_noise_in_the_pause_does_not_belong_to_the_word_before_it() -> None:
    closure = round(ENDING_GAP_S / FRAME_S)
    listening = Listening()
    listening.hear(SPEECH * 20 + SOFT * 3 + QUIET * (closure + 1) + SOFT * 3 + QUIET * 30)
    ((*_, last),) = listening.utterances
    assert (last - 19) * FRAME_S == pytest.approx(TAIL_S, abs=FRAME_S)


def test_noise_that_lasts_is_no_end_of_a_word_and_ends_the_utterance_no_later() -> None:
    listening = Listening()
    listening.hear(SPEECH * 20 + SOFT * HANGOVER)
    ((*_, last),) = listening.utterances
    assert (last - 19) * FRAME_S == pytest.approx(ENDING_S, abs=FRAME_S)
    assert listening.reasons == [CloseReason.PAUSE]


def test_no_utterance_is_longer_than_its_limit_and_none_is_lost_at_the_seam() -> None:
    listening = Listening(VadConfig(max_utterance_s=2))
    listening.hear(SPEECH * 190 + QUIET * 30)
    assert listening.reasons[0] is CloseReason.CAP
    assert all(len(utterance) * FRAME_S <= 2.001 for utterance in listening.utterances)
    spoken = [number for utterance in listening.utterances for number in utterance]
    assert spoken[:190] == list(range(190))


def test_who_waits_for_a_wake_up_hears_but_does_not_begin() -> None:
    listening = Listening(state=ListenState.WAITING)
    listening.hear(QUIET * 20 + SPEECH * 40)
    assert not listening.utterances


def test_after_a_wake_up_the_wake_word_alone_begins_nothing() -> None:
    listening = Listening(state=ListenState.WAITING)
    listening.hear(QUIET * 20 + SPEECH * 30)
    listening.state = ListenState.ACTIVE
    listening.hear(SPEECH * (BEGINS_AFTER - 1) + QUIET * 60)
    assert not listening.utterances


def test_whoever_speaks_on_after_the_wake_word_is_heard_from_there() -> None:
    listening = Listening(state=ListenState.WAITING)
    listening.hear(QUIET * 20 + SPEECH * 30)
    listening.state = ListenState.ACTIVE
    listening.hear(SPEECH * 30)
    (utterance,) = listening.utterances
    assert 50 - PRE_ROLL - 1 <= utterance[0] <= 50


def test_while_the_button_is_held_no_pause_ends_it() -> None:
    listening = Listening(state=ListenState.HELD)
    listening.hear(SPEECH * 20 + QUIET * 200 + SPEECH * 20)
    assert not listening.reasons
    listening.take(listening.segmenter.cut(CloseReason.RELEASED))
    assert listening.utterances == [list(range(240))]
    assert listening.reasons == [CloseReason.RELEASED]


def test_while_the_button_is_held_a_pause_is_sent_as_it_comes() -> None:
    listening = Listening(state=ListenState.HELD)
    listening.hear(SPEECH * 20)
    for _ in range(200):
        listening.hear(QUIET)
        assert listening.utterances == [list(range(listening.heard))]


def test_a_long_pause_of_a_held_button_is_sent_in_whole_chunks() -> None:
    listening = Listening(state=ListenState.HELD)
    listening.hear(SPEECH * 20 + QUIET * 10)
    pause = [frame(30 + number, QUIET) for number in range(50)]
    assert not any(listening.segmenter.push(one, ListenState.HELD).flush for one in pause)


def test_nothing_heard_while_off_is_kept() -> None:
    listening = Listening()
    listening.hear(QUIET * 20)
    listening.state = ListenState.OFF
    listening.hear(SPEECH * 20)
    listening.state = ListenState.ACTIVE
    listening.hear(SPEECH * 20)
    (utterance,) = listening.utterances
    assert utterance[0] == 40


def test_to_cut_what_is_not_open_does_nothing() -> None:
    assert Segmenter(CONFIG).cut(CloseReason.MUTED) == SegmenterOutput()


SOUNDS = st.lists(
    st.tuples(
        st.sampled_from([QUIET, SOFT, "x", SPEECH]),
        st.integers(1, 60),
        st.sampled_from([None, *ListenState]),
        st.sampled_from([None, None, None, *CloseReason]),
        st.booleans(),
    ),
    max_size=40,
)
CONFIGS = st.builds(
    VadConfig,
    min_speech_ms=st.integers(30, 480),
    pre_roll_ms=st.integers(0, 2000),
    hangover_ms=st.integers(60, 2000),
    max_utterance_s=st.floats(1, 5),
)


@given(CONFIGS, SOUNDS)
def test_whatever_is_heard(
    config: VadConfig, sounds: list[tuple[str, int, ListenState, CloseReason, bool]]
) -> None:
    listening = Listening(config)
    speech: set[int] = set()
    unheard: set[int] = set()
    for sound, count, state, cut, is_open in sounds:
        if state is not None:
            listening.state = state
            if state is ListenState.OFF:
                listening.take(listening.segmenter.cut(CloseReason.PLAYING))
        start = listening.heard
        listening.hear(sound * count)
        numbers = range(start, listening.heard)
        speech.update(numbers if sound == SPEECH else ())
        unheard.update(numbers if listening.state is ListenState.OFF else ())
        if is_open:
            listening.segmenter.expect_more()
        if cut is not None:
            listening.take(listening.segmenter.cut(cut))
    listening.state = ListenState.ACTIVE
    listening.hear(QUIET * (int(config.max_utterance_s / FRAME_S) + 1))

    assert len(listening.utterances) == len(listening.reasons), "it always ends"
    sent = [number for utterance in listening.utterances for number in utterance]
    assert sent == sorted(set(sent)), "no frame is sent twice or out of order"
    for utterance in listening.utterances:
        assert utterance == list(range(utterance[0], utterance[-1] + 1)), "frames between marks"
        assert speech & set(utterance), "no utterance without speech"
        assert not unheard & set(utterance)
        opening = config.pre_roll_ms / 1000 + ONSET_S + 0.5 + 2 * FRAME_S
        assert len(utterance) * FRAME_S <= max(config.max_utterance_s, opening) + FRAME_S


@given(CONFIGS, SOUNDS)
def test_what_is_kept_is_bounded(
    config: VadConfig, sounds: list[tuple[str, int, ListenState, CloseReason, bool]]
) -> None:
    listening = Listening(config)
    longest_s = config.pre_roll_ms / 1000 + ONSET_S + 0.5 + config.max_utterance_s + 0.1
    for sound, count, state, _, is_open in sounds:
        listening.state = state or listening.state
        if is_open:
            listening.segmenter.expect_more()
        for _ in range(count):
            listening.hear(sound)
            kept = len(listening.segmenter._pre_roll) + len(listening.segmenter._pause)
            assert kept * FRAME_S <= longest_s


def test_what_is_forgotten_is_no_pre_roll() -> None:
    listening = Listening()
    listening.hear(QUIET * 50)
    listening.segmenter.forget()
    listening.hear(SPEECH * 20)
    assert listening.utterances[0][0] == 50


def test_who_went_on_to_speak_when_the_service_ends_an_utterance_is_heard_from_the_first_word() -> (
    None
):
    listening = Listening()
    listening.hear(QUIET * 50 + SPEECH * 20 + QUIET * 12 + SPEECH * 9)
    listening.take(listening.segmenter.end_by_service(unsent=1))
    assert listening.reasons == [CloseReason.ENDED]
    listening.hear(SPEECH * 10 + QUIET * 30)
    ended, following = listening.utterances
    assert ended[-1] == 90
    first = 82 - PRE_ROLL
    assert first <= following[0] <= 82
    assert following[:20] == list(range(following[0], following[0] + 20))


def test_without_a_silence_only_what_was_not_sent_is_pre_roll() -> None:
    listening = Listening()
    listening.hear(QUIET * 50 + SPEECH * 10 + QUIET * 12 + SPEECH * 60)
    listening.take(listening.segmenter.end_by_service(unsent=5))
    listening.hear(SPEECH * 10 + QUIET * 30)
    ended, following = listening.utterances
    assert following[0] == ended[-1] - 4


def test_what_was_held_back_when_the_service_ends_an_utterance_is_only_pre_roll() -> None:
    listening = Listening()
    listening.hear(QUIET * 50 + SPEECH * 20 + QUIET * 12)
    listening.take(listening.segmenter.end_by_service(unsent=0))
    listening.hear(QUIET * 40)
    listening.take(listening.segmenter.end_by_service(unsent=0))
    assert listening.reasons == [CloseReason.ENDED]
    listening.hear(SPEECH * 20)
    assert listening.utterances[1][0] == listening.heard - 20 - PRE_ROLL


def test_the_frames_of_a_pause_are_to_be_sent_at_once_and_not_with_the_next_chunk() -> None:
    listening = Listening()
    listening.hear(QUIET * 50 + SPEECH * 20)
    flushed_after_s = []
    for number in range(1, 12):
        output = listening.segmenter.push(frame(listening.heard, QUIET), listening.state)
        listening.heard += 1
        if output.flush:
            flushed_after_s.append(round(number * FRAME_S, 2))
    assert flushed_after_s == [PROMPT_S, 0.12, 0.15, 0.18, 0.21, 0.24, 0.27, 0.3, 0.33]
