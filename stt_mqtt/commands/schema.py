"""`stt-mqtt schema`: the JSON schema of the configuration file, for editors."""

from __future__ import annotations

import argparse
import json

from stt_mqtt.config import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command: it has none."""


def run(_options: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
