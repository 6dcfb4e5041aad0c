"""`stt-mqtt check-config`: is the configuration usable?"""

from __future__ import annotations

import argparse

from stt_mqtt.app.files import resolve_password
from stt_mqtt.commands.options import add_config, config_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0 if the configuration can be used; the errors go to standard error otherwise."""
    config = config_source(options).load()
    resolve_password(config.mqtt)
    print(f"{options.config or 'defaults'}: ok")
    return 0
