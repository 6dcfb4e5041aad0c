"""Scripts, Dockerfile and YAML of the add-on are clean in the eyes of their linters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.addon.manifest import ADDON, ROOT, ROOTFS

YAML_RULES = "{extends: default, rules: {line-length: {max: 100}}}"


def lint(tool: str, *arguments: str | Path) -> None:
    """Run a linter of the development environment; what it says is the failure."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which(tool, path=places)
    assert program is not None, f"{tool} is missing: pip install '.[dev]'"
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def scripts() -> list[Path]:
    return sorted(
        path for path in ROOTFS.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!")
    )


def test_there_are_scripts() -> None:
    assert {script.name for script in scripts()} == {
        "run",
        "finish",
        "wyoming-answers",
        "service-is-alive",
    }


@pytest.mark.parametrize(
    "script",
    [*scripts(), Path(__file__).with_name("bashio.sh")],
    ids=lambda script: "/".join(script.parts[-2:]),
)
def test_shellcheck(script: Path) -> None:
    lint("shellcheck", "--severity=style", script)


def test_hadolint() -> None:
    lint("hadolint", ADDON / "Dockerfile")


def test_yamllint() -> None:
    lint("yamllint", "--strict", "--config-data", YAML_RULES, ADDON, ROOT / "repository.yaml")
