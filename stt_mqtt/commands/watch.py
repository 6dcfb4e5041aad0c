"""`stt-mqtt watch`: a live table of the devices and their last results, over MQTT."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections import deque
from typing import NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stt_mqtt.app.sources import resolve_password
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.commands.overview import DeviceRow, Overview, ago, printable, utterance_line
from stt_mqtt.commands.screen import open_console
from stt_mqtt.config import Config, MqttConfig
from stt_mqtt.config.network import host_problem
from stt_mqtt.doors.embedded import reachable
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.errors import ConfigError
from stt_mqtt.mqtt.client import MqttClient
from stt_mqtt.mqtt.messages import ClientListener, ClientOptions, Inbound

TRANSPORT_LOGGER = "stt_mqtt.mqtt"
STOP_TIMEOUT_S = 2.0
REFRESH_S = 1.0
MIN_FRAME_S = 0.1
MAX_WAITING_LINES = 1000
OTHER_LINES = 6
"""Lines of the screen without a device."""

_STATE_STYLES = {"listening": "bold green", "transcribing": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)
    parser.add_argument("--host", help="name or address of the broker (default: mqtt.host)")
    parser.add_argument("--port", type=_port, help="port of the broker (default: mqtt.port)")


def run(options: argparse.Namespace) -> int:
    """Show devices and results until Ctrl-C. Raises `ConfigError`."""
    config = config_source(options).load()
    mqtt = _with_broker(config, options.host, options.port)
    listener = WatchListener(Overview(Topics(mqtt.base_topic)))
    client = MqttClient(_client_options(mqtt, listener.overview.filters))
    console = open_console()
    logger = logging.getLogger(TRANSPORT_LOGGER)
    logger.addHandler(listener.trouble_handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    client.start(listener)
    try:
        if sys.stdout.isatty():
            _show_table(listener, console)
        else:
            _print_lines(listener)
    except KeyboardInterrupt:
        return 0
    finally:
        client.stop(STOP_TIMEOUT_S)


class WatchListener(ClientListener):
    """Receives messages in the network thread. `lock` guards all other attributes."""

    def __init__(self, overview: Overview) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Event()
        self.overview = overview
        self.is_connected = False
        self.trouble = "connecting"
        self.waiting: deque[str] = deque(maxlen=MAX_WAITING_LINES)
        """Results as lines, for output without a terminal."""
        self.trouble_handler = _TroubleHandler(self)

    def connected(self, protocol: str) -> None:  # noqa: ARG002
        """The broker accepted the connection."""
        with self.lock:
            self.is_connected, self.trouble = True, ""
            self.overview.forget_service()
        self.changed.set()

    def disconnected(self, reason: str) -> None:
        """The connection was lost. The client reconnects by itself."""
        with self.lock:
            self.is_connected, self.trouble = False, printable(reason)
        self.changed.set()

    def message(self, message: Inbound) -> None:
        """A message was received."""
        with self.lock:
            utterance = self.overview.take(message.topic, message.payload, time.monotonic())
            if utterance is not None:
                self.waiting.append(utterance_line(utterance))
        self.changed.set()

    def wait(self) -> None:
        """Wait until something has changed, or for `REFRESH_S`."""
        self.changed.wait(REFRESH_S)
        self.changed.clear()


class _TroubleHandler(logging.Handler):
    """Keeps the last warning of the transport, such as refused credentials."""

    def __init__(self, listener: WatchListener) -> None:
        super().__init__()
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message. Only repeated failures are logged at DEBUG, by the client."""
        if record.levelno == logging.INFO:
            return
        with self._listener.lock:
            self._listener.trouble = printable(record.getMessage())
        self._listener.changed.set()


def view(listener: WatchListener, now: float, height: int) -> RenderableType:
    """The content of the screen, at most `height` lines."""
    with listener.lock:
        rows = listener.overview.rows(max(height - OTHER_LINES, 1))
        hidden = listener.overview.devices - len(rows)
        header = _header(listener)
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0))
    table.add_column("room", no_wrap=True, max_width=24)
    table.add_column("state", no_wrap=True, min_width=12)
    table.add_column("last words", no_wrap=True, ratio=1)
    table.add_column("outcome", no_wrap=True, min_width=10)
    table.add_column("latency", no_wrap=True, justify="right", min_width=7)
    table.add_column("when", no_wrap=True, justify="right", min_width=10)
    for row in rows:
        table.add_row(*_cells(row, now))
    more = Text(f"and {hidden} more" if hidden else "", style="dim")
    return Group(header, Text(), table, more)


def _header(listener: WatchListener) -> Text:
    service = listener.overview.service
    if not listener.is_connected:
        return Text.assemble(("no broker  ", "bold red"), listener.trouble)
    state, style = {
        None: ("service unknown", "yellow"),
        True: ("service online", "bold green"),
        False: ("service offline", "bold red"),
    }[service.online]
    facts = [
        f"stt-mqtt {service.version}" if service.version else "",
        service.model,
        "" if service.workers is None else _workers(service.workers),
        "" if service.queued is None else f"queue {service.queued}",
        "" if service.cpu is None else f"cpu {service.cpu:.0%}",
        "" if service.rss_mb is None else f"memory {service.rss_mb:.0f} MB",
    ]
    if service.online is False:
        facts = []
    known = "  ·  ".join(fact for fact in facts if fact)
    return Text.assemble((state, style), f"  {known}", (f"  {listener.trouble}", "red"))


def _workers(count: int) -> str:
    return f"{count or 'no'} worker{'' if count == 1 else 's'}"


def _cells(row: DeviceRow, now: float) -> list[Text]:
    state = Text(row.state, style=_STATE_STYLES.get(row.state, "dim"))
    last = row.last
    if last is None:
        return [Text(row.device), state]
    latency = "" if last.latency_s is None else f"{last.latency_s:.2f} s"
    texts = (last.text, last.outcome, latency, ago(now - last.at))
    return [Text(row.device), state, *map(Text, texts)]


def _show_table(listener: WatchListener, console: Console) -> NoReturn:
    def current() -> RenderableType:
        return view(listener, time.monotonic(), console.height)

    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(current(), refresh=True)
                listener.wait()
                time.sleep(MIN_FRAME_S)
    finally:
        console.print(current())


def _print_lines(listener: WatchListener) -> NoReturn:
    told: str | None = None
    while True:
        with listener.lock:
            lines, trouble = list(listener.waiting), listener.trouble
            listener.waiting.clear()
        if trouble != told:
            print(f"stt-mqtt: {trouble or 'connected'}", file=sys.stderr, flush=True)
            told = trouble
        for text in lines:
            print(text, flush=True)
        listener.wait()


def _with_broker(config: Config, host: str | None, port: int | None) -> MqttConfig:
    """The connection of the service, with the broker of the command line if it names one.

    Raises `ConfigError`.
    """
    # With the client identifier of the service the broker would disconnect the service.
    changes: dict[str, object] = {"client_id": None}
    if host is not None:
        problem = host_problem(host)
        if problem is not None:
            raise ConfigError([f"--host: {problem}"])
        changes["host"] = host
    if port is not None:
        changes["port"] = port
    return reachable(config.mqtt, config.broker).model_copy(update=changes)


def _client_options(mqtt: MqttConfig, filters: tuple[str, ...]) -> ClientOptions:
    return ClientOptions(
        config=mqtt,
        host=mqtt.host,
        port=mqtt.effective_port,
        password=resolve_password(mqtt),
        subscriptions=filters,
    )


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
