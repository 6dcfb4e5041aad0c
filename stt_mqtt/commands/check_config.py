"""`stt-mqtt check-config`: checks the configuration and the phrase files."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from stt_mqtt.app.book import compile_book, kept_names, read_phrases
from stt_mqtt.app.sources import resolve_authorities, resolve_password, resolve_token
from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0 if the configuration is valid. Otherwise print the errors to standard error."""
    config = config_source(options).load()
    resolve_password(config.mqtt)
    if config.phrases.home_assistant is not None:
        resolve_token(config.phrases.home_assistant)
        resolve_authorities(config.phrases.home_assistant)
    if config.phrases.has_book and find_spec("hassil") and find_spec("rapidfuzz"):
        compile_book(read_phrases(config.phrases, kept_names(config.phrases)), config)
    if find_spec("ctranslate2") is not None:
        _check_languages(config)
    print(f"{options.config or 'defaults'}: ok")
    return 0


def _check_languages(config: Config) -> None:
    """Warn of languages that the models do not support."""
    from stt_mqtt.app.languages import check_languages
    from stt_mqtt.engine.loading import supported_languages

    for sentence in check_languages(config, supported_languages(config)):
        print(f"warning: {sentence}", file=sys.stderr)
