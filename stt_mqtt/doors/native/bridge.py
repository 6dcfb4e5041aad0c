"""The topics of the service itself: state, info, health, and answers to requests."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from stt_mqtt import __version__
from stt_mqtt.config import Changes, without_secrets
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.fleet import FleetNews
from stt_mqtt.doors.native.instances import Instance, InstanceCallbacks, InstanceMonitor
from stt_mqtt.doors.native.messages import transaction_of
from stt_mqtt.doors.native.topics import (
    BRIDGE,
    DOOR,
    NAMES,
    OFFLINE,
    ONLINE,
    Topics,
    is_device,
)
from stt_mqtt.errors import ConfigError, RequestError, UtteranceError
from stt_mqtt.mqtt.json import Json, encode, parse_object
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.observe.process import CpuMeter, rss_mb
from stt_mqtt.phrases.names import HomeNames, names_from_topic
from stt_mqtt.types import DeviceKey

INFO_VERSION = 1
_FOR_ALL = frozenset({"reload", "forget", "rung"})
"""Requests that all gateways of a fleet carry out."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BridgeCallbacks:
    """Callbacks of the bridge into the application."""

    reload: Callable[[], Changes]
    set_rung: Callable[[str], None]
    """Sets the rung to hold, or `auto`. Raises `RequestError` for an unknown name."""
    transport_drops: Callable[[], dict[str, int]]
    """Counts of messages that the transport lost, by cause."""
    probed: Callable[[str | None], None]
    """Called with the instance of another live service, or None if there is none."""
    names: Callable[[HomeNames], None]
    """Called with the names on the retained topic. No names: it was cleared."""
    phrases: Callable[[], Json | None]
    """What `info` tells of the phrase book; None: there is none."""
    fleet: Callable[[], FleetStatus | None]
    """The fleet as it is now; None: there is none."""


class Bridge:
    """Publishes the topics of the service. Of the gateways of a fleet, only the one that leads
    publishes and answers.
    """

    def __init__(
        self,
        service: SpeechService,
        clock: Clock,
        publish: Publish,
        callbacks: BridgeCallbacks,
        instance: Instance,
    ) -> None:
        self._service = service
        self._ownership = instance.ownership
        self._clock = clock
        self._publish = publish
        self._callbacks = callbacks
        self._topics = Topics(service.config.mqtt.base_topic)
        watching = InstanceCallbacks(callbacks.probed, self.say_online, self._said_offline)
        self.instances = InstanceMonitor(instance, self._topics, publish, clock, watching)
        self.fleet = FleetNews(service.config.fleet, callbacks.fleet, clock.now, self.publish_info)
        self._started_ts = self._clock.epoch()
        self._started_at = self._clock.now()
        self._cpu_meter = CpuMeter()
        self._cpu: float | None = None
        self._names_problem: str | None = None
        """What was wrong with the last names, as it was logged."""

    def announce(self) -> None:
        """Publish all retained topics of the service; `online` comes last."""
        self.publish_info()
        self.publish_health()
        self.say_online()

    def say_online(self) -> None:
        """Publish that the service is online."""
        if self._ownership.leads:
            self._retain("state", ONLINE, qos=1)

    def publish_info(self) -> None:
        """Publish version, models and configuration."""
        if self._ownership.leads:
            self._retain("info", encode(self._info()), qos=1)

    def publish_health(self) -> None:
        """Publish figures and counters, with the CPU load since the last call."""
        if self._ownership.leads:
            self._publish_health()

    def say_offline(self) -> None:
        """Publish that the service stops, unless another gateway goes on."""
        self.instances.stop()
        if self._ownership.alone:
            self._publish_health()
            self._retain("state", OFFLINE, qos=1)
        self._ownership.say_goodbye()

    def _publish_health(self) -> None:
        self._cpu = self._cpu_meter.read()
        self._retain("health", encode(self._health()), qos=0)

    def _said_offline(self) -> bool:
        """Somebody said that the service is offline. Return whether that is strange."""
        is_strange = self._ownership.said_offline()
        if is_strange:
            self.announce()
        return is_strange

    def output(self, message: Inbound, name: str) -> None:
        """Handle a message that this service, a previous one or another one published."""
        match name:
            case "state":
                self.instances.state(message.payload, message.retain)
            case "info":
                self.instances.info(message.payload, message.retain)
            case "response/health_check":
                self.instances.response(message.payload)

    def names(self, payload: bytes) -> None:
        """Handle names of the home. Bad ones are counted, and the previous ones stay in use."""
        problem: str | None = None
        level = logging.WARNING
        try:
            names, dropped = names_from_topic(payload)
        except ValueError as error:
            self._service.metrics.drop(DropReason.BAD_NAMES)
            problem, level = str(error), logging.ERROR
        else:
            self._callbacks.names(names)
            if dropped:
                problem = f"values left out, too many, too long or no text: {dropped}"
        if problem is not None and problem != self._names_problem:
            log.log(level, "%s: %s", self._topics.of_bridge(NAMES), problem)
        self._names_problem = problem

    def request(self, message: Inbound, request: str) -> None:
        """Answer one request. Does not raise for any request.

        All gateways of a fleet carry it out, and one of them answers.
        """
        if message.retain:
            return
        answers = self._ownership.leads
        transaction: str | int | float | None = None
        try:
            fields = parse_object(message.payload)
            transaction = transaction_of(fields)
            if self.instances.is_ignored(request, fields):
                return
            answers = self._answers(request, fields)
            if not answers and request not in _FOR_ALL:
                return
            response = _response(self._answer(request, fields), None)
        except (UtteranceError, ConfigError, RequestError) as error:
            response = _response({}, str(error))
        response["transaction"] = transaction
        topic = self._topics.of_bridge(f"response/{request}")
        if answers:
            self._publish(Publication(topic, encode(response)))

    def _answers(self, request: str, fields: Json) -> bool:
        """Whether to answer a request. The owner of a device knows whether it may be forgotten."""
        name = fields.get("device") if request == "forget" else None
        owner = name if isinstance(name, str) and is_device(name) else BRIDGE
        return self._ownership.owns(owner)

    def _answer(self, request: str, fields: Json) -> dict[str, object]:
        match request:
            case "health_check":
                return {
                    "instance": self.instances.own,
                    "healthy": self._service.scheduler.healthy,
                    **self._health(),
                }
            case "devices":
                return {"devices": self._devices()}
            case "reload":
                changes = self._callbacks.reload()
                return {
                    "applied": list(changes.applied),
                    "needs_restart": list(changes.needs_restart),
                }
            case "forget":
                return {"device": self._forget(fields)}
            case "rung":
                self._callbacks.set_rung(_wanted_rung(fields))
                return self._rung()
            case _:
                raise RequestError(
                    f"unknown request {request!r}: health_check, reload, devices, rung or forget"
                )

    def _forget(self, fields: Json) -> str:
        name = fields.get("device")
        if not isinstance(name, str) or not is_device(name) or name == BRIDGE:
            raise RequestError('say which device to forget: {"device": "kitchen"}')
        self._service.registry.forget(DeviceKey(DOOR, name))
        return name

    def _info(self) -> dict[str, object]:
        rungs = self._service.rung_status.rungs if self._service.config.has_model else ()
        phrases, fleet = self._callbacks.phrases(), self.fleet.info()
        return {
            "v": INFO_VERSION,
            "version": __version__,
            "instance": self.instances.own,
            "started": round(self._started_ts, 3),
            "models": list(dict.fromkeys(rung.model for rung in rungs)) or self.fleet.models,
            "rungs": [
                {
                    "name": rung.name,
                    "model": rung.model,
                    "beam_size": rung.beam_size,
                    "compute_type": rung.compute_type,
                }
                for rung in rungs
            ],
            "rung": self._rung(),
            **({} if phrases is None else {"phrases": phrases}),
            **({} if fleet is None else {"fleet": fleet}),
            "config": without_secrets(self._service.config),
        }

    def _rung(self) -> dict[str, object]:
        status = self._service.rung_status
        return {"mode": status.mode, "active": status.active, "reason": status.reason}

    def _health(self) -> dict[str, object]:
        service, now = self._service, self._clock.now()
        queue = service.scheduler.queue
        metrics, fleet = service.metrics, self.fleet.health()
        return {
            "ts": round(self._clock.epoch(), 3),
            "uptime_s": round(now - self._started_at, 1),
            "queue": {
                "jobs": queue.jobs,
                "audio_s": round(queue.audio_s, 2),
                "oldest_s": round(queue.oldest_s(now), 3),
            },
            "load": {
                "cpu": None if self._cpu is None else round(self._cpu, 3),
                "rtf": None if metrics.rtf is None else round(metrics.rtf, 4),
            },
            "speculation": {
                "glimpses": metrics.glimpses,
                "hits": metrics.remembered,
                "misses": metrics.open_inferences - metrics.remembered,
                "wasted_s": round(metrics.wasted_s, 2),
                "drafts": metrics.drafts,
                "drafts_s": round(metrics.drafts_s, 2),
            },
            "rung": service.rung_status.active,
            "rss_mb": round(rss_mb(), 1),
            "buffered_bytes": service.budget.used_bytes,
            **({} if fleet is None else {"fleet": fleet}),
            "devices": self._devices(),
            "doors": {name: dict(outcomes) for name, outcomes in metrics.doors.items()},
            "counters": {
                "outcomes": dict(metrics.outcomes),
                "errors": dict(metrics.errors),
                "hints": dict(metrics.hints),
                "decoder_failures": dict(metrics.decoder_failures),
                "inferences": metrics.inferences,
                "second_looks": metrics.retries,
                "dropped": {**metrics.dropped, **self._callbacks.transport_drops()},
            },
        }

    def _devices(self) -> dict[str, object]:
        return {
            device.key.name: {
                "state": device.state.value,
                "utterances": device.counters.utterances,
                "errors": device.counters.errors,
                "dropped_chunks": device.counters.dropped_chunks,
                "last_seen": round(device.last_seen_ts, 3) if device.last_seen_ts else None,
            }
            for device in self._service.registry
            if device.key.door == DOOR
        }

    def _retain(self, name: str, payload: bytes, qos: int) -> None:
        self._publish(Publication(self._topics.of_bridge(name), payload, qos=qos, retain=True))


def _wanted_rung(fields: Json) -> str:
    wanted = fields.get("rung")
    if not isinstance(wanted, str):
        raise RequestError('say which rung to hold: {"rung": "auto"}, or the name of one')
    return wanted


def _response(data: dict[str, object], error: str | None) -> dict[str, object]:
    return {"status": "ok" if error is None else "error", "data": data, "error": error}
