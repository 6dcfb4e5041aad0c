"""Detects the end of a spoken command while it is being spoken.

A frame counts as speech when the voice detector takes it for a voice and its power in the voice
band is clearly above a noise floor. The detector alone takes loud noise for a voice, and the power
alone takes a slammed door for one. The floor is a low quantile of the last seconds: it follows the
room up within seconds and down at once. Remembered frames are judged again by the present floor, so
speech that begins in the first frame is told from noise at the first pause.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from math import inf

import webrtcvad

from stt_mqtt.audio.activity import (
    FRAME_MS,
    FRAME_SAMPLES,
    LOWEST_FLOOR_DBFS,
    band_power_db,
)
from stt_mqtt.types import SAMPLE_RATE

_FRAME_BYTES = 2 * FRAME_SAMPLES
_MEMORY = 100
"""Frames that are remembered, 3 s: enough for gaps between the words of a fast speaker."""
_FLOOR_SHARE = 10
"""One frame in so many is quieter than the floor: a few lost packets do not make it silent."""
_BURST = 33
"""Frames among which enough must be speech for it to have begun, 1 s."""
_RUN = 2
"""Frames of speech in a row that prolong it: a click in the pause is no speech."""
_BEGIN_DB = 9.0
"""How far above the floor speech begins; a false beginning would cut off a late speaker."""
_GO_ON_DB = 5.0
"""How far above the floor it goes on, once it has begun."""


class EndpointState(StrEnum):
    """The state of an `Endpointer`."""

    WAITING = "waiting"
    SPEAKING = "speaking"
    ENDED = "ended"
    NO_SPEECH = "no_speech"


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """When a command has begun and ended, in milliseconds."""

    pause_ms: int = 800
    """Pause after speech that ends it."""
    min_speech_ms: int = 180
    """Speech within a second, at least, for it to have begun."""
    no_speech_ms: int = 8000
    """Audio without speech after which nobody is waited for any more."""
    aggressiveness: int = 2
    """Mode of webrtcvad: 0 takes most for a voice, 3 takes least."""


@dataclass(frozen=True, slots=True)
class _Frame:
    number: int
    power_db: float
    voice_db: float
    """Its power where the detector hears a voice, else -inf."""


class Endpointer:
    """Listens to one command, frame by frame."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._detector = webrtcvad.Vad(config.aggressiveness)
        self._rest = b""
        self._recent: deque[_Frame] = deque()
        self._powers: list[float] = []
        """Of what is remembered, the weakest first."""
        self._frames = 0
        self._forgotten_end = 0
        """Number behind the last frame of speech that is not remembered any more."""
        self.state = EndpointState.WAITING

    def push(self, pcm: bytes) -> EndpointState:
        """Hear more 16-bit little-endian mono samples at `SAMPLE_RATE`; the state after them.

        `ENDED` and `NO_SPEECH` are final.
        """
        data = self._rest + pcm
        whole = len(data) // _FRAME_BYTES * _FRAME_BYTES
        self._rest = data[whole:]
        for at in range(0, whole, _FRAME_BYTES):
            if self.state in {EndpointState.ENDED, EndpointState.NO_SPEECH}:
                break
            self._process(data[at : at + _FRAME_BYTES])
        return self.state

    def _process(self, frame: bytes) -> None:
        self._remember(frame)
        config = self._config
        if self.state is EndpointState.WAITING and self._has_begun():
            self.state = EndpointState.SPEAKING
        if self.state is EndpointState.SPEAKING:
            pause = self._frames - self._end_of_speech()
            if pause * FRAME_MS >= config.pause_ms:
                self.state = EndpointState.ENDED
        elif self._frames * FRAME_MS >= config.no_speech_ms:
            self.state = EndpointState.NO_SPEECH

    def _remember(self, frame: bytes) -> None:
        if len(self._recent) == _MEMORY:
            threshold_db = self._floor_db + _GO_ON_DB
            oldest, following = self._recent.popleft(), self._recent[0]
            if min(oldest.voice_db, following.voice_db) >= threshold_db:
                self._forgotten_end = following.number + 1
            del self._powers[bisect_left(self._powers, oldest.power_db)]
        power_db = band_power_db(frame)
        voiced = self._detector.is_speech(frame, SAMPLE_RATE)
        self._recent.append(_Frame(self._frames, power_db, power_db if voiced else -inf))
        insort(self._powers, power_db)
        self._frames += 1

    @property
    def _floor_db(self) -> float:
        return max(self._powers[len(self._powers) // _FLOOR_SHARE], LOWEST_FLOOR_DBFS)

    def _has_begun(self) -> bool:
        threshold_db = self._floor_db + _BEGIN_DB
        recent = islice(reversed(self._recent), _BURST)
        count = sum(frame.voice_db >= threshold_db for frame in recent)
        return count * FRAME_MS >= self._config.min_speech_ms

    def _end_of_speech(self) -> int:
        """Number behind the last frame of speech."""
        threshold_db = self._floor_db + _GO_ON_DB
        run = 0
        for frame in reversed(self._recent):
            run = run + 1 if frame.voice_db >= threshold_db else 0
            if run == _RUN:
                return frame.number + run
        return self._forgotten_end
