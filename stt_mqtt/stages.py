"""The stages of an utterance from its end to its answer, and how long each took."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias


class Stage(StrEnum):
    """A stage. Those from `DECODE` to `RETRY` are the work of an inference thread."""

    WAIT = "wait"
    """In the queue."""
    DECODE = "decode"
    """From audio bytes to samples."""
    GATE = "gate"
    """Where in the samples there is speech."""
    ENCODE = "encode"
    """The encoder of the model, and the language where it is detected."""
    DECODE_TEXT = "decode_text"
    """The decoder of the model: its share of the batch."""
    JUDGE = "judge"
    """Whether it is noise or doubtful, and which phrase of the book it is."""
    RETRY = "retry"
    """All work to decode doubtful speech again."""
    PUBLISH = "publish"
    """From the answer to the acknowledgement of the broker, for results of native devices."""


StageTimes: TypeAlias = Mapping[Stage, float]
"""Seconds by stage. A stage that did not run is missing."""


def summed(*times: StageTimes) -> dict[Stage, float]:
    """The seconds of several parts together, by stage."""
    total: dict[Stage, float] = {}
    for part in times:
        for stage, seconds in part.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total
