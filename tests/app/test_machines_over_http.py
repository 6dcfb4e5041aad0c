"""What programs are told over HTTP, by the application with its threads."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from stt_mqtt.app import application as module
from stt_mqtt.app.application import Application
from stt_mqtt.config import Config
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.engine.ladder import Candidate, RungCost
from stt_mqtt.engine.loading import LoadedLadder, ModelLoader
from stt_mqtt.engine.resources import Parallelism
from stt_mqtt.rungs import Rung
from tests.app.test_application import FORMAT, TIMEOUT_S, Slow, application, happens
from tests.engine.fake_model import Model
from tools.brokers import free_port
from tools.http import Answer, get


async def asked(port: int, path: str, **headers: str) -> Answer:
    return await asyncio.to_thread(get, port, path, **headers)


async def answers(port: int, path: str, status: int) -> Answer:
    """Ask until the status is this one."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            # Nobody listens before the service is started.
            with suppress(OSError):
                answer = await asked(port, path)
                if answer.status == status:
                    return answer
            await asyncio.sleep(0.05)


def figures(answer: Answer) -> dict[str, float]:
    """All series without labels."""
    assert answer.status == 200
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.labels
    }


def test_while_the_model_loads_it_is_alive_and_measured_but_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, port = Slow(monkeypatch), free_port()

    async def scenario() -> None:
        service = application(free_port(), web={"port": port})
        running = asyncio.create_task(service.run())
        await happens(slow.begun)
        assert (await asked(port, "/healthz")).text == "The service is alive.\n"
        not_ready = await asked(port, "/readyz")
        assert (not_ready.status, not_ready.text) == (503, "The model is still being loaded.\n")
        assert not_ready.headers["Cache-Control"] == "no-store"
        measured = figures(await asked(port, "/metrics"))
        assert measured["stt_mqtt_inference_threads"] == 0
        assert measured["stt_mqtt_process_resident_memory_bytes"] > 1e6
        service.request_stop()
        await running

    asyncio.run(scenario())
    slow.may_end.set()


@dataclass(frozen=True)
class Ready(ModelLoader):
    """A loader whose model is there already."""

    def largest_batch(self, rung: Rung) -> int:
        return 1


def serve(monkeypatch: pytest.MonkeyPatch, model: Model, **sections: Any) -> Application:
    """An application with this model and two threads."""

    def start(config: Config) -> LoadedLadder:
        candidates = (Candidate(rung, RungCost(0.1, 0.0, 0.0)) for rung in config.rungs)
        return LoadedLadder(tuple(candidates), 0, model.transcriber)

    loader = Ready(Parallelism(workers=2, threads=1), max_batch=1)
    monkeypatch.setattr(module, "load_ladder", start)
    monkeypatch.setattr(module, "model_loader", lambda _: loader)
    return application(sections.pop("wyoming_port", free_port()), **sections)


def test_a_thread_that_hangs_is_told_to_the_supervisor_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, wyoming_port = free_port(), free_port()
    model = Model("tiny")
    model.toy.held = True
    sections = {"web": {"port": port}, "limits": {"inference_timeout_s": 1.0}}
    service = serve(monkeypatch, model, wyoming_port=wyoming_port, **sections)

    async def scenario() -> None:
        running = asyncio.create_task(service.run())
        assert (await answers(port, "/healthz", 200)).text == "The service is alive.\n"
        async with AsyncTcpClient("127.0.0.1", wyoming_port) as client:
            await client.write_event(AudioStart(**FORMAT).event())
            await client.write_event(AudioChunk(**FORMAT, audio=SAMPLES[0].pcm()).event())
            await client.write_event(AudioStop().event())
            ill = await answers(port, "/healthz", 503)
        assert ill.text == "1 of 2 inference threads hang.\n"
        assert figures(await asked(port, "/metrics"))["stt_mqtt_hanging_threads"] == 1
        model.toy.held = False
        model.toy.may_go_on.release()
        await answers(port, "/healthz", 200)
        service.request_stop()
        await running

    asyncio.run(scenario())


def test_only_figures_need_the_token_because_supervisors_have_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port, token = free_port(), "b3f0c2" * 5
    (tmp_path / "token").write_text(f"{token}\n")
    web = {"port": port, "token_file": str(tmp_path / "token")}
    service = serve(monkeypatch, Model("tiny"), web=web)

    async def scenario() -> None:
        running = asyncio.create_task(service.run())
        await answers(port, "/healthz", 200)
        assert (await asked(port, "/readyz")).status == 503
        assert (await asked(port, "/metrics")).status == 401
        measured = await asked(port, "/metrics", Authorization=f"Bearer {token}")
        assert measured.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "stt_mqtt_inference_threads" in figures(measured)
        service.request_stop()
        await running

    asyncio.run(scenario())
