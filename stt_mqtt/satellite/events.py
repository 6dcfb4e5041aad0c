"""What travels inside the satellite, from the microphone to the wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stt_mqtt.audio.activity import FRAME_MS, FRAME_SAMPLES

FRAME_BYTES = 2 * FRAME_SAMPLES
"""One frame: 30 ms of 16-bit little-endian mono samples at 16 kHz."""
FRAME_S = FRAME_MS / 1000


class ListenState(StrEnum):
    """Whether an utterance may begin."""

    DEAF = "deaf"
    """Muted, or a sound plays: nothing of this is kept."""
    WAITING = "waiting"
    """Waits for a wake-up: the pre-roll is kept, nothing begins."""
    OPEN = "open"
    """An utterance begins with speech and ends with a pause."""
    HELD = "held"
    """As long as the button is pressed: a pause does not end it."""


class Closing(StrEnum):
    """Why an utterance ended at the satellite."""

    PAUSE = "pause"
    CAP = "cap"
    RELEASED = "released"
    """The button, or the end of the recording."""
    DEAFENED = "deafened"
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
class Step:
    """What a frame leads to, in this order: a start mark, audio, an end mark."""

    opened_at: float | None = None
    """When the first sample was spoken, if an utterance begins; in seconds of the audio clock."""
    frames: tuple[bytes, ...] = ()
    closed: Closing | None = None
