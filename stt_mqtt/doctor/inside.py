"""The checks inside the running service, for its status page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stt_mqtt.app.sources import ConfigLoader
from stt_mqtt.core.background import in_background
from stt_mqtt.core.probe import TIMEOUT_S, Evidence
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doctor.diagnosis import examined_subject, report_as_json
from stt_mqtt.doctor.report import Finding
from stt_mqtt.doctor.subject import Machine, RunningService, Subject
from stt_mqtt.mqtt.json import Json
from stt_mqtt.nodes import FleetStatus

SPARE_S = 1.0
"""How much longer than the probe itself its caller waits."""


async def self_check(
    source: ConfigLoader,
    service: SpeechService,
    is_connected: Callable[[], bool],
    fleet: Callable[[], FleetStatus | None],
) -> Json:
    """The report on a service that runs. No second model is loaded. Does not raise.

    `is_connected`: whether the service is connected to the broker. `fleet`: as the service sees it;
    None: there is none.
    """
    loop = asyncio.get_running_loop()

    def probe() -> Evidence:
        asked = asyncio.run_coroutine_threadsafe(service.probe.check(max_age_s=0), loop)
        return asked.result(TIMEOUT_S + SPARE_S)

    running = RunningService(is_connected(), service.rung_status.active, probe, fleet())
    machine = Machine()
    subject = Subject(source, service.config, machine, running)

    def examine() -> list[Finding]:
        return list(examined_subject(subject))

    return report_as_json(await in_background(examine), machine.epoch())
