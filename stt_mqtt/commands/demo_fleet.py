"""`stt-mqtt demo --fleet N`: a fleet of processes, of which one worker is killed at work."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stt_mqtt.commands.demo_report import exchange_line
from stt_mqtt.commands.screen import open_console
from stt_mqtt.config import LogConfig, LogLevel
from stt_mqtt.demo.processes import SUBJECTS, DemoFleet
from stt_mqtt.demo.rooms import Rooms
from stt_mqtt.demo.satellite import BrokerAddress, Exchange
from stt_mqtt.demo.witness import Witness
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import EXIT_INTERNAL, SttMqttError
from stt_mqtt.observe import logs

T = TypeVar("T")

ROOMS = 12
START_TIMEOUT_S = 180.0
SPEAKING_TIMEOUT_S = 300.0
"""More than the rooms can take, so only a defect reaches it."""
POLL_S = 0.05


def run_fleet_demo(workers: int) -> int:
    """Exit 0 if each command got exactly one transcript. Raises the error of a failed start."""
    logs.set_up(LogConfig(level=LogLevel.ERROR))
    console = open_console()
    try:
        return 0 if asyncio.run(_run(console, workers)) else EXIT_INTERNAL
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise KeyboardInterrupt from None
    finally:
        console.show_cursor()


async def _run(console: Console, workers: int) -> bool:
    """Whether each command got exactly one transcript."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with (
        tempfile.TemporaryDirectory(prefix="stt-mqtt-demo-") as folder,
        DemoFleet(Path(folder), workers) as fleet,
    ):
        try:
            return await _show(console, fleet)
        except asyncio.CancelledError:
            console.print("\nStopping.")
            raise


async def _show(console: Console, fleet: DemoFleet) -> bool:
    witness = Witness(SUBJECTS, fleet.workers)
    rooms = Rooms(fleet.broker, Topics("stt"), ROOMS)
    started_at = time.monotonic()
    try:
        with console.status("Starting the processes and loading the models …"):
            await _while_all_run(fleet, _start(fleet, witness, rooms), START_TIMEOUT_S)
        console.print(
            f"NATS server, gateway and {len(fleet.workers)} workers online after "
            f"{time.monotonic() - started_at:.1f} s. {ROOMS} rooms say {rooms.count} commands:\n"
        )
        killing = _Killing(console, fleet, witness, after=rooms.count // 3)
        exchanges = await _while_all_run(fleet, rooms.speak(killing.answered), SPEAKING_TIMEOUT_S)
    finally:
        await rooms.close()
        await witness.close()
    console.print()
    console.print(workers_table(fleet.workers, witness.answered, killing.victim, killing.held))
    good, sentence = fleet_verdict(exchanges, rooms.results, killing.victim)
    console.print(f"\n{sentence}", soft_wrap=True)
    return good


async def _start(fleet: DemoFleet, witness: Witness, rooms: Rooms) -> None:
    """Start everything. Returns when the rooms may speak."""
    fleet.start_server()
    server = fleet.server.removeprefix("nats://").partition(":")
    await _listening(BrokerAddress(server[0], int(server[2])))
    await witness.open(fleet.server)
    fleet.start_service()
    await _listening(fleet.broker)
    await rooms.open()
    await witness.ready.wait()
    await rooms.online.wait()


class _Killing:
    """Prints answers, and kills a worker that has something to do when `after` of them came."""

    def __init__(self, console: Console, fleet: DemoFleet, witness: Witness, after: int) -> None:
        self.victim: str | None = None
        self.held: frozenset[str] = frozenset()
        """The utterances that the victim had."""
        self._console = console
        self._fleet = fleet
        self._witness = witness
        self._after = after
        self._answers = 0

    async def answered(self, utterance: str, exchange: Exchange) -> None:
        """An answer came."""
        by = await self._witness.who_answered(utterance)
        self._answers += 1
        line = exchange_line(exchange).append(f"  {by}")
        self._console.print(line, soft_wrap=True)
        if self.victim is None and self._answers >= self._after:
            self._kill()

    def _kill(self) -> None:
        held = {worker: self._witness.held_by(worker) for worker in self._fleet.workers}
        victim = max(held, key=lambda worker: len(held[worker]))
        if held[victim]:
            self.victim, self.held = victim, frozenset(held[victim])
            self._fleet.kill(victim)
            self._console.print(f"  kill -9 {victim}, which has {_commands(self.held)} to do")


def workers_table(
    workers: Sequence[str],
    answered: Mapping[str, Sequence[str]],
    victim: str | None,
    held: frozenset[str],
) -> Table:
    """How many commands each worker answered, and who did the work of the one that was killed.

    `answered`: the workers that had a result, by utterance.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("worker")
    table.add_column("answered", justify="right")
    table.add_column("")
    for worker in workers:
        count = sum(by[0] == worker for by in answered.values() if by)
        note = ""
        if worker == victim:
            others = sorted({answered[one][0] for one in held if answered.get(one)})
            note = f"killed with {_commands(held)} to do, answered by {' and '.join(others) or '-'}"
        table.add_row(*map(Text, (worker, str(count), note)))
    return table


def fleet_verdict(
    exchanges: Mapping[str, Exchange],
    results: Mapping[str, Sequence[object]],
    victim: str | None,
) -> tuple[bool, str]:
    """Whether each command got exactly one transcript although a worker was killed, in words."""
    lost = sum(not exchange.transcribed for exchange in exchanges.values())
    twice = sum(len(results.get(utterance, ())) > 1 for utterance in exchanges)
    if lost or twice:
        return False, f"Of {len(exchanges)} commands {lost} got no transcript, {twice} two results."
    if victim is None:
        return False, "No worker had anything to do when one was to be killed."
    return True, (
        f"All {len(exchanges)} commands got exactly one transcript: nothing lost, nothing twice."
    )


def _commands(utterances: frozenset[str]) -> str:
    return f"{len(utterances)} command{'' if len(utterances) == 1 else 's'}"


async def _listening(address: BrokerAddress) -> None:
    """Wait until somebody listens."""
    while True:
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except OSError:
            await asyncio.sleep(POLL_S)
        else:
            writer.close()
            return


async def _while_all_run(fleet: DemoFleet, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
    """The result of `work`. Raises `SttMqttError` if a process ends before."""
    task = asyncio.create_task(work)
    deadline = time.monotonic() + timeout_s
    try:
        while not (await asyncio.wait({task}, timeout=POLL_S))[0]:
            fleet.check()
            if time.monotonic() > deadline:
                raise SttMqttError(f"gave up: no end after {timeout_s:g} s")
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
