"""What the doors wait for goes by the one timer, which reads what came in before it counts."""

from __future__ import annotations

import asyncio

import pytest

from stt_mqtt.app.doors import LEFTOVERS_WINDOW_S, ApplicationCallbacks, Doors
from stt_mqtt.config import Changes, Config
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.native.instances import PROBE_TIMEOUT_S
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientListener
from tests.fakes import FakeClock, engine_facts
from tools.brokers import free_port


class Broker(MqttClient):
    """A client that is connected when the test says so, to nobody."""

    is_up = False
    listener: ClientListener

    @property
    def connected(self) -> bool:
        return self.is_up

    def start(self, listener: ClientListener) -> None:
        Broker.listener = listener

    @staticmethod
    async def accepts() -> None:
        """Tell of a connection, and let the event loop take that in."""
        Broker.listener.connected("5")
        await asyncio.sleep(0)


def test_the_silence_of_other_services_and_the_end_of_what_is_retained_are_deadlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    config = Config.model_validate(
        {"mqtt": {"host": "127.0.0.1", "port": free_port()}, "wyoming": {"enabled": False}}
    )
    rearmed: list[None] = []

    async def scenario() -> None:
        online = asyncio.Event()
        callbacks = ApplicationCallbacks(
            reload=lambda: Changes((), ()),
            set_rung=lambda _: None,
            rearm_timer=lambda: rearmed.append(None),
            stop=lambda: None,
            give_up=lambda _: None,
            online=online,
        )
        monkeypatch.setattr("stt_mqtt.app.doors.MqttClient", Broker)
        doors = Doors(SpeechService(config, engine_facts(), clock), clock, None, callbacks)
        doors.connect()
        assert doors.deadline is None
        # A connection that is lost before the answer could come says nothing.
        await Broker.accepts()
        clock.advance(PROBE_TIMEOUT_S)
        doors.tick()
        assert not online.is_set()
        assert doors.deadline is None
        Broker.is_up = True
        await Broker.accepts()
        assert rearmed
        assert doors.deadline == clock.now() + PROBE_TIMEOUT_S
        doors.tick()
        assert not online.is_set()
        clock.advance(PROBE_TIMEOUT_S)
        doors.tick()
        assert online.is_set()
        assert doors.deadline == clock.now() + LEFTOVERS_WINDOW_S
        clock.advance(LEFTOVERS_WINDOW_S)
        doors.tick()
        assert doors.deadline is None
        await doors.close()

    asyncio.run(scenario())
