"""The calibration of a model: the window that each decode pass encodes, measured and kept as data.

Whisper's encoder reads 30 s. A calibrated model encodes only the speech and a little silence. The
encoder states of the silence in the rest are cached and appended. `calibration_search` finds the
numbers and the command `calibrate` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from stt_mqtt.engine.models import WEIGHTS, ResolvedModel, digest_of
from stt_mqtt.errors import ModelError

Floats: TypeAlias = npt.NDArray[np.float32]

SHIPPED = "calibrations.json"
OWN_FILE = "stt-mqtt-calibration.json"
"""A calibration beside the weights goes before the shipped one."""
WINDOW_S = 30.0
"""Audio that Whisper reads at once, in seconds."""
MAX_LEAD_S = 2.0
"""The longest piece of speech has 28 s, and nothing of it may be pushed out."""
MIN_WINDOW_S = 2.0
"""In a shorter window Whisper repeats itself."""

Seconds: TypeAlias = Annotated[float, Field(ge=0.0, le=WINDOW_S)]


@dataclass(frozen=True, slots=True)
class Window:
    """What one pass encodes, in seconds, and the cached silence behind it, in states of 20 ms.

    `lead_s` of silence comes before the speech and `pad_s` behind it; with the speech they are
    at least `min_s`. Of the states of silence that would follow in a full window the last
    `tail_states` are appended, of which only every `tail_stride`-th.
    """

    lead_s: Annotated[float, Field(ge=0.0, le=MAX_LEAD_S)]
    pad_s: Seconds
    min_s: Annotated[float, Field(ge=MIN_WINDOW_S, le=WINDOW_S)]
    tail_states: Annotated[int, Field(ge=0)]
    tail_stride: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """The numbers of one model: the windows of the first and the second pass, and thresholds.

    `silence_level` is the log-mel value of the cached silence. A `no_speech_prob` below
    `clear_no_speech_prob` means speech beyond doubt. English of at least `timestamps_from_s`,
    margins included, is decoded with timestamps in the first pass; None: never.
    """

    first: Window
    second: Window
    silence_level: Annotated[float, Field(ge=-2.0, le=2.0)]
    clear_no_speech_prob: Annotated[float, Field(ge=0.0, le=1.0)]
    timestamps_from_s: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Shipped:
    """A calibration that comes with the program, for exactly these weights."""

    model: str
    weights_bytes: int
    weights_sha256: str
    silence: str | None
    """File in the folder `silence` with its encoder states of silence; null: they are encoded."""
    measured: str
    """On which recordings, for readers."""
    calibration: Calibration

    def silence_states(self) -> Floats | None:
        """Its encoder states of silence, shape (1500, width), made by `tools/make_silence.py`."""
        if self.silence is None:
            return None
        with files("stt_mqtt.engine").joinpath("silence", self.silence).open("rb") as file:
            states: Floats = np.load(file).astype(np.float32)
        return states


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration for a model. `silence` None: its encoder has to encode silence."""

    calibration: Calibration
    silence: Floats | None = None


FULL_WINDOW = Window(lead_s=0.0, pad_s=WINDOW_S, min_s=WINDOW_S, tail_states=0)
UNCALIBRATED = Calibration(FULL_WINDOW, FULL_WINDOW, 0.0, 0.0)
"""Every pass reads 30 s, and no transcript is beyond doubt."""


def calibration_of(model: ResolvedModel) -> Calibrated | None:
    """The calibration beside the model, else the shipped one for the same weights.

    Raises ModelError where the one beside the model cannot be read.
    """
    own = model.folder / OWN_FILE
    if own.is_file():
        try:
            return Calibrated(TypeAdapter(Calibration).validate_json(own.read_bytes()))
        except (OSError, ValidationError) as error:
            raise ModelError(
                f"{own} is not a calibration; delete it or run: stt-mqtt calibrate ({error})"
            ) from error
    weights = model.folder / WEIGHTS
    candidates = [entry for entry in shipped() if entry.weights_bytes == weights.stat().st_size]
    if not candidates:
        return None
    digest = digest_of(weights)
    for entry in candidates:
        if entry.weights_sha256 == digest:
            return Calibrated(entry.calibration, entry.silence_states())
    return None


@cache
def shipped() -> tuple[Shipped, ...]:
    """The calibrations that come with the program."""
    text = files("stt_mqtt.engine").joinpath(SHIPPED).read_bytes()
    return TypeAdapter(tuple[Shipped, ...]).validate_json(text)
