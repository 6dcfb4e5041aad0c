"""What happens before the model is loaded, and to what is being loaded at the end."""

from __future__ import annotations

import asyncio
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.ping import Ping, Pong

from stt_mqtt.app import application as module
from stt_mqtt.app import preparation
from stt_mqtt.app.application import Application
from stt_mqtt.app.sources import ConfigSource
from stt_mqtt.config import Config
from stt_mqtt.core.background import in_background
from stt_mqtt.engine.ladder import Candidate, RungCost
from stt_mqtt.engine.loading import LoadedLadder, ModelLoader
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.engine.whisper import WhisperTranscriber
from stt_mqtt.errors import ModelError
from stt_mqtt.rungs import Rung
from tests.engine.fake_model import Model
from tools.brokers import free_port

TIMEOUT_S = 60
FORMAT = {"rate": 16_000, "width": 2, "channels": 1}


class Slow:
    """A model that is loaded, or not, when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        monkeypatch.setattr(module, "load_ladder", self._load)

    def _load(self, _config: Config) -> LoadedLadder:
        self.begun.set()
        assert self.may_end.wait(TIMEOUT_S)
        raise ModelError("the model is damaged")


def application(port: int, **sections: Any) -> Application:
    config: dict[str, Any] = {
        "mqtt": {"host": "127.0.0.1", "port": free_port()},
        "wyoming": {"listen": [f"tcp://127.0.0.1:{port}"]},
        "web": {"port": free_port()},
        **sections,
    }
    return Application(ConfigSource(None, {}), Config.model_validate(config))


async def happens(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, TIMEOUT_S)


def test_a_service_told_to_stop_while_the_model_loads_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(monkeypatch)

    async def scenario() -> bool:
        service = application(free_port())
        running = asyncio.create_task(service.run())
        await happens(slow.begun)
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
        await happens(slow.begun)
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


@dataclass(frozen=True)
class SlowLoader(ModelLoader):
    """A model beside the running one that is not loaded before the test says so."""

    begun: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    """Set when the service has the model of its start."""

    def load_beside(self, rung: Rung) -> WhisperTranscriber:
        self.begun.set()
        self.may_end.wait(TIMEOUT_S)
        raise ModelError("the model is damaged")

    def largest_batch(self, rung: Rung) -> int:
        self.asked.set()
        return 1


def test_a_service_told_to_stop_does_not_wait_for_a_model_that_loads_beside_the_running_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = SlowLoader(Parallelism(workers=1, threads=1), max_batch=1)

    def start(config: Config) -> LoadedLadder:
        candidates = (Candidate(rung, RungCost(0.1, 0.0, 0.0)) for rung in config.rungs)
        return LoadedLadder(tuple(candidates), 0, Model("large").transcriber)

    monkeypatch.setattr(module, "load_ladder", start)
    monkeypatch.setattr(module, "model_loader", lambda _: models)

    async def scenario() -> bool:
        rungs = [{"name": "best", "model": "large"}, {"name": "small", "model": "tiny"}]
        service = application(free_port(), ladder={"rungs": rungs, "rung": "small"})
        running = asyncio.create_task(service.run())
        await happens(models.begun)
        service.request_stop()
        return await running

    # The end of the event loop is a part of the end of the service.
    assert asyncio.run(scenario()) is False
    assert not models.may_end.is_set()
    models.may_end.set()


def test_a_service_whose_threads_all_hang_ends_without_the_grace_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, port = Model("tiny.en"), free_port()
    model.toy.held = True
    models = SlowLoader(Parallelism(workers=1, threads=1), max_batch=1)
    monkeypatch.setattr(
        module,
        "load_ladder",
        lambda config: LoadedLadder((Candidate(config.rungs[0], None),), 0, model.transcriber),
    )
    monkeypatch.setattr(module, "model_loader", lambda _: models)
    monkeypatch.setattr(module, "THREAD_CLOSE_TIMEOUT_S", 0.01)

    async def speak() -> Any:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(AudioStart(**FORMAT).event())
            await client.write_event(AudioChunk(**FORMAT, audio=bytes(32_000)).event())
            await client.write_event(AudioStop().event())
            event = await client.read_event()
            return event and event.data["code"]

    async def scenario() -> None:
        service = application(
            port,
            gate={"enabled": False},
            limits={"inference_timeout_s": 1.0, "max_queue_age_s": 600},
            service={"shutdown_grace_s": 300},
        )
        running = asyncio.create_task(service.run())
        await happens(models.asked)
        async with asyncio.timeout(TIMEOUT_S):
            codes = await asyncio.gather(speak(), speak())
            assert sorted(codes) == ["inference_timeout", "shutting_down"]
            assert await running is False
        assert service.failed

    asyncio.run(scenario())
    model.toy.may_go_on.release()


def test_a_service_told_to_stop_while_a_slow_disk_is_read_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def languages(_config: Config) -> frozenset[str]:
        begun.set()
        may_end.wait(TIMEOUT_S)
        return frozenset()

    monkeypatch.setattr(preparation, "supported_languages", languages)

    async def scenario() -> bool:
        service = application(free_port())
        running = asyncio.create_task(service.run())
        await happens(begun)
        service.request_stop()
        return await running

    started_at = time.monotonic()
    assert asyncio.run(scenario()) is False
    assert time.monotonic() - started_at < TIMEOUT_S
    may_end.set()


def test_the_end_does_not_wait_for_what_asyncio_does_in_a_thread_such_as_to_look_up_a_name() -> (
    None
):
    begun, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        may_end.wait(TIMEOUT_S)

    async def scenario() -> None:
        service = application(free_port())
        service.request_stop()
        await service.run()
        asyncio.get_running_loop().run_in_executor(None, hang)
        await happens(begun)

    started_at = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - started_at < TIMEOUT_S
    may_end.set()


def _divide() -> float:
    return 1 / 0


@pytest.mark.parametrize(("call", "result"), [(partial(int, "7"), 7), (dict, {})])
def test_what_is_done_in_the_background_comes_back(
    call: Callable[[], object], result: object
) -> None:
    async def scenario() -> None:
        assert await in_background(call) == result
        with pytest.raises(ZeroDivisionError):
            await in_background(_divide)

    asyncio.run(scenario())


def test_what_is_said_is_recorded_only_if_the_configuration_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STT_MQTT_STATE", str(tmp_path))

    async def scenario(**sections: Any) -> None:
        slow, port = Slow(monkeypatch), free_port()
        running = asyncio.create_task(application(port, **sections).run())
        await happens(slow.begun)
        async with AsyncTcpClient("127.0.0.1", port) as client, asyncio.timeout(TIMEOUT_S):
            await client.write_event(AudioStart(**FORMAT).event())
            await client.write_event(AudioChunk(**FORMAT, audio=bytes(32_000)).event())
            await client.write_event(AudioStop().event())
            await client.write_event(Ping().event())
            await client.read_event()
            slow.may_end.set()
            with pytest.raises(ModelError):
                await running

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []
    asyncio.run(scenario(keep_audio={"enabled": True}))
    (sound,) = tmp_path.glob("audio/*.wav")
    with wave.open(str(sound)) as recorded:
        assert recorded.getnframes() == 16_000
