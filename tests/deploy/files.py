"""The files under test, and the programs that check them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from stt_mqtt.cli import _parser

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
UNIT = (DEPLOY / "stt-mqtt.service").read_text(encoding="utf-8")
SATELLITE_UNIT = (DEPLOY / "stt-mqtt-satellite.service").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")

CLOSING_S = 15.0
"""What ending takes at most, besides the grace time: goodbye, connection, inference threads."""


def parsed(command_line: str) -> Namespace:
    """What the real command line makes of the words behind `stt-mqtt`."""
    arguments = command_line.split()
    return _parser(arguments).parse_args(arguments)


def checked_by(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a checker from this environment or the system; the test is skipped without it."""
    found = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if found is None:
        pytest.skip(f"needs {tool}, which is not installed")
    return subprocess.run(
        [found, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
