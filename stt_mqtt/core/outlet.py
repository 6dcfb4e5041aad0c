"""What the line says to the doors."""

from __future__ import annotations

from typing import Protocol

from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.types import DeviceKey, DeviceState, Outcome


class Outlet(Protocol):
    """The door that an utterance came through."""

    def outcome(self, outcome: Outcome) -> None:
        """Give the device the one outcome of its utterance."""


class DeviceObserver(Protocol):
    """Whoever tells the world about the devices of a door."""

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """A device changed its state; comes after the outcome that changed it."""

    def settings(self, key: DeviceKey, settings: DeviceSettings) -> None:
        """A device became known or its settings changed; comes before its state."""

    def forget(self, key: DeviceKey) -> None:
        """A device left."""
