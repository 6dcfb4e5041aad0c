"""What the line says to a door."""

from __future__ import annotations

from typing import Protocol

from stt_mqtt.devices.settings import Settings
from stt_mqtt.types import DeviceKey, DeviceState, Outcome


class Outlet(Protocol):
    """What a door does with what the line has to say to its devices."""

    def outcome(self, outcome: Outcome) -> None:
        """Publish the one outcome of an utterance."""

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """Publish a changed state; comes after the outcome that changed it."""

    def settings(self, key: DeviceKey, settings: Settings) -> None:
        """Publish changed settings."""

    def forget(self, key: DeviceKey) -> None:
        """Clear what was published about a device that left."""
