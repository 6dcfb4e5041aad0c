"""The native door and its bridge for tests."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from stt_mqtt.config import Changes, Config
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.bridge import Bridge, BridgeCallbacks
from stt_mqtt.doors.native.door import NativeDoor
from stt_mqtt.doors.native.instances import Instance
from stt_mqtt.errors import ConfigError, RequestError
from stt_mqtt.mqtt.json import Json
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.phrases.names import HomeNames
from tests.fakes import ONE_THREAD, FakeClock, FakePool, engine_facts, heard, nothing_heard

CALLBACKS = BridgeCallbacks(
    reload=lambda: Changes((), ()),
    set_rung=lambda _rung: None,
    transport_drops=dict,
    probed=lambda _other: None,
    names=lambda _names: None,
    phrases=lambda: None,
    fleet=lambda: None,
)
"""An application that does nothing."""


def bridge_of(
    service: SpeechService, clock: Clock, publish: Publish, callbacks: BridgeCallbacks = CALLBACKS
) -> Bridge:
    """The bridge of the service `this one`."""
    return Bridge(service, clock, publish, callbacks, Instance("this one"))


def native_door(service: SpeechService, clock: Clock, publish: Publish) -> NativeDoor:
    """A native door whose application does nothing."""
    return NativeDoor(service, bridge_of(service, clock, publish), publish)


class Wire:
    """A service with its native door: sends messages to it, keeps what is published."""

    def __init__(self, share: Ownership = EVERYTHING, **config: Any) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.published: list[Publication] = []
        self.reloads = 0
        self.names: list[HomeNames] = []
        self.phrases: Json | None = None
        self.fleet: FleetStatus | None = None
        self.service = SpeechService(Config.model_validate(config), engine_facts(), self.clock)
        self.service.attach_pool(self.pool, ONE_THREAD)
        callbacks = BridgeCallbacks(
            self._reload,
            self._set_rung,
            lambda: {"inbox_full": 0},
            lambda _other: None,
            self.names.append,
            lambda: self.phrases,
            lambda: self.fleet,
        )
        instance = Instance("this one", share)
        publish = self.published.append
        self.bridge = Bridge(self.service, self.clock, publish, callbacks, instance)
        self.door = NativeDoor(self.service, self.bridge, publish, self.clock.now, share)

    def send(self, topic: str, payload: bytes = b"", **properties: Any) -> None:
        self.door.handle(Inbound(topic, payload, qos=1, **properties))

    def answer(self, text: str = "Turn on the light.") -> None:
        self.pool.answer(self.service, heard(text) if text else nothing_heard())

    def on(self, topic: str) -> list[bytes]:
        return [item.payload for item in self.published if item.topic == topic]

    def results(self, device: str = "kitchen") -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.on(f"stt/{device}/result")]

    def response(self, request: str) -> dict[str, Any]:
        response = json.loads(self.on(f"stt/bridge/response/{request}")[-1])
        assert isinstance(response, dict)
        return response

    def _reload(self) -> Changes:
        self.reloads += 1
        if self.reloads > 1:
            raise ConfigError(["config.yaml:3:1: mqtt.hots: unknown key"])
        return Changes(("gate.margin_ms",), ("engine.model",))

    def _set_rung(self, wanted: str) -> None:
        if wanted not in ("auto", "default"):
            raise RequestError(f"no rung is called {wanted}")
        self.service.rung_status = replace(self.service.rung_status, mode=wanted)
