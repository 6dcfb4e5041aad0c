"""Which devices this gateway answers for, and what it notes of those of the others.

All gateways of a fleet get the messages of all devices. One owns a device: it opens its utterances.
An utterance that is open when the device gets another owner goes on where it was opened, until it
ends. docs/fleet.md describes the rules.
"""

from __future__ import annotations

from collections.abc import Callable

from stt_mqtt.core.device import Device
from stt_mqtt.core.overhearing import overhear_chunk, overhear_result, overhear_start
from stt_mqtt.core.ownership import Ownership
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.direct import DirectDevices
from stt_mqtt.doors.native.messages import id_of_start
from stt_mqtt.doors.native.overheard import outcome_in
from stt_mqtt.errors import TooManyDevicesError
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import DeviceKey, DeviceState, EndReason, Outcome

MAX_ELSEWHERE = 1000
"""Utterances that are remembered because another gateway answers them, too."""


class Sharing:
    """Decides what of the devices is this gateway's. Without a fleet that is everything."""

    def __init__(
        self,
        service: SpeechService,
        ownership: Ownership,
        direct: DirectDevices,
        now: Callable[[], float],
    ) -> None:
        self._service = service
        self._ownership = ownership
        self._direct = direct
        self._now = now
        self._busy: set[str] = set()
        """Devices of which this gateway has something open or unanswered."""
        self._superseded: set[str] = set()
        """Those that have begun another utterance at another gateway, which tells their state."""
        self._elsewhere: dict[tuple[str, str], None] = {}
        """Utterances that another gateway answers or has answered, oldest first."""

    def is_mine(self, name: str) -> bool:
        """Whether this gateway opens the utterances of a device and publishes about it.

        A browser belongs to the gateway that it is connected to.
        """
        if not self._ownership.shared or self._direct.is_connected(name):
            return True
        return self._ownership.owns(name) and not self._direct.is_elsewhere(name)

    # What devices of others do -----------------------------------------------------------------

    def chunk(self, key: DeviceKey) -> bool:
        """A device of another gateway sends audio. Return whether its utterance is open here.

        Otherwise the device gets no utterance here until it pauses, stops or starts another one.
        """
        device = self._device(key)
        if device is None:
            return False
        if not device.listening:
            overhear_chunk(device, self._now())
        return device.listening

    def start(self, key: DeviceKey, payload: bytes) -> None:
        """A device of another gateway opens an utterance, maybe one that is open or waits here."""
        device = self._device(key)
        if device is None:
            return
        if key.name in self._busy:
            self._superseded.add(key.name)
            self._leave_to_others(key.name, id_of_start(payload))
        self._service.end(key, EndReason.RESTART)
        overhear_start(device, self._now())

    def result(self, key: DeviceKey, payload: bytes) -> None:
        """A gateway published a result. It counts for all, if the device sends it again."""
        device = self._service.registry.find(key)
        outcome = outcome_in(key, payload)
        if device is None or outcome is None:
            return
        if overhear_result(device, outcome, self._now()) and key.name in self._busy:
            self._leave_to_others(key.name, outcome.id)

    def started(self, name: str, id: str | None) -> None:
        """A device opens an utterance here."""
        if id is not None:
            self._elsewhere.pop((name, id), None)

    # What is published -------------------------------------------------------------------------

    def publishes(self, outcome: Outcome) -> bool:
        """Whether to publish an outcome: unless another gateway does.

        One without an id is the answer to an invalid message, which all gateways get.
        """
        name = outcome.key.name
        if outcome.id is None:
            return self.is_mine(name)
        if outcome.repeated or (name, outcome.id) not in self._elsewhere:
            return True
        del self._elsewhere[name, outcome.id]
        self._service.metrics.drop(DropReason.ELSEWHERE)
        return False

    def publishes_state(self, name: str, state: DeviceState) -> bool:
        """Whether to publish a state: of a device of others only while something is open here."""
        was_busy, is_superseded = name in self._busy, name in self._superseded
        if state is DeviceState.IDLE:
            self._busy.discard(name)
            self._superseded.discard(name)
        else:
            was_busy = True
            self._busy.add(name)
        return self.is_mine(name) or (was_busy and not is_superseded)

    def _device(self, key: DeviceKey) -> Device | None:
        """A device of others that sent a message. None: there is no place for it.

        It counts as announced, because its owner has announced it.
        """
        try:
            device = self._service.registry.touch_or_add(key)
        except TooManyDevicesError:
            self._service.metrics.drop(DropReason.TOO_MANY_DEVICES)
            return None
        self._service.registry.observers.announce(device)
        return device

    def _leave_to_others(self, name: str, id: str | None) -> None:
        if id is not None:
            self._elsewhere[name, id] = None
            if len(self._elsewhere) > MAX_ELSEWHERE:
                del self._elsewhere[next(iter(self._elsewhere))]
