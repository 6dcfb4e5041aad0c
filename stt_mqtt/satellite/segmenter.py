"""Endpointing: a state machine that cuts frames into utterances. Its clock counts audio.

An utterance begins when enough of the last half second was speech. It includes a pre-roll. It ends
after a pause, the hangover. Most of that pause is never sent: it is held back, and sent only if
speech goes on. Otherwise it becomes the pre-roll of the next utterance. The service may end the
utterance before the hangover, or prolong one pause: it knows whether the words are a whole command.
While a button is held, pauses are sent as they come.
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
BEGIN_WINDOW_S = 0.5
"""Length of the window in which `min_speech_ms` of speech begin an utterance."""
CHUNK_FRAMES = 8
"""Frames that are sent together, 240 ms: a message costs 30 bytes whatever is in it."""
PROMPT_S = 0.09
"""After so much silence each frame is sent at once: the service waits for the end of the turn."""
SILENCE_S = 0.12
"""Shortest silence in which the service may have ended an utterance."""
OPEN_HANGOVER_S = 1.5
"""Shortest pause that ends an utterance after what the service heard as an open phrase."""
TAIL_S = 0.2
"""The part of a pause that is always sent: the last sound fades away in it."""
ONSET_S = 0.4
"""Longest soft beginning of a word before its first voiced frame."""
ONSET_GAP_S = 0.09
"""Longest silence within that beginning, as between a plosive and the voice."""
ENDING_S = 0.4
"""Longest ending of a word after its last voiced frame: fricatives and plosives are unvoiced."""
ENDING_GAP_S = 0.12
"""Longest silence within that ending, as before a final plosive."""
RESUMED_FRAMES = 33
"""Speech after a silence, 1 s, that the service may not have heard when it ends an utterance."""
MIN_RUN_FRAMES = 2
"""Frames of speech in a row that prolong an utterance. One alone may be a click."""

_HALF = FRAME_S / 2


class ListenState(StrEnum):
    """Whether an utterance may begin."""

    OFF = "off"
    """Muted, or the satellite plays a sound: frames are discarded."""
    WAITING = "waiting"
    """Waiting for a wake-up: the pre-roll is kept, but no utterance begins."""
    ACTIVE = "active"
    """An utterance begins with speech and ends with a pause."""
    HELD = "held"
    """The button is pressed: as `ACTIVE`, but a pause does not end the utterance, and is sent."""

    @property
    def may_begin(self) -> bool:
        """Whether speech begins an utterance."""
        return self in {ListenState.ACTIVE, ListenState.HELD}


class CloseReason(StrEnum):
    """Why an utterance ended at the satellite."""

    PAUSE = "pause"
    CAP = "cap"
    RELEASED = "released"
    """The button was released, or the source has ended."""
    PLAYING = "playing"
    """The satellite begins to play a sound."""
    MUTED = "muted"
    """The satellite was muted: the utterance is aborted."""
    ENDED = "ended"
    """The service has ended it: the words are complete."""
    SLEPT = "slept"
    """The machine slept during the utterance: it is aborted."""


@dataclass(frozen=True, slots=True)
class VadFrame:
    """A frame, and the decisions of the voice detector."""

    pcm: bytes
    at: float
    """Time of its first sample, in seconds of the audio clock."""
    begins: bool
    """Loud and clear enough for an utterance to begin."""
    goes_on: bool
    """Loud and clear enough for an utterance to go on."""
    sounds: bool
    """Louder than the room, voiced or not: it may be the soft beginning of a word."""


@dataclass(frozen=True, slots=True)
class SegmenterOutput:
    """What follows from a frame, in this order: a start, audio, an end."""

    opened_at: float | None = None
    """Time of the first sample if an utterance begins, in seconds of the audio clock."""
    frames: tuple[bytes, ...] = ()
    closed: CloseReason | None = None
    flush: bool = False
    """Whether to send now all frames that are not sent yet: it is silent."""


_NOTHING = SegmenterOutput()


class Segmenter:
    """Cuts the frames of one microphone into utterances."""

    def __init__(self, config: VadConfig) -> None:
        self._min_speech = -(-config.min_speech_ms // round(FRAME_S * 1000))
        self._pre_roll_s = config.pre_roll_ms / 1000
        self._hangover_s = config.hangover_ms / 1000
        self._max_s = config.max_utterance_s
        self._state = ListenState.OFF
        self._pre_roll: deque[VadFrame] = deque()
        """The newest frames that were not sent."""
        self._may_begin_from = 0.0
        """Earlier frames do not begin an utterance: they belong to the wake word."""
        self._opened_at: float | None = None
        self._speech_end = 0.0
        self._word_end = 0.0
        """End of the last sound that belongs to the speech, voiced or not."""
        self._run = 0
        self._is_open_phrase = False
        """Whether the service heard the beginning of a phrase before this pause."""
        self._pause: list[VadFrame] = []
        """The pause so far, without the part that was sent."""
        self._newest: deque[VadFrame] = deque(maxlen=RESUMED_FRAMES)
        """The newest frames of the utterance since its last silence, without those of `_pause`."""
        self._has_resumed = False
        """Whether `_newest` goes back to a silence."""

    @property
    def speaking(self) -> bool:
        """Whether an utterance is open."""
        return self._opened_at is not None

    def push(self, frame: VadFrame, state: ListenState) -> SegmenterOutput:
        """Process the next frame, whose listen state is `state`."""
        if self._state is not state:
            if state.may_begin and not self._state.may_begin:
                self._may_begin_from = frame.at
            self._state = state
        if self._opened_at is not None:
            return self._go_on(frame, self._opened_at)
        if state is ListenState.OFF:
            self._pre_roll.clear()
            return _NOTHING
        self._pre_roll.append(frame)
        self._forget(frame.at)
        if state is ListenState.WAITING or not self._has_begun():
            return _NOTHING
        return self._open(frame)

    def cut(self, reason: CloseReason) -> SegmenterOutput:
        """End the open utterance, if there is one."""
        return _NOTHING if self._opened_at is None else self._close((), reason)

    def end_by_service(self, unsent: int) -> SegmenterOutput:
        """End the open utterance, if there is one, because the service has ended it.

        It ended in a silence. What follows the last silence becomes pre-roll, because it may be
        the first word of another utterance. Without a silence in the last second, only the newest
        frames do that were not sent, `unsent` of them, at most `CHUNK_FRAMES`.
        """
        if self._opened_at is None:
            return _NOTHING
        count = len(self._newest) if self._has_resumed else unsent
        self._pre_roll.extend(list(self._newest)[len(self._newest) - count :])
        return self._close((), CloseReason.ENDED)

    def expect_more(self) -> None:
        """The service heard the beginning of a phrase: this pause may last for `OPEN_HANGOVER_S`.

        Does nothing if no utterance is open, or if somebody speaks: it is about an earlier pause.
        """
        self._is_open_phrase = self._run < MIN_RUN_FRAMES

    def forget(self) -> None:
        """Discard the pre-roll: the next frame does not follow the last one."""
        self._pre_roll.clear()

    def _forget(self, now: float) -> None:
        """Discard frames that no utterance would begin with."""
        kept_s = self._pre_roll_s + (
            0.0 if self._state is ListenState.WAITING else BEGIN_WINDOW_S + ONSET_S
        )
        while now - self._pre_roll[0].at > kept_s + _HALF:
            self._pre_roll.popleft()

    def _begin_frames(self, now: float) -> Iterable[VadFrame]:
        """Frames of the last half second that count for a beginning."""
        return (
            frame
            for frame in self._pre_roll
            if frame.begins
            and now - frame.at < BEGIN_WINDOW_S - _HALF
            and frame.at >= self._may_begin_from - _HALF
        )

    def _has_begun(self) -> bool:
        last = self._pre_roll[-1]
        return last.begins and sum(1 for _ in self._begin_frames(last.at)) >= self._min_speech

    def _open(self, frame: VadFrame) -> SegmenterOutput:
        onset = self._onset(next(iter(self._begin_frames(frame.at))).at)
        while onset - self._pre_roll[0].at > self._pre_roll_s + _HALF:
            self._pre_roll.popleft()
        frames = tuple(self._pre_roll)
        self._newest.extend(frames)
        self._has_resumed = False
        self._pre_roll.clear()
        self._opened_at = frames[0].at
        self._speech_end = self._word_end = frame.at + FRAME_S
        self._run = 0
        self._is_open_phrase = False
        return SegmenterOutput(self._opened_at, tuple(frame.pcm for frame in frames))

    def _onset(self, clear_at: float) -> float:
        """When the word began whose first voiced frame was at `clear_at`."""
        onset = clear_at
        for frame in reversed(self._pre_roll):
            if frame.at >= onset:
                continue
            if onset - frame.at > ONSET_GAP_S + _HALF or clear_at - frame.at > ONSET_S + _HALF:
                break
            if frame.sounds:
                onset = frame.at
        return onset

    def _go_on(self, frame: VadFrame, opened_at: float) -> SegmenterOutput:
        end = frame.at + FRAME_S
        self._run = self._run + 1 if frame.goes_on else 0
        if self._run >= MIN_RUN_FRAMES:
            self._speech_end = end
            self._is_open_phrase = False
        if self._run >= MIN_RUN_FRAMES or self._ends_a_word(frame):
            self._word_end = end
        self._pause.append(frame)
        pause_s = end - self._speech_end
        if pause_s > SILENCE_S - _HALF:
            self._newest.clear()
            self._has_resumed = True
        elif len(self._newest) == RESUMED_FRAMES:
            self._has_resumed = False
        ready: tuple[bytes, ...] = ()
        is_tail = pause_s < TAIL_S + _HALF
        # Of a button that is held in silence, the service has to hear, or it ends the utterance.
        if self._word_end == end or is_tail or self._state is ListenState.HELD:
            ready = tuple(held.pcm for held in self._pause)
            self._newest.extend(self._pause)
            self._pause.clear()
        if end + FRAME_S - opened_at > self._max_s + _HALF / 2:
            return self._close(ready, CloseReason.CAP)
        if (
            self._state is not ListenState.HELD
            and not self._run
            and pause_s > self._patience_s - _HALF
        ):
            return self._close(ready, CloseReason.PAUSE)
        is_silent = end - self._word_end > PROMPT_S - _HALF
        return SegmenterOutput(None, ready, flush=(is_silent and is_tail) or not ready)

    @property
    def _patience_s(self) -> float:
        """The pause that ends the utterance."""
        if self._is_open_phrase:
            return max(OPEN_HANGOVER_S, self._hangover_s)
        return self._hangover_s

    def _ends_a_word(self, frame: VadFrame) -> bool:
        """Whether this is an unvoiced sound at the end of a word."""
        return (
            frame.sounds
            and frame.at - self._word_end < ENDING_GAP_S + _HALF
            and frame.at - self._speech_end < ENDING_S - _HALF
        )

    def _close(self, frames: tuple[bytes, ...], reason: CloseReason) -> SegmenterOutput:
        self._opened_at = None
        self._pre_roll.extend(self._pause)
        self._pause.clear()
        return SegmenterOutput(None, frames, reason)
