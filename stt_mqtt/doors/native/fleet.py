"""What the topics of the service tell of the fleet, and when `info` has to be published for it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from stt_mqtt.config import FleetConfig
from stt_mqtt.mqtt.json import Json
from stt_mqtt.nodes import FleetStatus

MIN_INTERVAL_S = 1.0
"""Shortest time between two messages `info` that the fleet is the reason for."""


class FleetNews:
    """Tells of the fleet. `config` None: there is no fleet.

    `now`: clock in monotonic seconds. `publish_info`: has `info` published, which asks for `info`
    here.
    """

    def __init__(
        self,
        config: FleetConfig | None,
        status: Callable[[], FleetStatus | None],
        now: Callable[[], float],
        publish_info: Callable[[], None],
    ) -> None:
        self._config = config
        self._status = status
        self._now = now
        self._publish_info = publish_info
        self._told: Json | None = None
        """What `info` said the last time."""
        self._published_at = -inf
        self.deadline: float | None = None
        """When `tick` must be called next, in monotonic seconds."""

    def info(self) -> Json | None:
        """The part of `info`; None: there is no fleet."""
        self._told = self._info()
        self.deadline = None
        return self._told

    @property
    def models(self) -> list[str]:
        """The models of all workers."""
        status = self._status()
        return [] if status is None else sorted({worker.model for worker in status.workers})

    def health(self) -> Json | None:
        """The part of `health`; None: there is no fleet."""
        status = self._status()
        if status is None:
            return None
        return {
            "connected": status.connected,
            "slots": status.slots,
            "in_flight": status.in_flight,
            "late": status.late,
            "again": status.again,
            "workers": {
                worker.worker: {
                    "threads": worker.threads,
                    "busy": worker.busy,
                    "cost": round(worker.cost, 4),
                    "done": worker.done,
                    "failed": worker.failed,
                    "leaving": worker.leaving,
                }
                for worker in status.workers
            },
        }

    def changed(self) -> None:
        """Something of the fleet changed: have `info` published if it would say something else.

        May be called as often as one likes, such as at each heartbeat.
        """
        if self.deadline is None and self._info() != self._told:
            self.deadline = max(self._now(), self._published_at + MIN_INTERVAL_S)
            self.tick()

    def tick(self) -> None:
        """Do what is due."""
        if self.deadline is None or self._now() < self.deadline:
            return
        self.deadline = None
        if self._info() != self._told:
            self._published_at = self._now()
            self._publish_info()

    def _info(self) -> Json | None:
        """What changes seldom: figures that change with each job are in `health`."""
        status = self._status()
        if self._config is None or status is None:
            return None
        return {
            "name": status.name,
            "role": self._config.role.value,
            "node": status.gateway,
            "connected": status.connected,
            "gateways": list(status.gateways),
            "workers": [
                {
                    "name": worker.worker,
                    "threads": worker.threads,
                    "model": worker.model,
                    "rung": worker.rung,
                }
                for worker in status.workers
            ],
        }
