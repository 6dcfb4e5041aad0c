"""What the doors need of the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from stt_mqtt.app.sources import ConfigLoader
from stt_mqtt.config import Changes
from stt_mqtt.core.service import SpeechService
from stt_mqtt.errors import SttMqttError
from stt_mqtt.mqtt.json import Json
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.observe.loop_lag import LoopLag
from stt_mqtt.phrases.names import HomeNames

FleetSource: TypeAlias = Callable[[], FleetStatus | None]
"""Tells of the fleet as it is now; None: there is none."""
SelfCheck: TypeAlias = Callable[
    [ConfigLoader, SpeechService, Callable[[], bool], FleetSource], Awaitable[Json]
]
"""Makes the report of the self-check. The third argument: whether the broker is connected."""


@dataclass(frozen=True, slots=True)
class ApplicationCallbacks:
    """Callbacks of the doors into the application."""

    reload: Callable[[], Changes]
    set_rung: Callable[[str], None]
    rearm_timer: Callable[[], None]
    """Must be called after calls of the service, because the next deadline may have changed."""
    stop: Callable[[], None]
    stop_with_error: Callable[[SttMqttError], None]
    """Stops the service with an error, without publishing anything."""
    names: Callable[[HomeNames], None]
    """Called with the names of the home that were published on the broker."""
    phrases: Callable[[], Json | None]
    """What `info` tells of the phrase book; None: there is none."""
    phrases_status: Callable[[], Json | None]
    """The same for others, without an effect on when `info` is published."""
    online: asyncio.Event
    """Set when the service has published that it is online."""
    lag: LoopLag
    """How late the event loop is."""
    self_check: Callable[[], Awaitable[Json]] | None
    """Makes the report of the self-check. None: there is none."""
    fleet: FleetSource


def no_fleet() -> None:
    """The `FleetSource` of a service without a fleet."""
