"""Whether somebody speaks, frame by frame, as it is heard at the edge.

A frame counts as speech when the detector takes it for a voice and its level, in the band of
voices, is far enough above the noise of the room: the detector alone takes loud noise for a voice,
the level alone a slammed door. Two thresholds make it hard to begin and easy to go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import webrtcvad

from stt_mqtt.audio.levels import NoiseFloor, band_power_db
from stt_mqtt.config import VadConfig
from stt_mqtt.types import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Activity:
    """What one frame sounds like; levels in dB below a full-scale sine."""

    level_dbfs: float
    floor_dbfs: float
    """Level of the room."""
    voiced: bool
    """Whether the detector takes it for a voice."""
    begins: bool
    """Clear enough for an utterance to begin."""
    goes_on: bool
    """Clear enough for one to go on."""
    sounds: bool
    """Louder than the room, whether a voice or not."""


class VoiceActivity:
    """Judges frames of 30 ms, one after the other."""

    def __init__(self, config: VadConfig) -> None:
        self._config = config
        self._detector = webrtcvad.Vad(config.aggressiveness)
        self._floor = NoiseFloor()

    def hear(self, frame: bytes) -> Activity:
        """Judge the next `FRAME_SAMPLES` of 16-bit little-endian mono at `SAMPLE_RATE`."""
        level_dbfs = band_power_db(frame)
        floor_dbfs = self._floor.push(level_dbfs)
        voiced = self._detector.is_speech(frame, SAMPLE_RATE)
        above_db = level_dbfs - floor_dbfs
        return Activity(
            level_dbfs,
            floor_dbfs,
            voiced,
            begins=voiced and above_db >= self._config.begin_db,
            goes_on=voiced and above_db >= self._config.go_on_db,
            sounds=above_db >= self._config.go_on_db,
        )
