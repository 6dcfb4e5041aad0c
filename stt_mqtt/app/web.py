"""Creates the web door, if its libraries are installed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stt_mqtt.app.machines import Machines
from stt_mqtt.app.sources import resolve_certificate, resolve_web_token
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.hermes import door as hermes_door
from stt_mqtt.doors.native import topics as native_topics
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.doors.wyoming import door as wyoming_door
from stt_mqtt.errors import MissingExtraError

if TYPE_CHECKING:
    from stt_mqtt.app.doors import ApplicationCallbacks
    from stt_mqtt.doors.web.door import WebDoor

log = logging.getLogger(__name__)

DOORS = (native_topics.DOOR, hermes_door.DOOR, wyoming_door.DOOR)
"""The doors that have outcomes. A browser is a native device."""


def web_door(
    service: SpeechService,
    clock: Clock,
    native: NativeDoor,
    application: ApplicationCallbacks,
    machines: Machines,
) -> WebDoor | None:
    """The web door; None: it is switched off, or its libraries are not installed.

    Raises `ConfigError` if a file that it needs cannot be used.
    """
    config = service.config.web
    if not config.enabled:
        return None
    try:
        from stt_mqtt.doors.web.door import Secrets, WebDoor
        from stt_mqtt.doors.web.parts import WebParts
        from stt_mqtt.observe.prometheus import Exporter
    except ImportError as error:
        log.info("there are no pages: %s", MissingExtraError(error.name, "web"))
        return None
    exporter = Exporter(service.metrics, DOORS, machines.readings)
    parts = WebParts(
        service,
        clock,
        native,
        application.online,
        application.rearm_timer,
        metrics=exporter.text,
        health=machines.health,
        readiness=machines.readiness,
    )
    return WebDoor(parts, Secrets(resolve_web_token(config), resolve_certificate(config)))
