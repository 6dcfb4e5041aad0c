"""What the pages need, with nothing behind it but the service of a test."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from stt_mqtt.doors.web.parts import WebParts
from tests.doors.native.peers import Wire


def web_parts(wire: Wire, **others: Any) -> WebParts:
    """The parts of a service that is well. `others` replace some of them."""
    parts = WebParts(
        service=wire.service,
        clock=wire.clock,
        native=wire.door,
        online=asyncio.Event(),
        rearm_timer=lambda: None,
        metrics=lambda: b"stt_mqtt_inference_threads 2.0\n",
        health=lambda: None,
        readiness=_ready,
        doors=list,
        phrases=lambda: None,
        transport_drops=dict,
        self_check=None,
        fleet=lambda: None,
    )
    return replace(parts, **others)


async def _ready() -> None:
    return None
