"""What the pages need of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stt_mqtt.core.clock import Clock
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.facts import DoorFacts
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.mqtt.json import Json
from stt_mqtt.nodes import FleetStatus


@dataclass(frozen=True, slots=True)
class WebParts:
    """What route modules share."""

    service: SpeechService
    clock: Clock
    native: NativeDoor
    online: asyncio.Event
    """Set when the service has published that it is online: the model is loaded."""
    rearm_timer: Callable[[], None]
    """Must be called after calls of the service, because the next deadline may have changed."""
    metrics: Callable[[], bytes]
    """All figures in the text format of Prometheus."""
    health: Callable[[], str | None]
    """What a restart would repair, as a sentence; None: nothing."""
    readiness: Callable[[], Awaitable[str | None]]
    """Why speech would not be transcribed now, as a sentence; None: it would."""
    doors: Callable[[], list[DoorFacts]]
    """All doors but this one."""
    phrases: Callable[[], Json | None]
    """What people may know of the phrase book; None: there is none."""
    transport_drops: Callable[[], dict[str, int]]
    """Counts of messages that the transport lost, by cause."""
    self_check: Callable[[], Awaitable[Json]] | None
    """Makes the report of the self-check. None: there is none."""
    fleet: Callable[[], FleetStatus | None]
    """The fleet as it is now; None: there is none."""
