"""`stt-mqtt run`: the service."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal

from stt_mqtt.app.application import Application
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.errors import EXIT_INTERNAL, EXIT_TEMPORARY, ConfigError
from stt_mqtt.observe import logs

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; a second one exits at once, SIGHUP reloads."""
    source = config_source(options)
    config = source.load()
    logs.set_up(config.log)
    application = Application(source, config)
    clean = asyncio.run(_serve(application))
    code = EXIT_INTERNAL if application.failed else 0
    if not clean:
        # A thread that hangs in the model would keep the interpreter from ending.
        logging.shutdown()
        os._exit(code)
    return code


async def _serve(application: Application) -> bool:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, os._exit, EXIT_TEMPORARY)
        application.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, _reload, application)
    return await application.run()


def _reload(application: Application) -> None:
    try:
        application.reload()
    except ConfigError as error:
        problems = error.problems
    else:
        problems = []
    for problem in problems:
        log.error("not reloaded: %s", problem)
