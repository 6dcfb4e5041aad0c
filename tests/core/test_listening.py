"""When a glimpse of an open utterance is due, and when its turn has ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.core.listening import (
    COMPLETE_S,
    CONFIDENT,
    GLIMPSE_S,
    LONGEST_CHUNK_S,
    ONE_WORD_S,
    OPEN_S,
    SENTENCE_S,
    STALL_S,
    SURE_END,
    Listener,
    is_sentence,
)
from stt_mqtt.types import Completion, Endpointing, Transcript, TurnEnd
from tests.core.speech import BYTES_PER_S, CHUNK_S, WORDS, chunks_of, quiet

LATEST_S = 0.001
PAUSE_S = 0.7
NO_SPEECH_S = 8.0
START = 1000.0


@dataclass
class LoudMeter:
    """A meter in a world where all that is not silent is speech, measured to the millisecond."""

    spoke: bool = False
    silence_ms: float = 0
    heard_ms: float = 0

    def push(self, pcm: bytes) -> None:
        ms = 1000 * len(pcm) / BYTES_PER_S
        self.heard_ms += ms
        self.spoke = self.spoke or any(pcm)
        self.silence_ms = 0 if any(pcm) or not self.spoke else self.silence_ms + ms

    @property
    def speech_end_ms(self) -> int:
        return round(self.heard_ms - self.silence_ms)


@pytest.fixture(autouse=True)
def _loud_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stt_mqtt.core.listening.SpeechMeter", LoudMeter)


def transcript(
    completion: Completion = Completion.NONE,
    text: str = "Turn on the light.",
    confidence: float = 0.9,
    end_prob: float = 0.95,
) -> Transcript:
    return Transcript(
        text, "en", confidence, no_speech_prob=0.01, completion=completion, end_prob=end_prob
    )


def loud(seconds: float) -> bytes:
    return b"\1" * round(seconds * BYTES_PER_S)


class Ear:
    """A listener to live audio, and the time."""

    def __init__(
        self,
        endpointing: Endpointing = Endpointing.PHRASES,
        pause_s: float | None = None,
        no_speech_s: float | None = None,
    ) -> None:
        self.listener = Listener(TurnEnd(endpointing, pause_s, no_speech_s))
        self.now = START

    def hear(self, pcm: bytes) -> Ear:
        """Audio that arrives in chunks, each when it was recorded."""
        for chunk in chunks_of(pcm):
            self.now += len(chunk) / BYTES_PER_S
            self.listener.push(chunk, self.now)
        return self

    def glimpse(self, found: Transcript | None) -> Ear:
        """A glimpse that takes no time."""
        self.listener.begin_glimpse()
        self.listener.end_glimpse(found)
        return self

    def wants_glimpse_after(self, seconds: float) -> bool:
        return self.listener.wants_glimpse(self.now + seconds)

    def has_ended_after(self, seconds: float) -> bool:
        return self.listener.has_ended(self.now + seconds)

    @property
    def due_s(self) -> float:
        """How long after now something is due."""
        return self.listener.deadline - self.now


def ended_after_s(ear: Ear) -> float | None:
    """How much more silence in the audio ends the turn, to 10 ms; None: not even 3 s."""
    for count in range(300):
        if ear.listener.has_ended():
            return count / 100
        ear.hear(quiet(0.01))
    return None


def test_before_anybody_speaks_there_is_nothing_to_glimpse_and_no_deadline() -> None:
    ear = Ear().hear(quiet(5.0))
    assert not ear.wants_glimpse_after(10.0)
    assert not ear.has_ended_after(10.0)
    assert ear.listener.deadline == inf
    assert not ear.listener.is_glimpsed


def test_nothing_is_no_audio() -> None:
    ear = Ear()
    ear.listener.push(b"", START)
    assert ear.listener.deadline == inf
    ear.hear(loud(0.6))
    before = ear.listener.deadline
    ear.listener.push(b"", ear.now + 5)
    assert ear.listener.deadline == before


def test_a_glimpse_is_due_after_a_short_silence_in_the_audio() -> None:
    ear = Ear().hear(loud(0.6) + quiet(GLIMPSE_S - 0.01))
    assert not ear.listener.wants_glimpse(ear.now)
    assert ear.hear(quiet(0.01)).listener.wants_glimpse(ear.now)


def test_a_glimpse_is_due_as_soon_as_the_next_chunk_is_late_by_that_much() -> None:
    ear = Ear().hear(loud(0.6))
    assert ear.due_s == pytest.approx(CHUNK_S + GLIMPSE_S)
    assert not ear.wants_glimpse_after(CHUNK_S + GLIMPSE_S - LATEST_S)
    assert ear.wants_glimpse_after(CHUNK_S + GLIMPSE_S)


def test_silence_in_the_audio_and_after_it_adds_up() -> None:
    ear = Ear().hear(loud(0.6) + quiet(CHUNK_S))
    assert ear.due_s == pytest.approx(GLIMPSE_S)
    assert not ear.wants_glimpse_after(GLIMPSE_S - LATEST_S)
    assert ear.wants_glimpse_after(GLIMPSE_S)


@pytest.mark.parametrize("chunk_s", [0.02, 0.25, 0.5, 1.0])
def test_the_next_chunk_of_live_audio_is_not_late_before_it_was_recorded(chunk_s: float) -> None:
    ear = Ear()
    ear.listener.push(loud(chunk_s), ear.now)
    assert not ear.wants_glimpse_after(chunk_s)
    assert ear.due_s == pytest.approx(chunk_s + GLIMPSE_S)


def test_old_audio_in_one_chunk_is_not_waited_for_as_long_as_it_lasts() -> None:
    ear = Ear()
    ear.listener.push(loud(5.0), ear.now)
    assert ear.due_s == pytest.approx(LONGEST_CHUNK_S + GLIMPSE_S)


def test_a_burst_of_old_audio_is_silent_only_when_nothing_follows_it() -> None:
    ear = Ear()
    for chunk in chunks_of(loud(0.6) + quiet(0.3) + loud(0.6)):
        ear.listener.push(chunk, ear.now)
    assert not ear.listener.wants_glimpse(ear.now)
    assert ear.due_s == pytest.approx(CHUNK_S + GLIMPSE_S)


def test_a_stall_of_the_network_makes_a_glimpse_which_what_was_said_since_makes_useless() -> None:
    ear = Ear().hear(loud(0.6))
    ear.now += 1.0
    assert ear.listener.wants_glimpse(ear.now)
    ear.listener.begin_glimpse()
    ear.hear(loud(0.6))
    ear.listener.end_glimpse(transcript(Completion.COMPLETE))
    assert not ear.listener.is_glimpsed
    assert not ear.has_ended_after(COMPLETE_S)
    assert ear.wants_glimpse_after(CHUNK_S + GLIMPSE_S)


def test_if_the_service_ends_the_turn_only_silence_in_the_audio_counts() -> None:
    ear = Ear(pause_s=PAUSE_S).hear(loud(0.6))
    assert not ear.wants_glimpse_after(60.0)
    assert not ear.has_ended_after(60.0)
    assert ear.listener.deadline == inf
    assert ear.hear(quiet(GLIMPSE_S)).listener.wants_glimpse(ear.now)


def test_one_glimpse_is_taken_at_a_pause_however_long_it_is() -> None:
    ear = Ear().hear(loud(0.6) + quiet(GLIMPSE_S)).glimpse(None)
    for _ in range(10):
        assert ear.listener.is_glimpsed
        assert not ear.hear(quiet(0.5)).wants_glimpse_after(5.0)
    assert ear.listener.deadline == inf


def test_a_glimpse_covers_no_sound_that_follows_it() -> None:
    ear = Ear().hear(loud(0.6)).glimpse(transcript(Completion.COMPLETE))
    assert ear.listener.is_glimpsed
    ear.hear(loud(0.01))
    assert not ear.listener.is_glimpsed
    assert not ear.hear(quiet(COMPLETE_S)).listener.has_ended(ear.now)
    assert ear.listener.wants_glimpse(ear.now)


def test_the_next_glimpse_waits_for_the_end_of_the_one_that_the_speaker_overtook() -> None:
    ear = Ear().hear(loud(0.6) + quiet(GLIMPSE_S))
    ear.listener.begin_glimpse()
    ear.hear(loud(0.6) + quiet(GLIMPSE_S))
    assert not ear.wants_glimpse_after(5.0)
    assert ear.listener.deadline == inf
    ear.listener.end_glimpse(transcript(Completion.COMPLETE))
    assert not ear.has_ended_after(5.0)
    assert ear.listener.wants_glimpse(ear.now)


def test_a_pause_at_which_no_glimpse_could_be_taken_is_not_glimpsed_but_done() -> None:
    ear = Ear().hear(loud(0.6) + quiet(GLIMPSE_S))
    ear.listener.skip_glimpse()
    assert not ear.listener.is_glimpsed
    assert not ear.wants_glimpse_after(5.0)
    assert not ear.has_ended_after(5.0)
    assert ear.listener.deadline == inf
    ear.hear(loud(0.6) + quiet(GLIMPSE_S))
    assert ear.listener.wants_glimpse(ear.now)
    assert ear.glimpse(None).listener.is_glimpsed


ENDS_AFTER_S = [
    # endpointing, completion, confidence, silence that ends it without and with a usual pause
    (Endpointing.SILENCE, Completion.COMPLETE, 0.9, None, PAUSE_S),
    (Endpointing.SILENCE, Completion.OPEN, 0.9, None, PAUSE_S),
    (Endpointing.PHRASES, Completion.COMPLETE, 0.1, COMPLETE_S, COMPLETE_S),
    (Endpointing.PHRASES, Completion.EXTENDABLE, 0.9, None, PAUSE_S),
    (Endpointing.PHRASES, Completion.OPEN, 0.9, None, OPEN_S),
    (Endpointing.PHRASES, Completion.NONE, 0.9, None, PAUSE_S),
    (Endpointing.EAGER, Completion.COMPLETE, 0.1, COMPLETE_S, COMPLETE_S),
    (Endpointing.EAGER, Completion.EXTENDABLE, 0.9, None, PAUSE_S),
    (Endpointing.EAGER, Completion.OPEN, 0.9, None, OPEN_S),
    (Endpointing.EAGER, Completion.NONE, CONFIDENT, SENTENCE_S, SENTENCE_S),
    (Endpointing.EAGER, Completion.NONE, CONFIDENT - 0.01, None, PAUSE_S),
]


@pytest.mark.parametrize(
    ("endpointing", "completion", "confidence", "own_s", "usual_s"), ENDS_AFTER_S
)
def test_what_was_said_decides_how_much_silence_ends_the_turn(
    endpointing: Endpointing,
    completion: Completion,
    confidence: float,
    own_s: float | None,
    usual_s: float,
) -> None:
    for pause_s, expected_s in ((None, own_s), (PAUSE_S, usual_s)):
        ear = (
            Ear(endpointing, pause_s)
            .hear(loud(0.6))
            .glimpse(transcript(completion, confidence=confidence))
        )
        assert ended_after_s(ear) == (None if expected_s is None else pytest.approx(expected_s))


@pytest.mark.parametrize(
    ("completion", "text"), [(Completion.EXTENDABLE, "Stop."), (Completion.SIMILAR, "star")]
)
@pytest.mark.parametrize("endpointing", [Endpointing.PHRASES, Endpointing.EAGER])
def test_one_word_ends_a_turn_of_the_service_although_a_longer_phrase_may_begin_with_it(
    endpointing: Endpointing, completion: Completion, text: str
) -> None:
    said = transcript(completion, text, end_prob=0.0)
    assert ended_after_s(Ear(endpointing, PAUSE_S).hear(loud(0.6)).glimpse(said)) == pytest.approx(
        ONE_WORD_S
    )
    assert ended_after_s(Ear(endpointing).hear(loud(0.6)).glimpse(said)) is None


@pytest.mark.parametrize("pause_s", [0.1, 2.0])
def test_the_usual_pause_is_the_longest_but_for_the_beginning_of_a_phrase(pause_s: float) -> None:
    complete = Ear(pause_s=pause_s).hear(loud(0.6)).glimpse(transcript(Completion.COMPLETE))
    assert ended_after_s(complete) == pytest.approx(min(COMPLETE_S, pause_s))
    begun = Ear(pause_s=pause_s).hear(loud(0.6)).glimpse(transcript(Completion.OPEN))
    assert ended_after_s(begun) == pytest.approx(max(OPEN_S, pause_s))


@pytest.mark.parametrize("found", [None, transcript(text="", end_prob=0.0)])
def test_a_pause_after_nothing_that_was_understood_is_the_usual_one(
    found: Transcript | None,
) -> None:
    ear = Ear(Endpointing.EAGER, PAUSE_S).hear(loud(0.6)).glimpse(found)
    assert ended_after_s(ear) == pytest.approx(PAUSE_S)


def test_without_a_glimpse_the_usual_pause_ends_the_turn() -> None:
    assert ended_after_s(Ear(pause_s=PAUSE_S).hear(loud(0.6))) == pytest.approx(PAUSE_S)
    assert ended_after_s(Ear().hear(loud(0.6))) is None


def test_a_complete_phrase_ends_when_silence_was_held_back_for_long_enough() -> None:
    ear = Ear().hear(loud(0.6) + quiet(CHUNK_S)).glimpse(transcript(Completion.COMPLETE))
    assert ear.due_s == pytest.approx(COMPLETE_S)
    assert not ear.has_ended_after(COMPLETE_S - LATEST_S)
    assert ear.has_ended_after(COMPLETE_S)
    assert not ear.listener.has_ended()


def test_a_stall_of_the_network_after_speech_must_be_long_to_end_a_complete_phrase() -> None:
    ear = Ear().hear(loud(0.6)).glimpse(transcript(Completion.COMPLETE))
    assert ear.due_s == pytest.approx(CHUNK_S + STALL_S)
    assert not ear.has_ended_after(CHUNK_S + STALL_S - LATEST_S)
    assert ear.has_ended_after(CHUNK_S + STALL_S)


def test_a_device_with_long_chunks_is_not_ended_between_two_of_them() -> None:
    ear = Ear()
    ear.listener.push(loud(1.4) + quiet(0.1), ear.now)
    ear.glimpse(transcript(Completion.COMPLETE))
    assert ear.listener.deadline == inf
    assert not ear.has_ended_after(60.0)
    ear.now += 1.5
    ear.listener.push(quiet(COMPLETE_S), ear.now)
    assert ear.listener.has_ended()


@pytest.mark.parametrize("completion", [Completion.COMPLETE, Completion.OPEN])
def test_where_audio_may_be_missing_only_the_usual_pause_ends_the_turn(
    completion: Completion,
) -> None:
    for pause_s in (None, PAUSE_S):
        ear = Ear(Endpointing.EAGER, pause_s).hear(loud(0.6) + quiet(CHUNK_S))
        ear.listener.has_hole = True
        ear.glimpse(transcript(completion))
        assert not ear.has_ended_after(60.0)
        assert ended_after_s(ear) == (None if pause_s is None else pytest.approx(pause_s - CHUNK_S))


def test_speech_after_a_complete_phrase_takes_back_its_end() -> None:
    ear = Ear().hear(loud(0.6)).glimpse(transcript(Completion.COMPLETE)).hear(loud(0.3))
    assert not ear.has_ended_after(CHUNK_S + COMPLETE_S)
    assert ear.due_s == pytest.approx(CHUNK_S + GLIMPSE_S)


def test_when_nobody_speaks_the_turn_ends_after_the_time_that_was_asked_for() -> None:
    ear = Ear(pause_s=PAUSE_S, no_speech_s=NO_SPEECH_S).hear(quiet(NO_SPEECH_S - CHUNK_S))
    assert not ear.has_ended_after(60.0)
    assert ear.hear(quiet(CHUNK_S)).listener.has_ended()
    assert not Ear(pause_s=PAUSE_S).hear(quiet(60.0)).listener.has_ended()


def test_who_speaks_late_is_waited_for_as_if_he_had_begun_at_once() -> None:
    ear = Ear(pause_s=PAUSE_S, no_speech_s=NO_SPEECH_S).hear(quiet(7.8) + loud(0.6) + quiet(0.6))
    assert not ear.listener.has_ended()
    assert ended_after_s(ear) == pytest.approx(PAUSE_S - 0.6)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (transcript(), True),
        (transcript(end_prob=SURE_END), True),
        (transcript(end_prob=SURE_END - 0.01), False),
        (transcript(end_prob=0.0), False),
        (transcript(end_prob=float("nan")), False),
        (transcript(confidence=CONFIDENT), True),
        (transcript(confidence=CONFIDENT - 0.01), False),
        (transcript(confidence=float("nan")), False),
        (transcript(Completion.EXTENDABLE), False),
        (transcript(Completion.OPEN), False),
        (transcript(Completion.COMPLETE), True),
    ],
)
def test_a_sentence_is_confident_and_surely_has_an_end(said: Transcript, expected: bool) -> None:
    assert is_sentence(said) is expected


@dataclass(frozen=True)
class Hear:
    sound: bytes
    ms: int


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class Find:
    """The glimpse that runs ends."""

    completion: Completion


@dataclass(frozen=True)
class Load:
    """From now on glimpses can be taken or not."""

    is_high: bool


Move = Hear | Wait | Find | Load
MOVES = st.lists(
    st.builds(Hear, st.sampled_from([b"\0", b"\1"]), st.integers(1, 1200))
    | st.builds(Wait, st.integers(0, 400))
    | st.builds(Find, st.sampled_from(Completion))
    | st.builds(Load, st.booleans()),
    max_size=30,
)


def moved(listener: Listener, moves: list[Move]) -> Iterator[float]:
    """Do what a device, a clock and the threads do. Yields the time after each move."""
    now, is_running, is_loaded = START, False, False
    for move in moves:
        match move:
            case Hear(sound, ms):
                listener.push(sound * (BYTES_PER_S // 1000 * ms), now)
            case Wait(ms):
                now += ms / 1000
            case Find(completion) if is_running:
                is_running = False
                listener.end_glimpse(transcript(completion))
            case Load(is_high):
                is_loaded = is_high
        if listener.wants_glimpse(now):
            assert not is_running
            is_running = not is_loaded
            if is_running:
                listener.begin_glimpse()
            else:
                listener.skip_glimpse()
        yield now


@given(MOVES, st.sampled_from(Endpointing), st.sampled_from([None, 0.1, PAUSE_S]))
def test_what_is_due_can_be_done_so_nobody_waits_for_a_time_that_has_passed(
    moves: list[Move], endpointing: Endpointing, pause_s: float | None
) -> None:
    listener = Listener(TurnEnd(endpointing, pause_s))
    for now in moved(listener, moves):
        deadline = listener.deadline
        assert deadline > now or listener.has_ended(now)
        if deadline < inf:
            at = max(deadline, now)
            assert listener.has_ended(at) or listener.wants_glimpse(at)


def test_the_voice_detector_tells_silence_from_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    ear = Ear().hear(WORDS)
    assert not ear.listener.wants_glimpse(ear.now)
    ear.hear(quiet(0.21))
    assert ear.listener.wants_glimpse(ear.now)
    ear.glimpse(transcript(Completion.COMPLETE)).hear(quiet(0.12))
    assert ear.listener.has_ended()
