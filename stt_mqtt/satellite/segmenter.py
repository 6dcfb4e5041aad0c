"""Where utterances begin and end: a state machine over frames, whose clock is that of the audio.

An utterance begins when enough of the last half second was speech, with what was heard shortly
before it, and ends with a pause. Most of that pause is never sent: it is held back until speech
goes on, and what is left of it becomes what was heard before the next utterance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from stt_mqtt.audio.activity import FRAME_MS, FRAME_SAMPLES
from stt_mqtt.config import VadConfig

FRAME_BYTES = 2 * FRAME_SAMPLES
"""One frame: 30 ms of 16-bit little-endian mono samples at 16 kHz."""
FRAME_S = FRAME_MS / 1000
BURST_S = 0.5
"""Time in which enough must be speech for an utterance to begin."""
TAIL_S = 0.2
"""What is sent of a pause before it is known to be the end: the last sound fades away in it."""
ONSET_S = 0.4
"""How far the soft beginning of a word may lie before the first clear sound of it."""
GAP_S = 0.09
"""Silence within that beginning, as between a lip and the voice."""
ENDING_S = 0.4
"""How long a word may go on behind its last clear sound: hissing and plosives are no voice."""
CLOSURE_S = 0.12
"""Silence within that ending, as before a final plosive."""
RUN = 2
"""Frames of speech in a row that prolong an utterance: a click in the pause is no speech."""

_HALF = FRAME_S / 2


class ListenState(StrEnum):
    """Whether an utterance may begin."""

    OFF = "off"
    """Muted, or a sound plays: nothing of this is kept."""
    WAITING = "waiting"
    """Waits for a wake-up: the pre-roll is kept, nothing begins."""
    ACTIVE = "active"
    """An utterance begins with speech and ends with a pause."""
    HELD = "held"
    """As long as the button is pressed: a pause does not end it."""

    @property
    def may_begin(self) -> bool:
        """Whether speech begins an utterance."""
        return self in {ListenState.ACTIVE, ListenState.HELD}


class CloseReason(StrEnum):
    """Why an utterance ended at the satellite."""

    PAUSE = "pause"
    CAP = "cap"
    RELEASED = "released"
    """The button, or the end of the recording."""
    PLAYING = "playing"
    """A sound begins to play."""
    MUTED = "muted"
    """Somebody does not want to be heard: it is taken back."""
    SLEPT = "slept"
    """The machine slept in it: it is taken back."""


@dataclass(frozen=True, slots=True)
class VadFrame:
    """A frame and what the voice detector makes of it."""

    pcm: bytes
    at: float
    """When its first sample was spoken, in seconds of the audio clock."""
    begins: bool
    """Loud and clear enough for an utterance to begin."""
    goes_on: bool
    """Loud and clear enough for one to go on."""
    sounds: bool
    """Louder than the room, voice or not: it may be the soft beginning of a word."""


@dataclass(frozen=True, slots=True)
class SegmenterOutput:
    """What a frame leads to, in this order: a start mark, audio, an end mark."""

    opened_at: float | None = None
    """When the first sample was spoken, if an utterance begins; in seconds of the audio clock."""
    frames: tuple[bytes, ...] = ()
    closed: CloseReason | None = None


_NOTHING = SegmenterOutput()


class Segmenter:
    """Cuts the frames of one microphone into utterances."""

    def __init__(self, config: VadConfig) -> None:
        self._min_speech = -(-config.min_speech_ms // round(FRAME_S * 1000))
        self._pre_roll_s = config.pre_roll_ms / 1000
        self._hangover_s = config.hangover_ms / 1000
        self._max_s = config.max_utterance_s
        self._state = ListenState.OFF
        self._before: deque[VadFrame] = deque()
        """What was heard last and not sent."""
        self._begins_from = 0.0
        """Earlier frames do not make an utterance begin: they are of the wake word."""
        self._opened_at: float | None = None
        self._speech_end = 0.0
        self._word_end = 0.0
        """End of the last sound that belongs to the speech, whether it is a voice or not."""
        self._run = 0
        self._held: list[VadFrame] = []
        """The pause so far, without what of it was sent."""

    @property
    def speaking(self) -> bool:
        """Whether an utterance is open."""
        return self._opened_at is not None

    def push(self, frame: VadFrame, state: ListenState) -> SegmenterOutput:
        """Take the next frame, heard in `state`."""
        if self._state is not state:
            if state.may_begin and not self._state.may_begin:
                self._begins_from = frame.at
            self._state = state
        if self._opened_at is not None:
            return self._go_on(frame, self._opened_at)
        if state is ListenState.OFF:
            self._before.clear()
            return _NOTHING
        self._before.append(frame)
        self._forget(frame.at)
        if state is ListenState.WAITING or not self._has_begun():
            return _NOTHING
        return self._open(frame)

    def cut(self, reason: CloseReason) -> SegmenterOutput:
        """End the utterance that is open, if one is."""
        return _NOTHING if self._opened_at is None else self._close((), reason)

    def forget(self) -> None:
        """Forget what was heard before; what comes next does not follow it."""
        self._before.clear()

    def _forget(self, now: float) -> None:
        """Keep what a beginning would need; a wake-up needs no more than the pre-roll."""
        kept_s = self._pre_roll_s + (
            0.0 if self._state is ListenState.WAITING else BURST_S + ONSET_S
        )
        while now - self._before[0].at > kept_s + _HALF:
            self._before.popleft()

    def _burst(self, now: float) -> Iterable[VadFrame]:
        """Frames of the last half second that begin an utterance."""
        return (
            frame
            for frame in self._before
            if frame.begins
            and now - frame.at < BURST_S - _HALF
            and frame.at >= self._begins_from - _HALF
        )

    def _has_begun(self) -> bool:
        last = self._before[-1]
        return last.begins and sum(1 for _ in self._burst(last.at)) >= self._min_speech

    def _open(self, frame: VadFrame) -> SegmenterOutput:
        onset = self._onset(next(iter(self._burst(frame.at))).at)
        while onset - self._before[0].at > self._pre_roll_s + _HALF:
            self._before.popleft()
        frames = tuple(self._before)
        self._before.clear()
        self._opened_at = frames[0].at
        self._speech_end = self._word_end = frame.at + FRAME_S
        self._run = 0
        return SegmenterOutput(self._opened_at, tuple(heard.pcm for heard in frames))

    def _onset(self, clear_at: float) -> float:
        """When the word began whose first clear frame was at `clear_at`."""
        onset = clear_at
        for frame in reversed(self._before):
            if frame.at >= onset:
                continue
            if onset - frame.at > GAP_S + _HALF or clear_at - frame.at > ONSET_S + _HALF:
                break
            if frame.sounds:
                onset = frame.at
        return onset

    def _go_on(self, frame: VadFrame, opened_at: float) -> SegmenterOutput:
        end = frame.at + FRAME_S
        self._run = self._run + 1 if frame.goes_on else 0
        if self._run >= RUN:
            self._speech_end = end
        if self._run >= RUN or self._ends_a_word(frame):
            self._word_end = end
        self._held.append(frame)
        ready: tuple[bytes, ...] = ()
        if self._word_end == end or end - self._speech_end < TAIL_S + _HALF:
            ready = tuple(held.pcm for held in self._held)
            self._held.clear()
        if end + FRAME_S - opened_at > self._max_s + _HALF / 2:
            return self._close(ready, CloseReason.CAP)
        pause_s = end - self._speech_end
        if (
            self._state is not ListenState.HELD
            and not self._run
            and pause_s > self._hangover_s - _HALF
        ):
            return self._close(ready, CloseReason.PAUSE)
        return SegmenterOutput(None, ready)

    def _ends_a_word(self, frame: VadFrame) -> bool:
        """Whether this is the sound of a consonant behind the last clear sound."""
        return (
            frame.sounds
            and frame.at - self._word_end < CLOSURE_S + _HALF
            and frame.at - self._speech_end < ENDING_S - _HALF
        )

    def _close(self, frames: tuple[bytes, ...], reason: CloseReason) -> SegmenterOutput:
        self._opened_at = None
        self._before.extend(self._held)
        self._held.clear()
        return SegmenterOutput(None, frames, reason)
