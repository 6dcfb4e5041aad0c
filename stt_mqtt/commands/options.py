"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from stt_mqtt.app.sources import ConfigSource


def add_config(parser: argparse._ActionsContainer) -> None:
    """Add `--config FILE`."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration file (YAML); default: none, all keys have their defaults",
    )


def config_source(options: argparse.Namespace) -> ConfigSource:
    """The configuration that the options name."""
    return ConfigSource(options.config)
