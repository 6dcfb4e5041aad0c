"""What programs ask of the service: its figures, whether it is alive, and whether it is ready.

A supervisor restarts a service that is not alive. So only what a restart repairs counts there. A
broker that is away, a model that loads, and too much speech are no reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stt_mqtt.core.clock import Clock
from stt_mqtt.core.service import SpeechService
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.observe.loop_lag import LoopLag

if TYPE_CHECKING:
    from stt_mqtt.observe.prometheus import Readings

MAX_LAG_S = 5.0
"""An event loop that is this late answers nobody in time."""


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections of the doors. The thread is that of the connection to the broker.

    `is_online`: the service has announced itself on the broker. `lost`: messages that the transport
    lost, by cause. `outbox` and `inbox`: the messages and bytes that wait there.
    """

    broker: str
    thread_is_alive: bool
    thread_hangs: bool
    is_connected: bool
    is_online: bool
    is_stopping: bool
    accepted: int
    outbox: tuple[int, int]
    inbox: tuple[int, int]
    lost: Mapping[str, int]
    wyoming: int
    browsers: int


class Machines:
    """Answers programs. Runs on the event loop."""

    def __init__(
        self,
        service: SpeechService,
        clock: Clock,
        lag: LoopLag,
        connections: Callable[[], Connections],
        fleet: Callable[[], FleetStatus | None],
    ) -> None:
        self._service = service
        self._clock = clock
        self._lag = lag
        self._connections = connections
        self._fleet = fleet

    def health(self) -> str | None:
        """What a restart would repair, as a sentence; None: nothing."""
        scheduler = self._service.scheduler
        if self._lag.last_s > MAX_LAG_S:
            return f"The event loop is {self._lag.last_s:.0f} s late."
        if self._service.config.has_model and not scheduler.healthy:
            return f"{scheduler.hanging} of {scheduler.workers} inference threads hang."
        connections = self._connections()
        if not connections.thread_is_alive:
            return "The thread of the connection to the broker has ended."
        if connections.thread_hangs:
            return "The thread of the connection to the broker hangs."
        return None

    async def readiness(self) -> str | None:
        """Why speech would not be transcribed now, as a sentence; None: it would."""
        connections = self._connections()
        if connections.is_stopping:
            return "The service is stopping."
        has_model = self._service.config.has_model
        if has_model and self._service.scheduler.workers == 0:
            return "The model is still being loaded."
        if not connections.is_connected:
            return f"The broker at {connections.broker} is away: satellites are not heard."
        if not connections.is_online:
            return "The service has not yet announced itself on the broker."
        if not has_model:
            fleet = self._fleet()
            return "The service has not yet joined its fleet." if fleet is None else fleet.problem
        problem = (await self._service.probe.check()).problem
        return None if problem is None else f"{problem[0].upper()}{problem[1:]}."

    def readings(self) -> Readings:
        """What is read for Prometheus."""
        from stt_mqtt.observe.prometheus import Readings

        service, connections = self._service, self._connections()
        scheduler, queue = service.scheduler, service.scheduler.queue
        return Readings(
            queue_jobs=queue.jobs,
            queue_audio_s=queue.audio_s,
            queue_oldest_s=queue.oldest_s(self._clock.now()),
            buffered_bytes=service.budget.used_bytes,
            buffer_limit_bytes=service.budget.limit_bytes,
            devices=Counter(device.state for device in service.registry),
            threads=scheduler.workers,
            hanging_threads=scheduler.hanging,
            batches=scheduler.batches,
            rung_status=service.rung_status,
            lost=connections.lost,
            broker_connected=connections.is_connected,
            broker_connections=connections.accepted,
            outbox_messages=connections.outbox[0],
            outbox_bytes=connections.outbox[1],
            inbox_messages=connections.inbox[0],
            inbox_bytes=connections.inbox[1],
            wyoming_connections=connections.wyoming,
            browsers=connections.browsers,
            loop_lag=self._lag.histogram,
            fleet=self._fleet(),
        )
