"""A worker of a fleet with a simulated model, for benchmarks and tests.

    python -m tools.simulated_worker --servers nats://127.0.0.1:4222 --name w1 --cost-s 0.1

Connection, pulls, scheduler, results and heartbeats are those of `stt-mqtt run`. Only the model is
simulated: each utterance takes a thread `--cost-s` seconds, plus `--per-audio-s` for each second of
its audio, and its text is `job GATEWAY.NUMBER by NAME`. The audio is not decoded. The utterances of
a batch are answered one after the other. Nothing computes, so `--threads` may be hundreds.

It prints `ready` when the servers can be reached and it takes jobs. SIGTERM and SIGINT let it leave
like a worker: it ends what it began within 10 s. A gateway has to have been there before, with the
same `--fleet`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial

from stt_mqtt.config import FleetConfig, LimitsConfig
from stt_mqtt.core.clock import SystemClock
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.fleet.connection import FleetConnection
from stt_mqtt.fleet.held import Held
from stt_mqtt.fleet.worker import FleetWorker
from stt_mqtt.nodes import Role
from stt_mqtt.rungs import Rung, RungStatus
from stt_mqtt.types import Batch, InferenceResult, Transcript, Utterance

MODEL = "simulated"
GRACE_S = 10.0
CLOSING_S = 3.0


class SimulatedModel:
    """A pool whose threads only wait."""

    def __init__(self, worker: FleetWorker, name: str, cost_s: float, per_audio_s: float) -> None:
        self._worker = worker
        self._name = name
        self._cost_s = cost_s
        self._per_audio_s = per_audio_s

    def submit(self, batch: Batch) -> None:
        """Answer each utterance after the work for it and those before it."""
        after_s = 0.0
        for index, utterance in enumerate(batch.utterances):
            work_s = self._cost_s + self._per_audio_s * utterance.seconds
            after_s += work_s
            result = self._result(utterance, work_s)
            self._later(after_s, partial(self._worker.verdict, batch.number, index, result))
        self._later(after_s, partial(self._worker.finished, batch.number))

    def _result(self, utterance: Utterance, work_s: float) -> InferenceResult:
        held = utterance.context
        assert isinstance(held, Held)
        text = f"job {held.job.id} by {self._name}"
        heard = Transcript(text, utterance.language or "en", 1.0, 0.0)
        return InferenceResult(
            utterance.seconds, heard, infer_s=work_s, work_s=work_s, model=MODEL, rung=MODEL
        )

    @staticmethod
    def _later(seconds: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, call)


async def work(options: argparse.Namespace) -> None:
    """Work until a signal comes."""
    config = FleetConfig(
        role=Role.WORKER,
        name=options.fleet,
        node=options.name,
        servers=tuple(options.servers.split(",")),
        nkey_file=options.nkey_file,
        ack_wait_s=options.ack_wait_s,
    )
    connection = FleetConnection(config, options.name)
    worker = FleetWorker(connection, config, LimitsConfig(), options.name, SystemClock().now)
    rung = Rung(MODEL, MODEL, 1, MODEL)
    worker.rung_status = RungStatus((rung,), MODEL, MODEL, "the only rung")
    worker.use(MODEL, options.cost_s / 3 + options.per_audio_s)
    ready = asyncio.Event()

    def connected() -> None:
        worker.connected()
        ready.set()

    connection.on_ready, connection.on_lost = connected, worker.lost
    await connection.hear_workers(worker.heard)
    await connection.open()
    pool = SimulatedModel(worker, options.name, options.cost_s, options.per_audio_s)
    worker.attach_pool(pool, Capacity(options.threads, options.max_batch))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(worker.run())
    telling = asyncio.create_task(_tell_ready(ready))
    await stop.wait()
    await worker.leave(GRACE_S, CLOSING_S)
    telling.cancel()
    running.cancel()
    await connection.close(CLOSING_S)


async def _tell_ready(ready: asyncio.Event) -> None:
    await ready.wait()
    print("ready", flush=True)


def main() -> None:
    """Read the command line and work."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", required=True, help="as fleet.servers, with commas between")
    parser.add_argument("--name", required=True, help="name of the worker, as fleet.node")
    parser.add_argument("--fleet", default="home", help="name of the fleet")
    parser.add_argument("--threads", type=int, default=1, help="utterances at the same time")
    parser.add_argument("--cost-s", type=float, required=True, help="seconds for an utterance")
    parser.add_argument("--per-audio-s", type=float, default=0.0, help="more for a second of audio")
    parser.add_argument("--max-batch", type=int, default=1, help="utterances of a thread at once")
    parser.add_argument("--ack-wait-s", type=float, default=3.0, help="as fleet.ack_wait_s")
    parser.add_argument("--nkey-file", help="as fleet.nkey_file")
    parser.add_argument("--log", action="store_true", help="write the log to standard error")
    options = parser.parse_args()
    if options.log:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(work(options))


if __name__ == "__main__":
    main()
