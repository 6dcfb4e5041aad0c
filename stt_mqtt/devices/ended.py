"""The ways an utterance can leave a device."""

from __future__ import annotations

from dataclasses import dataclass

from stt_mqtt.errors import UtteranceError
from stt_mqtt.types import Utterance


@dataclass(frozen=True, slots=True)
class Aborted:
    """The device took its utterance back."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Failed:
    """An utterance that ends with an error before it reaches the model."""

    utterance: Utterance
    error: UtteranceError


Ended = Utterance | Aborted | Failed
"""A bare utterance is on its way to the model."""
