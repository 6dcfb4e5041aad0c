"""The calibration of a model: the windows that its decode passes encode, as measured data.

Whisper's encoder reads 30 s. A calibrated model encodes only the speech and a little silence.
Cached encoder states of silence are appended for the rest. `calibration_search` finds the numbers.
The command `calibrate` runs the search.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from stt_mqtt.engine.models import WEIGHTS, ResolvedModel, digest_of
from stt_mqtt.errors import ModelError

Floats: TypeAlias = npt.NDArray[np.float32]

SHIPPED = "calibrations.json"
OWN_FILE = "stt-mqtt-calibration.json"
"""A calibration in the folder of the model. It has priority over the shipped one."""
WINDOW_S = 30.0
"""Length of the full window of Whisper, in seconds."""
MAX_LEAD_S = 2.0
"""Longest silence before the speech. The longest piece of speech has 28 s and must fit."""
MIN_WINDOW_S = 2.0
"""Shortest window. In a shorter one Whisper repeats itself."""

DRAFT_PAD_S = 0.3
DRAFT_MIN_S = 2.0
DRAFT_TAIL_STATES = 100
"""The window of drafts: they are less exact, but need little work."""

Seconds: TypeAlias = Annotated[float, Field(ge=0.0, le=WINDOW_S)]


@dataclass(frozen=True, slots=True)
class Window:
    """What one pass encodes, in seconds, and the cached silence after it, in states of 20 ms.

    `lead_s` of silence is before the speech and `pad_s` after it. The window is at least `min_s`
    long. Of the last `tail_states` states of silence in a full window, every `tail_stride`-th is
    appended.
    """

    lead_s: Annotated[float, Field(ge=0.0, le=MAX_LEAD_S)]
    pad_s: Seconds
    min_s: Annotated[float, Field(ge=MIN_WINDOW_S, le=WINDOW_S)]
    tail_states: Annotated[int, Field(ge=0)]
    tail_stride: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """The windows of the first and the second pass of a model, and its thresholds.

    `silence_level` is the log-mel value of the cached silence. A `no_speech_prob` below
    `clear_no_speech_prob` is certainly speech. English speech of at least `timestamps_from_s`,
    including margins, is decoded with timestamps in the first pass; None: never. `takes_names`:
    names of the home as hotwords improve its transcripts, and do not harm what has no names.
    """

    first: Window
    second: Window
    silence_level: Annotated[float, Field(ge=-2.0, le=2.0)]
    clear_no_speech_prob: Annotated[float, Field(ge=0.0, le=1.0)]
    timestamps_from_s: Seconds | None = None
    takes_names: bool = False

    @property
    def draft(self) -> Window:
        """The window for drafts. Without cached silence it cannot be shorter than the first."""
        first = self.first
        if not first.tail_states:
            return first
        return replace(
            first,
            pad_s=min(first.pad_s, DRAFT_PAD_S),
            min_s=min(first.min_s, DRAFT_MIN_S),
            tail_states=min(first.tail_states, DRAFT_TAIL_STATES),
        )


@dataclass(frozen=True, slots=True)
class Shipped:
    """A calibration that is part of the program, for exactly these weights."""

    model: str
    weights_bytes: int
    weights_sha256: str
    silence: str | None
    """File in the folder `silence` with the encoder states of silence; null: there is none."""
    measured: str
    """The recordings that it was measured on, for people."""
    calibration: Calibration

    def silence_states(self) -> Floats | None:
        """Encoder states of silence, shape (1500, width), from `tools/make_silence.py`."""
        if self.silence is None:
            return None
        with files("stt_mqtt.engine").joinpath("silence", self.silence).open("rb") as file:
            states: Floats = np.load(file).astype(np.float32)
        return states


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration with its states of silence. `silence` None: the model must encode silence."""

    calibration: Calibration
    silence: Floats | None = None


FULL_WINDOW = Window(lead_s=0.0, pad_s=WINDOW_S, min_s=WINDOW_S, tail_states=0)
UNCALIBRATED = Calibration(FULL_WINDOW, FULL_WINDOW, 0.0, 0.0)
"""Every pass reads 30 s, and every transcript is checked by the voice detector."""


def calibration_of(model: ResolvedModel) -> Calibrated | None:
    """The calibration in the folder of the model, else the shipped one for the same weights.

    Raises ModelError if the one in the folder cannot be read.
    """
    own = model.folder / OWN_FILE
    if own.is_file():
        try:
            return Calibrated(TypeAdapter(Calibration).validate_json(own.read_bytes()))
        except (OSError, ValidationError) as error:
            raise ModelError(
                f"{own} is not a calibration; delete it or run: stt-mqtt calibrate ({error})"
            ) from error
    entry = shipped_for(model)
    return None if entry is None else Calibrated(entry.calibration, entry.silence_states())


def shipped_for(model: ResolvedModel) -> Shipped | None:
    """The shipped calibration for the weights of the model."""
    weights = model.folder / WEIGHTS
    candidates = [entry for entry in shipped() if entry.weights_bytes == weights.stat().st_size]
    if not candidates:
        return None
    digest = digest_of(weights)
    return next((entry for entry in candidates if entry.weights_sha256 == digest), None)


@cache
def shipped() -> tuple[Shipped, ...]:
    """The calibrations that are part of the program."""
    text = files("stt_mqtt.engine").joinpath(SHIPPED).read_bytes()
    return TypeAdapter(tuple[Shipped, ...]).validate_json(text)


def as_own(chosen: Calibration) -> str:
    """The calibration as JSON for the file beside a model."""
    return TypeAdapter(Calibration).dump_json(chosen, indent=2).decode()


def save(chosen: Calibration, folder: Path) -> Path:
    """Write the calibration into the folder of a model, atomically. Raises OSError."""
    file = folder / OWN_FILE
    handle, name = tempfile.mkstemp(prefix=f".{OWN_FILE}-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as temporary:
            temporary.write(as_own(chosen) + "\n")
        # mkstemp makes it readable for the owner only. The service may run as another user.
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return file
