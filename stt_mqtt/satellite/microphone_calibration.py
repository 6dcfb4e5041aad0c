"""Finds settings for a room from ten seconds of audio: five of quiet, five of speech.

Levels are those of the band of voices (`audio.levels`), after the high-pass and without automatic
gain. It has no clock and no microphone: frames of 30 ms in, a proposal out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from stt_mqtt.audio.activity import NoiseFloor
from stt_mqtt.config import CleanupConfig, VadConfig
from stt_mqtt.satellite.segmenter import FRAME_S

Voiced = tuple[bool, bool, bool, bool]
"""Whether webrtcvad takes a frame for voice, in its modes 0 to 3."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What the person is asked to do, and for how long."""

    request: str
    seconds: float


PHASES = (
    Phase("Please be quiet for 5 seconds: this is how the room sounds.", 5.0),
    Phase("Now say a sentence, from where you usually are, for 5 seconds.", 5.0),
)
_QUIET = round(PHASES[0].seconds / FRAME_S)
_ALL = _QUIET + round(PHASES[1].seconds / FRAME_S)
_SETTLING = round(1.0 / FRAME_S)
"""Frames at the start that are ignored: the sound card settles, the noise floor is unknown."""

_SPREAD_SHARE = 0.95
"""Share of the frames of a quiet room that its spread holds; single clicks begin nothing."""
_MARGIN_DB = 3.0
"""Distance between the liveliest noise of the room and the threshold."""
_LEAST_BEGIN_DB, _MOST_BEGIN_DB = 5.0, 20.0
_BELOW_SPEECH = 0.5
"""The threshold is at most so far up from the room to the speech: soft words are speech, too."""
_HYSTERESIS_DB = 4.0
_LEAST_GO_ON_DB = 3.0
_LEAST_KEPT = 0.8
"""Share of the speech that a stricter mode of webrtcvad must still take for a voice."""
_LEAST_SPEECH = round(0.5 / FRAME_S)
"""Frames of speech that make a sentence."""
_WEAK_SPEECH_DBFS = -48.0
"""Quieter speech is worth amplifying."""
_USUAL_SPEECH_DBFS = -25.0
_CLEAR_DB = 12.0
"""Speech closer to the noise of the room is recognized badly with any settings."""
_DEAD_DBFS = -75.0
"""No room and no microphone is as silent as this."""
_CLIPPED_FRAMES = 3
_MOST_GAIN_DB = 40.0
_DEFAULTS = VadConfig()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings for one room. Levels in dB below a full-scale sine, in the band of voices."""

    room_dbfs: float
    speech_dbfs: float | None
    """None: there was no speech."""
    begin_db: float
    go_on_db: float
    aggressiveness: int
    auto_gain: bool
    max_gain_db: float
    usable: bool
    """False: something is wrong that no setting mends."""
    findings: tuple[str, ...]
    """What is wrong and what to do, a sentence or two each."""

    @property
    def yaml(self) -> str:
        """The settings for the configuration file."""
        lines = [
            "satellite:",
            "  vad:",
            f"    aggressiveness: {self.aggressiveness}",
            f"    begin_db: {self.begin_db:g}",
            f"    go_on_db: {self.go_on_db:g}",
        ]
        if self.auto_gain:
            lines += ["  cleanup:", "    auto_gain: true", f"    max_gain_db: {self.max_gain_db:g}"]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Measurement:
    level_dbfs: float
    above_db: float
    """How far above the noise floor."""
    voiced: Voiced
    clipped: bool


class MicrophoneCalibration:
    """Measures the phases, frame by frame."""

    def __init__(self) -> None:
        self._floor = NoiseFloor()
        self._frames: list[_Measurement] = []
        self._room_dbfs = 0.0

    @property
    def phase(self) -> int | None:
        """Which of `PHASES` the next frame belongs to; None: all are over."""
        count = len(self._frames)
        return None if count >= _ALL else int(count >= _QUIET)

    def push(self, level_dbfs: float, voiced: Voiced, clipped: bool) -> None:
        """Measure the next frame. Frames after the last phase are ignored."""
        if self.phase is None:
            return
        floor_dbfs = self._floor.push(level_dbfs)
        if self.phase == 0:
            self._room_dbfs = floor_dbfs
        self._frames.append(_Measurement(level_dbfs, level_dbfs - floor_dbfs, voiced, clipped))

    def propose(self) -> Proposal:
        """The settings, from the frames so far."""
        quiet = self._frames[_SETTLING:_QUIET]
        spread_db = _quantile([frame.above_db for frame in quiet], _SPREAD_SHARE)
        # Above the floor of the quiet phase: later it may have risen to the speech.
        speech = [
            frame
            for frame in self._frames[_QUIET:]
            if frame.voiced[0] and frame.level_dbfs >= self._room_dbfs + spread_db + _MARGIN_DB
        ]
        speech_dbfs = None
        if len(speech) >= _LEAST_SPEECH:
            speech_dbfs = _quantile([frame.level_dbfs for frame in speech], 0.5)
        speech_db = None if speech_dbfs is None else speech_dbfs - self._room_dbfs
        begin_db = _begin_db(spread_db, speech_db)
        gain_db = 0.0 if speech_dbfs is None else float(round(_USUAL_SPEECH_DBFS - speech_dbfs))
        is_dead = max((frame.level_dbfs for frame in self._frames), default=-inf) < _DEAD_DBFS
        return Proposal(
            room_dbfs=self._room_dbfs,
            speech_dbfs=speech_dbfs,
            begin_db=begin_db,
            go_on_db=max(begin_db - _HYSTERESIS_DB, _LEAST_GO_ON_DB),
            aggressiveness=_aggressiveness(quiet, speech, begin_db),
            auto_gain=speech_dbfs is not None and speech_dbfs < _WEAK_SPEECH_DBFS,
            max_gain_db=min(max(gain_db, CleanupConfig().max_gain_db), _MOST_GAIN_DB),
            usable=not is_dead,
            findings=(_DEAD,) if is_dead else tuple(self._findings(quiet, speech_dbfs)),
        )

    def _findings(self, quiet: Sequence[_Measurement], speech_dbfs: float | None) -> Iterator[str]:
        if sum(frame.clipped for frame in self._frames) >= _CLIPPED_FRAMES:
            yield _CLIPS
        voices = sum(frame.voiced[3] and frame.above_db >= _DEFAULTS.begin_db for frame in quiet)
        if voices >= _LEAST_SPEECH:
            yield _NOT_QUIET
        if speech_dbfs is None:
            yield _NOBODY
            return
        if speech_dbfs - self._room_dbfs < _CLEAR_DB:
            yield _NOISY.format(speech_dbfs - self._room_dbfs)
        if speech_dbfs < _WEAK_SPEECH_DBFS:
            yield _WEAK.format(speech_dbfs)


_DEAD = (
    "The microphone gives only zeros. Check that it is not muted (alsamixer, F4) and that it is "
    "the right one (stt-mqtt satellite --list-devices)."
)
_CLIPS = (
    "The microphone is overdriven. Turn its recording level down (alsamixer, F4) or go farther "
    "away, then calibrate again."
)
_NOT_QUIET = (
    "There was a voice, or something like it, while it should have been quiet. Unless it is a "
    "television that always plays, calibrate again."
)
_NOBODY = (
    "Nobody was heard, so the settings are based on the noise of the room alone. Speak louder, or "
    "turn the recording level up (alsamixer, F4), and calibrate again."
)
_NOISY = (
    "Speech is only {:.0f} dB louder than the room. Put the microphone closer to the people who "
    "speak, or farther away from the noise."
)
_WEAK = (
    "Speech is quiet ({:.0f} dB). The proposed settings amplify it, but also the noise. A higher "
    "recording level is better (alsamixer, F4)."
)


def is_clipped(frame: bytes) -> bool:
    """Whether a frame of pcm_s16le, as the microphone gave it, was cut off at full scale."""
    samples = np.frombuffer(frame, "<i2")
    return int(np.count_nonzero((samples == 32767) | (samples == -32768))) >= 2


def _begin_db(spread_db: float, speech_db: float | None) -> float:
    """As usual; higher in a lively room, lower for who is hardly louder than the room."""
    begin_db = max(_DEFAULTS.begin_db, spread_db + _MARGIN_DB)
    if speech_db is not None:
        begin_db = min(begin_db, max(_BELOW_SPEECH * speech_db, spread_db))
    return round(2 * min(max(begin_db, _LEAST_BEGIN_DB), _MOST_BEGIN_DB)) / 2


def _aggressiveness(
    quiet: Sequence[_Measurement], speech: Sequence[_Measurement], begin_db: float
) -> int:
    """The mode with the fewest false frames that keeps the speech; the usual one among equals."""
    kept = [sum(frame.voiced[mode] for frame in speech) for mode in range(4)]
    false = [
        sum(frame.voiced[mode] and frame.above_db >= begin_db for frame in quiet)
        for mode in range(4)
    ]
    modes = [mode for mode in range(4) if kept[mode] >= _LEAST_KEPT * kept[0]]
    return min(modes, key=lambda mode: (false[mode], abs(mode - _DEFAULTS.aggressiveness)))


def _quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of `values` do not exceed; 0 of none."""
    return sorted(values)[round(share * (len(values) - 1))] if values else 0.0
