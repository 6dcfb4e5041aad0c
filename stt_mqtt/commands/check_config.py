"""`stt-mqtt check-config`: is the configuration usable?"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from stt_mqtt.app.sources import resolve_password
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0 if the configuration can be used; the errors go to standard error otherwise."""
    config = config_source(options).load()
    resolve_password(config.mqtt)
    if find_spec("ctranslate2") is not None:
        _check_languages(config)
    print(f"{options.config or 'defaults'}: ok")
    return 0


def _check_languages(config: Config) -> None:
    """Warn of languages that the models do not speak."""
    from stt_mqtt.app.languages import check_languages
    from stt_mqtt.engine.loading import supported_languages

    for sentence in check_languages(config, supported_languages(config)):
        print(f"warning: {sentence}", file=sys.stderr)
