"""Two workers with a real model and a real NATS server. One of them is killed at work."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import yaml

from stt_mqtt.config import FleetConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.fleet.connection import FleetConnection
from stt_mqtt.fleet.wire import Job, JobResult, decode_result, decode_worker
from stt_mqtt.nodes import Role, WorkerStatus
from stt_mqtt.types import (
    AudioFormat,
    Codec,
    DeviceKey,
    EncodedAudio,
    EndReason,
    InferenceResult,
    Utterance,
)
from tools.nats_servers import NatsServer, a_nats_server, needs_nats
from tools.program import PROGRAM

PATIENCE_S = 60
JOBS = 12
SAMPLE = SAMPLES[0]


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def fleet_of(server: NatsServer, role: Role, node: str) -> FleetConfig:
    return FleetConfig(role=role, node=node, servers=(server.url,), ack_wait_s=1.0)


def spoken(number: int) -> Job:
    """A command from a room of its own."""
    utterance = Utterance(
        key=DeviceKey("native", f"room{number}"),
        id=str(number),
        audio=EncodedAudio(AudioFormat(Codec.FLAC), SAMPLE.read()),
        language="en",
        prompt=None,
        end=EndReason.STOP,
        ended_at=0.0,
        phrases=False,
    )
    return Job("hall", number, 1, 60.0, True, utterance)


class Hall:
    """A gateway that remembers who did what."""

    def __init__(self, server: NatsServer) -> None:
        self.connection = FleetConnection(fleet_of(server, Role.GATEWAY, "hall"), "hall")
        self.ready = asyncio.Event()
        self.results: dict[int, JobResult] = {}
        self.late = 0
        self.workers: dict[str, WorkerStatus] = {}

    async def open(self) -> None:
        self.connection.on_ready = self.ready.set
        await self.connection.answer_results(self._result)
        await self.connection.hear_workers(self._worker)
        await self.connection.open()
        await self.ready.wait()

    def _result(self, data: bytes) -> bool:
        result = decode_result(data)
        if result.number in self.results:
            self.late += 1
            return False
        self.results[result.number] = result
        return True

    def _worker(self, data: bytes) -> None:
        status = decode_worker(data)
        self.workers[status.worker] = status


def worker(folder: Path, server: NatsServer, node: str) -> subprocess.Popen[bytes]:
    config = {
        "fleet": fleet_of(server, Role.WORKER, node).model_dump(mode="json", exclude_unset=True),
        "engine": {"workers": 1, "threads": 1, "max_batch": 1},
    }
    file = folder / f"{node}.yaml"
    file.write_text(yaml.safe_dump(config))
    with (folder / f"{node}.log").open("wb") as log:
        return subprocess.Popen(
            [str(PROGRAM), "run", "--config", str(file)], stdout=log, stderr=log
        )


@needs_nats
def test_the_jobs_of_a_killed_worker_are_done_by_the_other_one_and_each_once(
    tmp_path: Path,
) -> None:
    async def scenario(server: NatsServer, stack: ExitStack) -> None:
        hall = Hall(server)
        await hall.open()
        killed, other = (worker(tmp_path, server, node) for node in ("cellar", "attic"))
        for process in (killed, other):
            stack.callback(process.wait)
            stack.callback(process.kill)
        await until(lambda: [one.threads for one in hall.workers.values()] == [1, 1])
        for number in range(JOBS):
            await hall.connection.publish_job(spoken(number))
        await until(lambda: {one.worker for one in hall.results.values()} == {"cellar", "attic"})
        await until(lambda: hall.workers["cellar"].busy)
        killed.kill()
        await until(lambda: len(hall.results) == JOBS)
        # Its last result may have arrived before its acknowledgement.
        assert hall.late <= 1
        for result in hall.results.values():
            assert isinstance(result.verdict, InferenceResult)
            assert result.verdict.transcript is not None
            assert result.verdict.transcript.text == SAMPLE.text
        other.send_signal(signal.SIGTERM)
        await until(lambda: hall.workers["attic"].leaving)
        assert await asyncio.to_thread(other.wait, PATIENCE_S) == 0
        await hall.connection.close(1.0)

    with a_nats_server(tmp_path) as server, ExitStack() as stack:
        asyncio.run(scenario(server, stack))
