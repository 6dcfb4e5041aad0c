"""The interfaces that doors implement to receive outcomes and changes of devices."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Protocol

from stt_mqtt.core.device import Device
from stt_mqtt.core.partials import Partial
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.types import DeviceKey, DeviceState, Outcome, Utterance

log = logging.getLogger(__name__)


class Outlet(Protocol):
    """The door that receives the outcomes of its utterances."""

    def outcome(self, outcome: Outcome) -> None:
        """Send the device the one outcome of its utterance."""


class OutcomeObserver(Protocol):
    """Is told the outcomes of all doors, after the outlets."""

    def outcome(self, outcome: Outcome) -> None:
        """An utterance got its outcome."""


class AudioKeeper(Protocol):
    """Keeps recordings of utterances, if it is asked to."""

    def keep(self, utterance: Utterance, outcome: Outcome) -> None:
        """An utterance that was queued got its outcome. Must not wait."""


class PartialOutlet(Protocol):
    """A door that sends partial results to devices with `partials`."""

    def partial(self, partial: Partial) -> None:
        """Send a partial result of an open utterance. It comes before the outcome."""


class TurnObserver(Protocol):
    """Tells the devices of a door what the service hears in their open utterances."""

    def turn_ended(self, key: DeviceKey, id: str) -> None:
        """The service has ended an utterance by itself. Called before the outcome."""

    def phrase_open(self, key: DeviceKey, id: str) -> None:
        """The speaker pauses, and what was said is only the beginning of a phrase."""


class DeviceObserver(Protocol):
    """Is told about the devices of a door. Implementations inherit the methods they do not need."""

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """The state of a device changed. Called after the outcome that changed it."""

    def settings(self, key: DeviceKey, settings: DeviceSettings) -> None:  # noqa: ARG002
        """A device was registered or its settings changed. Called before `state`."""
        return

    def forget(self, key: DeviceKey) -> None:  # noqa: ARG002
        """A device was removed."""
        return


class Observers:
    """Reports each change once to all observers of a door, in the order of `add`.

    It also reports outcomes, and what is heard in open utterances. An observer that raises does not
    affect the others.
    """

    def __init__(self) -> None:
        self._by_door: defaultdict[str, list[DeviceObserver]] = defaultdict(list)
        self._of_outcomes: list[OutcomeObserver] = []
        self._of_turns: defaultdict[str, list[TurnObserver]] = defaultdict(list)

    def add(self, door: str, observer: DeviceObserver) -> None:
        """Add an observer of the devices of a door."""
        self._by_door[door].append(observer)

    def add_for_outcomes(self, observer: OutcomeObserver) -> None:
        """Add an observer of the outcomes of all doors."""
        self._of_outcomes.append(observer)

    def add_for_turns(self, door: str, observer: TurnObserver) -> None:
        """Add an observer of the open utterances of a door."""
        self._of_turns[door].append(observer)

    def turn_ended(self, key: DeviceKey, id: str) -> None:
        """Report that the service has ended an utterance by itself."""
        for observer in self._of_turns[key.door]:
            _guarded(key, partial(observer.turn_ended, key, id))

    def phrase_open(self, key: DeviceKey, id: str) -> None:
        """Report that the speaker pauses in the middle of a phrase."""
        for observer in self._of_turns[key.door]:
            _guarded(key, partial(observer.phrase_open, key, id))

    def outcome(self, outcome: Outcome) -> None:
        """Report an outcome."""
        for observer in self._of_outcomes:
            _guarded(outcome.key, partial(observer.outcome, outcome))

    def announce(self, device: Device) -> None:
        """Report what changed about a device since the last call."""
        current = (device.settings, device.state)
        before = device.announced
        if current == before:
            return
        device.announced = current
        for observer in self._by_door[device.key.door]:
            if before is None or before[0] != current[0]:
                _guarded(device.key, partial(observer.settings, device.key, current[0]))
            if before is None or before[1] != current[1]:
                _guarded(device.key, partial(observer.state, device.key, current[1]))

    def forget(self, key: DeviceKey) -> None:
        """Report that a device was removed."""
        for observer in self._by_door[key.door]:
            _guarded(key, partial(observer.forget, key))


def _guarded(key: DeviceKey, tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception:
        log.exception("a change was not told, please report this", extra={"device": str(key)})
