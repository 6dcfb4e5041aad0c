"""What happens before the model is loaded."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.ping import Ping, Pong

from stt_mqtt.app import application as module
from stt_mqtt.app.application import Application
from stt_mqtt.app.files import ConfigSource
from stt_mqtt.app.loading import Start
from stt_mqtt.config import Config
from stt_mqtt.errors import ModelError
from tests.brokers import free_port

TIMEOUT_S = 20
FORMAT = {"rate": 16_000, "width": 2, "channels": 1}


class Slow:
    """A model that is loaded, or not, when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        monkeypatch.setattr(module, "load_ladder", self._load)

    def _load(self, _config: Config) -> Start:
        self.begun.set()
        assert self.may_end.wait(TIMEOUT_S)
        raise ModelError("the model is damaged")


def application(port: int) -> Application:
    config: dict[str, Any] = {
        "mqtt": {"host": "127.0.0.1", "port": free_port()},
        "wyoming": {"listen": [f"tcp://127.0.0.1:{port}"]},
    }
    return Application(ConfigSource(None, {}), Config.model_validate(config))


async def begun(slow: Slow) -> None:
    assert await asyncio.to_thread(slow.begun.wait, TIMEOUT_S)


def test_a_service_told_to_stop_while_the_model_loads_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(monkeypatch)

    async def scenario() -> bool:
        service = application(free_port())
        running = asyncio.create_task(service.run())
        await begun(slow)
        service.request_stop()
        async with asyncio.timeout(TIMEOUT_S):
            clean = await running
        assert not slow.may_end.is_set()
        return clean

    assert asyncio.run(scenario()) is False
    slow.may_end.set()


def test_who_waits_for_a_model_that_cannot_be_loaded_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, port = Slow(monkeypatch), free_port()

    async def scenario() -> None:
        running = asyncio.create_task(application(port).run())
        await begun(slow)
        async with AsyncTcpClient("127.0.0.1", port) as client, asyncio.timeout(TIMEOUT_S):
            await client.write_event(AudioStart(**FORMAT).event())
            await client.write_event(AudioChunk(**FORMAT, audio=bytes(32_000)).event())
            await client.write_event(AudioStop().event())
            await client.write_event(Ping().event())
            pong = await client.read_event()
            assert pong is not None
            assert Pong.is_type(pong.type)
            slow.may_end.set()
            event = await client.read_event()
            assert event is not None
            assert Error.is_type(event.type)
            assert event.data["code"] == "shutting_down"
            with pytest.raises(ModelError):
                await running

    asyncio.run(scenario())
