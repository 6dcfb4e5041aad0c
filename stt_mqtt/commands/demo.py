"""`stt-mqtt demo`: runs a broker, the service and three simulated satellites in one process.

With `--fleet` it runs several processes, see `demo_fleet`.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
import time
from asyncio import FIRST_COMPLETED
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console

from stt_mqtt.app.application import Application
from stt_mqtt.app.sources import ConfigSource
from stt_mqtt.commands.demo_report import exchange_line, invitation, summary, verdict
from stt_mqtt.commands.overview import Overview, utterance_line
from stt_mqtt.commands.screen import open_console
from stt_mqtt.config import LogConfig, LogLevel
from stt_mqtt.demo.satellite import ANSWER_TIMEOUT_S, BrokerAddress, DemoConnection, Exchange, speak
from stt_mqtt.doors.embedded import EmbeddedBroker, connect_host
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import (
    EXIT_INTERNAL,
    BrokerError,
    ConfigError,
    MissingExtraError,
    SttMqttError,
)
from stt_mqtt.mqtt.messages import Inbound
from stt_mqtt.observe import logs

T = TypeVar("T")

TOPICS = Topics("stt")

LOOPBACK = "127.0.0.1"
USUAL_PORT = 1883
START_TIMEOUT_S = 180.0
ROUND_TIMEOUT_S = 300.0
"""More than the sum of all timeouts of a round, so only a defect reaches it."""
STOP_TIMEOUT_S = 30.0
MAX_WORKERS = 16
"""Of `--fleet`. Each has a model in memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--stay",
        action="store_true",
        help="keep running after the commands, so that you can connect your own programs",
    )
    parser.add_argument(
        "--listen",
        type=_address,
        default=LOOPBACK,
        metavar="ADDRESS",
        help="address on which the broker listens; 0.0.0.0: all networks (default: %(default)s)",
    )
    parser.add_argument(
        "--fleet",
        type=int,
        choices=range(2, MAX_WORKERS + 1),
        metavar="N",
        help="show a fleet instead: a NATS server, a gateway and N workers, of which one is killed",
    )


def run(options: argparse.Namespace) -> int:
    """Exit 0 if every command got a transcript. Raises the error of a failed start."""
    if options.fleet is not None:
        if options.stay or options.listen != LOOPBACK:
            raise ConfigError(["--fleet goes neither with --stay nor with --listen"])
        return _run_fleet(options.fleet)
    broker = make_broker(options.listen, USUAL_PORT if options.stay else None)
    if options.stay and broker.port != USUAL_PORT:
        print(f"Port {USUAL_PORT} is taken, so the broker gets {broker.port}.")
    source = ConfigSource(None, broker.environ)
    return run_demo(broker, Application(source, source.load()), options.stay)


@dataclass(frozen=True, slots=True)
class DemoBroker:
    """The broker of the demo: the address and port that it listens on."""

    listen: str
    port: int

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the service: only this broker, so that all else has its default."""
        return {
            "STT_MQTT__BROKER__MODE": "embedded",
            "STT_MQTT__BROKER__LISTEN": self.listen,
            "STT_MQTT__BROKER__PORT": str(self.port),
            "STT_MQTT__WYOMING__ENABLED": "false",
            "STT_MQTT__WEB__ENABLED": "false",
            "STT_MQTT__LOG__LEVEL": "warning",
            # On a slow machine commands should be slow, not expire.
            "STT_MQTT__LIMITS__MAX_QUEUE_AGE_S": str(ANSWER_TIMEOUT_S),
        }

    @property
    def address(self) -> BrokerAddress:
        """The address by which this machine reaches the broker."""
        return BrokerAddress(connect_host(self.listen), self.port)


def make_broker(listen: str, wanted_port: int | None) -> DemoBroker:
    """A broker on the wanted port, or on any free one. Raises `BrokerError`."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            try:
                probe.bind((listen, wanted_port or 0))
            except OSError:
                probe.bind((listen, 0))
        except OSError as error:
            raise BrokerError(f"no broker can listen on {listen}: {error.strerror}") from error
        return DemoBroker(listen, probe.getsockname()[1])


def run_demo(broker: DemoBroker, application: Application, stay: bool) -> int:
    """Run the satellites with `application`; return 0 if every command got a transcript.

    Raises the error of a failed start, and KeyboardInterrupt.
    """
    logs.set_up(LogConfig(level=LogLevel.WARNING))
    # The invitation below has its own warning of an open broker.
    logging.getLogger(EmbeddedBroker.__module__).setLevel(logging.ERROR)
    complete, clean = asyncio.run(_run_demo(broker, application, stay))
    code = 0 if complete else EXIT_INTERNAL
    if not clean:
        # A stuck inference thread would keep the interpreter from ending.
        sys.stdout.flush()
        logging.shutdown()
        os._exit(code)
    return code


async def _run_demo(broker: DemoBroker, application: Application, stay: bool) -> tuple[bool, bool]:
    """Whether every command got a transcript, and whether the service stopped cleanly."""
    console = open_console()
    service = asyncio.create_task(application.run())
    started_at = time.monotonic()
    try:
        with console.status("Loading the model …"):
            await _during(service, application.online.wait(), START_TIMEOUT_S)
        console.print(
            f"Broker on {broker.listen}:{broker.port}, service online after "
            f"{time.monotonic() - started_at:.1f} s. Three rooms speak:\n"
        )

        def on_answer(exchange: Exchange) -> None:
            console.print(exchange_line(exchange), soft_wrap=True)

        speaking = speak(broker.address, TOPICS, on_answer)
        exchanges = await _during(service, speaking, ROUND_TIMEOUT_S)
        console.print()
        console.print(summary(exchanges))
        console.print(f"\n{verdict(exchanges)}", soft_wrap=True)
        if stay:
            await _stay(broker, service, console)
    except asyncio.CancelledError:
        console.print("\nStopping.")
        raise
    finally:
        application.request_stop()
        await asyncio.wait({service}, timeout=STOP_TIMEOUT_S)
    clean = service.done() and service.result()
    return all(exchange.transcribed for exchange in exchanges), clean


async def _during(
    service: asyncio.Task[bool], work: Coroutine[Any, Any, T], timeout_s: float | None
) -> T:
    """The result of `work`. Raises the failure of the service if it ends before."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({service, task}, timeout=timeout_s, return_when=FIRST_COMPLETED)
        if task.done():
            return task.result()
        if service.done():
            service.result()
            raise SttMqttError("the service has ended by itself")
        raise SttMqttError(f"gave up: no end after {timeout_s} s")
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _stay(broker: DemoBroker, service: asyncio.Task[bool], console: Console) -> None:
    """Print every result until Ctrl-C."""
    overview = Overview(TOPICS)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def on_message(message: Inbound, now: float) -> None:
        utterance = overview.take(message.topic, message.payload, now)
        if utterance is not None:
            console.print(utterance_line(utterance), soft_wrap=True)

    connection = DemoConnection(broker.address, overview.filters, None, on_message)
    try:
        await connection.open()
        console.print(invitation(broker.listen, broker.port), soft_wrap=True)
        await _during(service, stop.wait(), None)
        console.print("Stopping.")
    finally:
        await connection.close()


def _run_fleet(workers: int) -> int:
    """Import what needs the extra `fleet` only now. Raises `MissingExtraError`."""
    try:
        from stt_mqtt.commands.demo_fleet import run_fleet_demo
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "nats":
            raise
        raise MissingExtraError(error.name, "fleet") from None
    return run_fleet_demo(workers)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address, as in 0.0.0.0") from None
