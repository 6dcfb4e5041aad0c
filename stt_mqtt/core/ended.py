"""What a device hands on: the ways an utterance can leave it, and what was said before."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import Outcome, Utterance, UtteranceStart


@dataclass(frozen=True, slots=True)
class Aborted:
    """The device took its utterance back."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Failed:
    """An utterance that ends with an error before it reaches the model."""

    utterance: Utterance
    error: UtteranceError


@dataclass(frozen=True, slots=True)
class Repeated:
    """A start whose id was used before: nothing was opened.

    `outcome` None: the utterance waits for the model, its answer is to come.
    """

    start: UtteranceStart
    outcome: Outcome | None


Ended = Utterance | Aborted | Failed | Repeated
"""A bare utterance is on its way to the model."""
