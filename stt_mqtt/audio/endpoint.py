"""Measures speech and silence in live audio.

A frame counts as speech if the voice detector reports a voice and its power in the voice band is
clearly above the noise floor. The detector alone reports a voice in loud noise, and the power alone
reacts to a slammed door. The floor is a low quantile of the last seconds: it rises within seconds
and falls at once. Frames in memory are compared with the current floor, so speech that begins in
the first frame is distinguished from noise at the first pause.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

import webrtcvad

from stt_mqtt.audio.activity import (
    FRAME_MS,
    FRAME_SAMPLES,
    LOWEST_FLOOR_DBFS,
    band_power_db,
)
from stt_mqtt.audio.pcm import s16le
from stt_mqtt.types import SAMPLE_RATE, Samples

MIN_SPEECH_MS = 180
"""Least speech within a second that begins a command."""
AGGRESSIVENESS = 2
"""Mode of webrtcvad, from 0 (most voices) to 3 (fewest)."""

_FRAME_BYTES = 2 * FRAME_SAMPLES
_MEMORY = 100
"""Frames in memory, 3 s: enough to contain gaps between the words of a fast speaker."""
_FLOOR_SHARE = 10
"""One tenth of the frames is below the floor, so a few lost packets do not lower it."""
_BURST = 33
"""Frames in which enough speech begins a command, 1 s."""
_BEGIN_DB = 9.0
"""How far above the floor speech begins. A false beginning would cut off a late speaker."""
_SOUND_DB = 6.0
"""How far above the floor an unvoiced sound is."""
_ENDING_FRAMES = 13
"""Longest unvoiced ending of a word after its last voiced frame."""
_ENDING_GAP = 4
"""Longest silence within that ending, as before a final plosive."""
_GO_ON_DB = 5.0
"""How far above the floor speech continues once it has begun."""
SETTLED_MS = 120
"""Silence after which the end of speech is settled."""
_SAME_END_MS = 60
"""A settled end that moves by no more stays where it is: only the noise floor has changed."""


class SpeechMeter:
    """Measures whether a command has begun and how long it has been silent since.

    It works on frames of `FRAME_MS`, so all times are multiples of that.
    """

    __slots__ = (
        "_detector",
        "_forgotten_end",
        "_frames",
        "_powers",
        "_rest",
        "_settled_ms",
        "_sorted",
        "_sound_end",
        "_voiced",
        "spoke",
    )

    def __init__(self) -> None:
        self._detector = webrtcvad.Vad(AGGRESSIVENESS)
        self._rest = b""
        self._powers: deque[float] = deque()
        """Powers of the frames in memory, in dBFS."""
        self._sorted: list[float] = []
        """The same, sorted."""
        self._voiced: deque[tuple[int, float]] = deque()
        """Number and power of the frames in memory in which the detector reports a voice."""
        self._frames = 0
        self._forgotten_end = 0
        """Number after the last frame of speech that is no longer in memory."""
        self._sound_end = 0
        """Number after the last frame of a word, voiced or not."""
        self._settled_ms = 0
        """The last end of speech that was followed by `SETTLED_MS` of silence."""
        self.spoke = False
        """Whether a command has begun."""

    @property
    def heard_ms(self) -> int:
        """Length of the audio that was measured."""
        return self._frames * FRAME_MS

    @property
    def speech_end_ms(self) -> int:
        """When the last sound of speech ended; only if a command has begun.

        It depends on no audio that follows a settled end, unless the speaker goes on.
        """
        end_ms = self._sound_end * FRAME_MS
        return self._settled_ms if end_ms - self._settled_ms <= _SAME_END_MS else end_ms

    @property
    def silence_ms(self) -> int:
        """Audio since the last sound of speech; 0 before a command has begun."""
        return self.heard_ms - self.speech_end_ms if self.spoke else 0

    def push(self, pcm: bytes) -> None:
        """Measure 16-bit little-endian mono samples at `SAMPLE_RATE`. They may be split anywhere.

        An incomplete frame is held back.
        """
        data = self._rest + pcm
        whole = len(data) // _FRAME_BYTES * _FRAME_BYTES
        self._rest = data[whole:]
        for at in range(0, whole, _FRAME_BYTES):
            self._measure(data[at : at + _FRAME_BYTES])

    def _measure(self, frame: bytes) -> None:
        if len(self._powers) == _MEMORY:
            self._forget_oldest()
        power_db = band_power_db(frame)
        self._powers.append(power_db)
        insort(self._sorted, power_db)
        if self._detector.is_speech(frame, SAMPLE_RATE):
            self._voiced.append((self._frames, power_db))
        self._frames += 1
        floor_db = self._floor_db
        self.spoke = self.spoke or self._has_begun(floor_db + _BEGIN_DB)
        if self.spoke:
            speech_end = self._end_of_speech(floor_db + _GO_ON_DB)
            ends_word = (
                power_db >= floor_db + _SOUND_DB
                and self._frames - speech_end <= _ENDING_FRAMES
                and self._frames - self._sound_end <= _ENDING_GAP
            )
            self._sound_end = max(speech_end, self._frames if ends_word else self._sound_end)
            if self.silence_ms >= SETTLED_MS:
                self._settled_ms = self.speech_end_ms

    def _forget_oldest(self) -> None:
        threshold_db = self._floor_db + _GO_ON_DB
        oldest = self._frames - _MEMORY
        if self._voiced and self._voiced[0][0] == oldest:
            _, power_db = self._voiced.popleft()
            number, next_db = self._voiced[0] if self._voiced else (0, 0.0)
            if number == oldest + 1 and min(power_db, next_db) >= threshold_db:
                self._forgotten_end = oldest + 2
        del self._sorted[bisect_left(self._sorted, self._powers.popleft())]

    @property
    def _floor_db(self) -> float:
        return max(self._sorted[len(self._sorted) // _FLOOR_SHARE], LOWEST_FLOOR_DBFS)

    def _has_begun(self, threshold_db: float) -> bool:
        earliest, needed = self._frames - _BURST, MIN_SPEECH_MS
        if len(self._voiced) * FRAME_MS < needed:
            return False
        for number, power_db in reversed(self._voiced):
            if number < earliest or needed <= 0:
                break
            if power_db >= threshold_db:
                needed -= FRAME_MS
        return needed <= 0

    def _end_of_speech(self, threshold_db: float) -> int:
        """Number after the last frame of speech.

        Two consecutive frames prolong a command. A click in a pause does not.
        """
        following = -1
        for number, power_db in reversed(self._voiced):
            if power_db >= threshold_db:
                if number + 1 == following:
                    return following + 1
                following = number
        return self._forgotten_end


def end_of_speech(samples: Samples) -> int | None:
    """The number of samples up to the last sound of speech. None: there is no speech."""
    meter = SpeechMeter()
    meter.push(s16le(samples))
    if not meter.spoke:
        return None
    return meter.speech_end_ms * SAMPLE_RATE // 1000
