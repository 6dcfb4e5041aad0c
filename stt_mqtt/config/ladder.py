"""`ladder:`: the models between which the service chooses by load, best first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from stt_mqtt.config.base import Section
from stt_mqtt.types import Rung

AUTO = "auto"
"""Stands for the choice by load where the name of a rung is asked for."""
DEFAULT_RUNG = "default"
"""Name of the only rung where none is listed."""
MAX_RUNGS = 8

RungName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")]


class RungConfig(Section):
    """One rung of the ladder."""

    name: RungName
    """Name of the rung, for `rung`, the results and the log."""
    model: str = Field(min_length=1, max_length=1024)
    """Name of a model (see `stt-mqtt models`) or a folder with a CTranslate2 model."""
    beam_size: int = Field(default=5, ge=1, le=10)
    """Hypotheses followed at once; 1 is greedy."""
    compute_type: str = Field(default="int8", pattern=r"^[a-z0-9_]{1,32}$")
    """Number type of CTranslate2: `int8`, `int8_float32`, `float32`, …"""

    @field_validator("name")
    @classmethod
    def _auto_is_no_name(cls, name: str) -> str:
        if name == AUTO:
            raise ValueError(f"{AUTO} stands for the choice by load; call the rung otherwise")
        return name

    @property
    def rung(self) -> Rung:
        """The rung as a value that travels."""
        return Rung(self.name, self.model, self.beam_size, self.compute_type)


class LadderConfig(Section):
    """The load ladder: a better model while there is time, a quicker one while there is not."""

    rungs: tuple[RungConfig, ...] = Field(default=(), max_length=MAX_RUNGS)
    """Models to choose from, best first; empty: one rung, `default`, as `engine` says."""
    rung: RungName = AUTO
    """`auto`: chosen by load; else the name of the rung to stay on."""
    promised_wait_ms: int = Field(default=1000, ge=100, le=60_000)
    """Longest that an utterance should wait for its turn, in milliseconds."""
    min_stay_s: float = Field(default=60.0, ge=1.0, le=86_400.0)
    """Time between two changes of the rung at least, in seconds."""

    @model_validator(mode="after")
    def _names_say_which(self) -> LadderConfig:
        names: list[str] = []
        for number, rung in enumerate(self.rungs):
            if rung.name in names:
                first = names.index(rung.name)
                raise ValueError(f"rungs[{number}].name is the name of rungs[{first}] too")
            names.append(rung.name)
        known = names or [DEFAULT_RUNG]
        if self.rung not in (AUTO, *known):
            raise ValueError(
                f"rung '{self.rung}' is not one of the rungs; known are {', '.join(known)}"
            )
        return self
