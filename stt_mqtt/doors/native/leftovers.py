"""Retained messages that a previous run left behind about devices that are gone."""

from __future__ import annotations

from stt_mqtt.doors.native.topics import DeviceMessage, Verb

MAX_LEFTOVERS = 100_000
"""Devices looked at in one start; a bound, not an expectation."""


class Leftovers:
    """Collects what the broker still holds about devices, then names those nobody knows."""

    def __init__(self) -> None:
        self._devices: set[str] = set()

    def note(self, route: DeviceMessage, retained: bool, payload: bytes) -> None:
        """Look at one message on a retained output topic."""
        is_output = route.verb in {Verb.STATE, Verb.SETTINGS}
        if is_output and retained and payload and len(self._devices) < MAX_LEFTOVERS:
            self._devices.add(route.device)

    def unknown(self, known: set[str]) -> list[str]:
        """Devices with retained messages that this run does not know, in order."""
        return sorted(self._devices - known)
