"""Creates the web door, if its libraries are installed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from stt_mqtt.app.sources import resolve_certificate, resolve_web_token
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.errors import MissingExtraError

if TYPE_CHECKING:
    from stt_mqtt.doors.web.door import WebDoor

log = logging.getLogger(__name__)


def web_door(
    service: SpeechService,
    clock: Clock,
    native: NativeDoor,
    online: asyncio.Event,
    rearm_timer: Callable[[], None],
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
    except ImportError as error:
        log.info("there are no pages: %s", MissingExtraError(error.name, "web"))
        return None
    parts = WebParts(service, clock, native, online, rearm_timer)
    return WebDoor(parts, Secrets(resolve_web_token(config), resolve_certificate(config)))
