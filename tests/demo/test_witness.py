from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from stt_mqtt.config import FleetConfig
from stt_mqtt.demo import witness as witness_module
from stt_mqtt.demo.witness import Witness
from stt_mqtt.errors import FleetError, InferenceFailedError
from stt_mqtt.fleet.connection import FleetConnection
from stt_mqtt.fleet.delivery import Delivery
from stt_mqtt.fleet.subjects import Subjects
from stt_mqtt.fleet.wire import Job, JobResult, encode_result, encode_worker
from stt_mqtt.nodes import Role, WorkerStatus
from stt_mqtt.types import AudioFormat, Codec, DeviceKey, EncodedAudio, EndReason, Utterance
from tools.brokers import eventually, free_port
from tools.nats_servers import NatsServer, a_nats_server, needs_nats

pytestmark = needs_nats

WORKERS = ("worker-1", "worker-2")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with a_nats_server(tmp_path) as running:
        yield running


async def connection(server: NatsServer, role: Role, node: str) -> FleetConnection:
    made = FleetConnection(FleetConfig(name="demo", role=role, servers=(server.url,)), node)
    ready = asyncio.Event()
    made.on_ready = ready.set
    await made.open()
    await ready.wait()
    return made


def job(number: int) -> Job:
    audio = EncodedAudio(AudioFormat(Codec.FLAC, 16000, 1), b"audio")
    utterance = Utterance(
        DeviceKey("native", "kitchen"),
        f"utterance-{number}",
        audio,
        "en",
        None,
        EndReason.STOP,
        0.0,
    )
    return Job("gateway", number, 1, 60.0, may_retry=True, utterance=utterance)


def status(worker: str, threads: int) -> bytes:
    return encode_worker(
        WorkerStatus(worker, threads, 1, 0, 0.1, "r", "tiny.en", frozenset({"en"}))
    )


def result(number: int, worker: str) -> bytes:
    return encode_result(JobResult(number, worker, InferenceFailedError("no")))


def test_it_sees_who_got_what_and_who_answered(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_module, "LATE_POLLS", 10)

    async def see() -> None:
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            gateway = await connection(server, Role.GATEWAY, "gateway")
            stack.push_async_callback(gateway.close, 5)
            one, two = [await connection(server, Role.WORKER, name) for name in WORKERS]
            stack.push_async_callback(one.close, 5)
            stack.push_async_callback(two.close, 5)
            await gateway.answer_results(lambda _result: True)
            witness = Witness(Subjects("demo"), WORKERS)
            await witness.open(server.url)
            stack.push_async_callback(witness.close)

            came: asyncio.Queue[Delivery] = asyncio.Queue()
            for number, worker in enumerate((one, two), 1):
                await worker.pull(1, 0, came.put_nowait, lambda: None)
                await gateway.publish_job(job(number))
                await came.get()
            await asyncio.to_thread(eventually, lambda: all(map(witness.held_by, WORKERS)))
            assert witness.held_by("worker-1") == {"utterance-1"}
            assert witness.held_by("worker-2") == {"utterance-2"}

            await two.tell_result("gateway", result(2, "worker-2"), 30)
            await one.tell_result("gateway", result(2, "worker-1"), 30)
            await one.tell_result("gateway", result(77, "worker-1"), 30)
            await asyncio.to_thread(eventually, lambda: len(witness.answered["utterance-2"]) == 2)
            assert witness.answered["utterance-2"] == ["worker-2", "worker-1"]
            assert witness.held_by("worker-2") == set()
            assert await witness.who_answered("utterance-2") == "worker-2"
            assert await witness.who_answered("utterance-1") == "?"

            await one.say_worker(status("worker-1", 1))
            await two.say_worker(status("worker-2", 0))
            await two.say_worker(b"nothing")
            await one.say_worker(status("stranger", 1))
            assert not witness.ready.is_set()
            await two.say_worker(status("worker-2", 1))
            await witness.ready.wait()

    asyncio.run(see())


def test_without_a_server_it_says_so() -> None:
    witness = Witness(Subjects("demo"), WORKERS)
    with pytest.raises(FleetError, match="does not answer"):
        asyncio.run(witness.open(f"nats://127.0.0.1:{free_port()}"))
