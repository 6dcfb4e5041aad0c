"""Where utterances begin and end: a state machine over frames, whose clock is that of the audio.

An utterance begins when enough of the last half second was speech, with what was heard shortly
before it, and ends with a pause. Most of that pause is never sent: it is held back until speech
goes on, and what is left of it becomes what was heard before the next utterance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from stt_mqtt.config import VadConfig
from stt_mqtt.satellite.events import FRAME_S, Closing, ListenState, Step, VadFrame

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

_NOTHING = Step()
_HALF = FRAME_S / 2


class Segmenter:
    """Cuts the frames of one microphone into utterances."""

    def __init__(self, config: VadConfig) -> None:
        self._min_speech = -(-config.min_speech_ms // round(FRAME_S * 1000))
        self._pre_roll_s = config.pre_roll_ms / 1000
        self._hangover_s = config.hangover_ms / 1000
        self._max_s = config.max_utterance_s
        self._ear = ListenState.DEAF
        self._before: deque[VadFrame] = deque()
        """What was heard last and not sent."""
        self._heeded_from = 0.0
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

    def push(self, frame: VadFrame, ear: ListenState) -> Step:
        """Take the next frame, heard with `ear`."""
        if self._ear is not ear:
            if ear in {ListenState.OPEN, ListenState.HELD} and self._ear not in {
                ListenState.OPEN,
                ListenState.HELD,
            }:
                self._heeded_from = frame.at
            self._ear = ear
        if self._opened_at is not None:
            return self._go_on(frame, self._opened_at)
        if ear is ListenState.DEAF:
            self._before.clear()
            return _NOTHING
        self._before.append(frame)
        self._forget(frame.at)
        if ear is ListenState.WAITING or not self._has_begun():
            return _NOTHING
        return self._open(frame)

    def cut(self, closing: Closing) -> Step:
        """End the utterance that is open, if one is."""
        return _NOTHING if self._opened_at is None else self._close((), closing)

    def forget(self) -> None:
        """Forget what was heard before; what comes next does not follow it."""
        self._before.clear()

    def _forget(self, now: float) -> None:
        """Keep what a beginning would need; a wake-up needs no more than the pre-roll."""
        kept_s = self._pre_roll_s + (0.0 if self._ear is ListenState.WAITING else BURST_S + ONSET_S)
        while now - self._before[0].at > kept_s + _HALF:
            self._before.popleft()

    def _burst(self, now: float) -> Iterable[VadFrame]:
        """Frames of the last half second that begin an utterance."""
        return (
            frame
            for frame in self._before
            if frame.begins
            and now - frame.at < BURST_S - _HALF
            and frame.at >= self._heeded_from - _HALF
        )

    def _has_begun(self) -> bool:
        last = self._before[-1]
        return last.begins and sum(1 for _ in self._burst(last.at)) >= self._min_speech

    def _open(self, frame: VadFrame) -> Step:
        onset = self._onset(next(iter(self._burst(frame.at))).at)
        while onset - self._before[0].at > self._pre_roll_s + _HALF:
            self._before.popleft()
        frames = tuple(self._before)
        self._before.clear()
        self._opened_at = frames[0].at
        self._speech_end = self._word_end = frame.at + FRAME_S
        self._run = 0
        return Step(self._opened_at, tuple(heard.pcm for heard in frames))

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

    def _go_on(self, frame: VadFrame, opened_at: float) -> Step:
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
            return self._close(ready, Closing.CAP)
        pause_s = end - self._speech_end
        if (
            self._ear is not ListenState.HELD
            and not self._run
            and pause_s > self._hangover_s - _HALF
        ):
            return self._close(ready, Closing.PAUSE)
        return Step(None, ready)

    def _ends_a_word(self, frame: VadFrame) -> bool:
        """Whether this is the sound of a consonant behind the last clear sound."""
        return (
            frame.sounds
            and frame.at - self._word_end < CLOSURE_S + _HALF
            and frame.at - self._speech_end < ENDING_S - _HALF
        )

    def _close(self, frames: tuple[bytes, ...], closing: Closing) -> Step:
        self._opened_at = None
        self._before.extend(self._held)
        self._held.clear()
        return Step(None, frames, closing)
