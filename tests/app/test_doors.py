"""What the doors wait for goes by the one timer, and what they say has its order."""

from __future__ import annotations

import asyncio

import pytest

from stt_mqtt.app.callbacks import ApplicationCallbacks
from stt_mqtt.app.doors import RETAINED_WINDOW_S, Doors
from stt_mqtt.config import Changes, Config
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.fleet import MIN_INTERVAL_S
from stt_mqtt.doors.native.instances import PROBE_TIMEOUT_S
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.inbox import Inbox
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Publication
from stt_mqtt.nodes import FleetStatus
from stt_mqtt.observe.loop_lag import LoopLag
from stt_mqtt.phrases.names import HomeNames
from stt_mqtt.types import DeviceKey, UtteranceStart
from tests.fakes import FakeClock, engine_facts
from tests.fleets import FLEET, fleet_of
from tools.brokers import free_port


class Broker(MqttClient):
    """A client that is connected when the test says so, to nobody."""

    made: Broker

    def __init__(self, options: ClientOptions) -> None:
        super().__init__(options)
        Broker.made = self
        self.is_up = False
        self.topics: list[str] = []
        self.listener: ClientListener | None = None

    @property
    def connected(self) -> bool:
        return self.is_up

    def start(self, listener: ClientListener) -> None:
        self.listener = listener

    def publish(self, publication: Publication) -> None:
        self.topics.append(publication.topic)

    def accepts(self) -> None:
        """Tell of a connection, and have the inbox take that in."""
        assert isinstance(self.listener, Inbox)
        self.listener.connected("5")
        self.listener.pump()


class Bench:
    """The doors of a service, with a broker that the test plays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fleet: FleetStatus | None = None) -> None:
        self.fleet = fleet
        monkeypatch.setattr("stt_mqtt.app.doors.MqttClient", Broker)
        config = Config.model_validate(
            {
                "mqtt": {"host": "127.0.0.1", "port": free_port()},
                "wyoming": {"enabled": False},
                "web": {"enabled": False},
                "fleet": None if fleet is None else {"role": "gateway"},
            }
        )
        self.clock = FakeClock()
        self.rearmed = 0
        self.online = asyncio.Event()
        self.service = SpeechService(config, engine_facts(), self.clock)
        self.names: list[HomeNames] = []
        callbacks = ApplicationCallbacks(
            reload=lambda: Changes((), ()),
            set_rung=lambda _: None,
            rearm_timer=self._rearm,
            stop=lambda: None,
            stop_with_error=lambda _: None,
            names=self.names.append,
            phrases=lambda: None,
            phrases_status=lambda: None,
            online=self.online,
            lag=LoopLag(),
            self_check=None,
            fleet=lambda: self.fleet,
        )
        self.doors = Doors(self.service, self.clock, None, callbacks)
        self.broker = Broker.made
        self.doors.connect()

    def waits(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.doors.tick()

    def _rearm(self) -> None:
        self.rearmed += 1


def test_the_silence_of_other_services_and_the_end_of_what_is_retained_are_deadlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        bench = Bench(monkeypatch)
        doors, clock = bench.doors, bench.clock
        assert doors.deadline is None
        # A connection that is lost before the answer could come says nothing.
        bench.broker.accepts()
        bench.waits(PROBE_TIMEOUT_S)
        assert not bench.online.is_set()
        assert doors.deadline is None
        bench.broker.is_up = True
        bench.rearmed = 0
        bench.broker.accepts()
        assert bench.rearmed
        assert doors.deadline == clock.now() + PROBE_TIMEOUT_S
        doors.tick()
        assert not bench.online.is_set()
        bench.waits(PROBE_TIMEOUT_S)
        assert bench.online.is_set()
        assert doors.deadline == clock.now() + RETAINED_WINDOW_S
        bench.waits(RETAINED_WINDOW_S)
        assert doors.deadline is None
        await doors.close()

    asyncio.run(scenario())


def test_home_assistant_knows_a_device_and_the_service_before_their_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> list[str]:
        bench = Bench(monkeypatch)
        bench.broker.is_up = True
        bench.broker.accepts()
        bench.waits(PROBE_TIMEOUT_S)
        bench.service.single(DeviceKey("native", "kitchen"), bytes(6400), UtteranceStart())
        await bench.doors.close()
        return bench.broker.topics

    topics = asyncio.run(scenario())
    kitchen, bridge = (
        f"homeassistant/device/stt_mqtt_{name}/config" for name in ("kitchen", "bridge")
    )
    assert topics.index(kitchen) < topics.index("stt/kitchen/state")
    assert topics.index(bridge) < topics.index("stt/bridge/info") < topics.index("stt/bridge/state")


def test_a_worker_that_comes_or_goes_is_told_when_the_service_is_online_and_not_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        bench = Bench(monkeypatch, FLEET)
        doors, clock = bench.doors, bench.clock
        doors.fleet_changed()
        bench.broker.is_up = True
        bench.broker.accepts()
        assert doors.deadline == clock.now() + PROBE_TIMEOUT_S
        bench.waits(PROBE_TIMEOUT_S)
        bench.waits(RETAINED_WINDOW_S)
        assert bench.broker.topics.count("stt/bridge/info") == 1
        bench.fleet = fleet_of()
        doors.fleet_changed()
        assert bench.broker.topics.count("stt/bridge/info") == 2
        bench.fleet, bench.rearmed = FLEET, 0
        doors.fleet_changed()
        assert bench.rearmed
        assert doors.deadline == clock.now() + MIN_INTERVAL_S
        bench.waits(MIN_INTERVAL_S)
        assert bench.broker.topics.count("stt/bridge/info") == 3
        assert doors.deadline is None
        doors.begin_shutdown()
        bench.fleet = fleet_of()
        doors.fleet_changed()
        assert doors.deadline is None
        assert bench.broker.topics.count("stt/bridge/info") == 3
        await doors.close()

    asyncio.run(scenario())
