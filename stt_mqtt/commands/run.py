"""`stt-mqtt run`: the service."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn, Protocol

from stt_mqtt.app.addon import AddonSource
from stt_mqtt.app.application import Application
from stt_mqtt.app.sources import ConfigLoader
from stt_mqtt.app.systemd import Notifier
from stt_mqtt.app.worker import WorkerApplication
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.config import Changes, Config
from stt_mqtt.doctor.inside import self_check
from stt_mqtt.engine.resources import share_one_heap
from stt_mqtt.errors import EXIT_INTERNAL, EXIT_TEMPORARY, ConfigError
from stt_mqtt.observe import logs

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may wait for another one that runs Python. With the usual 5 ms, a busy event
loop kept the network thread from reading more than some 100 packets per second."""

log = logging.getLogger(__name__)


class Program(Protocol):
    """The service, or a worker of a fleet."""

    failed: bool

    async def run(self) -> bool:
        """Serve until `request_stop`; return whether all threads ended in time."""

    def request_stop(self) -> None:
        """Have `run` stop cleanly."""

    def reload(self) -> Changes:
        """Reload the configuration. Raises `ConfigError`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    source = parser.add_mutually_exclusive_group()
    add_config(source)
    source.add_argument(
        "--addon-options",
        type=Path,
        metavar="FILE",
        help="options of the Home Assistant add-on (JSON), instead of a configuration file",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; a second one exits at once, SIGHUP reloads."""
    share_one_heap()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    source: ConfigLoader = config_source(options)
    if options.addon_options is not None:
        source = AddonSource(options.addon_options)
    config = source.load()
    logs.set_up(config.log)
    program = _program(source, config)
    clean = asyncio.run(_serve(program))
    code = EXIT_INTERNAL if program.failed else 0
    if not clean:
        # A thread that hangs in the model would keep the interpreter from ending.
        _exit_at_once(code)
    return code


def _program(source: ConfigLoader, config: Config) -> Program:
    notifier = Notifier(os.environ)
    if config.has_doors:
        return Application(source, config, notifier, self_check)
    return WorkerApplication(source, config, notifier)


async def _serve(program: Program) -> bool:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _exit_at_once, EXIT_TEMPORARY)
        program.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, _reload, program)
    return await program.run()


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong in the event loop. Its own handler would show arguments: spoken words."""
    error = context.get("exception")
    what, _, _ = str(context["message"]).partition("(")
    log.error("%s, please report this", what, exc_info=error)


def _exit_at_once(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)


def _reload(program: Program) -> None:
    try:
        program.reload()
    except ConfigError as error:
        problems = error.problems
    else:
        problems = []
    for problem in problems:
        log.error("not reloaded: %s", problem)
