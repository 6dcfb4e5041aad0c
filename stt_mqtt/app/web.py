"""Creates the web door, if its libraries are installed and it is not switched off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from stt_mqtt.app.machines import Machines
from stt_mqtt.app.sources import resolve_certificate, resolve_web_token
from stt_mqtt.config import WebConfig
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.hermes import door as hermes_door
from stt_mqtt.doors.native import topics as native_topics
from stt_mqtt.doors.wyoming import door as wyoming_door
from stt_mqtt.errors import MissingExtraError

if TYPE_CHECKING:
    from stt_mqtt.doors.web.door import WebDoor
    from stt_mqtt.doors.web.parts import WebParts

log = logging.getLogger(__name__)

DOORS = (native_topics.DOOR, hermes_door.DOOR, wyoming_door.DOOR)
"""The doors that have outcomes. A browser is a native device."""


def web_door(config: WebConfig, make_parts: Callable[[], WebParts]) -> WebDoor | None:
    """The web door; None: it is switched off, or its libraries are not installed.

    Raises `ConfigError` if a file that it needs cannot be used.
    """
    if not config.enabled:
        return None
    try:
        from stt_mqtt.doors.web.door import Secrets, WebDoor

        parts = make_parts()
    except ImportError as error:
        log.info("there are no pages: %s", MissingExtraError(error.name, "web"))
        return None
    return WebDoor(parts, Secrets(resolve_web_token(config), resolve_certificate(config)))


def figures(service: SpeechService, machines: Machines) -> Callable[[], bytes]:
    """All figures in the text format of Prometheus. Raises ImportError without its library."""
    from stt_mqtt.observe.prometheus import Exporter

    return Exporter(service.metrics, DOORS, machines.readings).text
