"""Notices two satellites that use one name."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from stt_mqtt.observe.metrics import DropReason, Metrics

CLASHES_BEFORE_WARNING = 3
"""One alone may come from a network that changed the order of two messages."""
MAX_DEVICES = 1000
"""Devices whose utterances are remembered; the oldest is forgotten."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Ids:
    """What is known of one name. `replaced`: the id whose utterance another start ended."""

    open: str | None = None
    replaced: str | None = None
    clashes: int = 0


class NameClashes:
    """Compares the ids of starts and stops of each device.

    One satellite never stops an utterance after it has started another one. So who does is somebody
    else with the same name.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._devices: dict[str, _Ids] = {}

    def started(self, device: str, id: str | None) -> None:
        """A start came. Without an id nothing is known of it."""
        ids = self._devices.pop(device, None) or _Ids()
        self._devices[device] = ids
        if len(self._devices) > MAX_DEVICES:
            del self._devices[next(iter(self._devices))]
        if ids.open is not None and ids.open != id:
            ids.replaced = ids.open
        ids.open = id

    def stopped(self, device: str, id: str | None) -> None:
        """A stop came. Count it if another satellite has ended its utterance."""
        ids = self._devices.get(device)
        if ids is None or id is None:
            return
        if id == ids.open:
            ids.open = None
        if id != ids.replaced:
            return
        ids.replaced = None
        ids.clashes += 1
        self._metrics.drop(DropReason.NAME_CLASH)
        if ids.clashes == CLASHES_BEFORE_WARNING:
            log.warning(
                "two satellites use the name %s: each ends what the other one says; give each one "
                "a name of its own",
                device,
            )
