"""What is in the images: writes their locks, the list of their parts (SBOM) and the licences.

Run it when a dependency changes: `python -m tools.lock`, with the `lock` extra and python3.12 and
python3.13 installed. It asks the package index that uv is configured for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
"""Of both images. The packages must be the same, and each must have a wheel for both."""


@dataclass(frozen=True)
class Lock:
    """The packages of an image: their file, the Python of the image, and the extras in it."""

    file: Path
    python: str
    extras: tuple[str, ...]


CONTAINER = Lock(
    ROOT / "deploy" / "requirements.lock",
    "3.12",
    ("server", "fleet", "phrases", "web", "zeroconf"),
)
ADDON = Lock(ROOT / "addon" / "stt_mqtt" / "requirements.txt", "3.13", ("server", "phrases", "web"))
SBOM = ROOT / "deploy" / "sbom.cdx.json"
LICENCES = ROOT / "docs" / "licences.md"

UNSAID = {"protobuf": "BSD-3-Clause"}
"""Licences of packages whose metadata names none, read from the file in their wheel."""
SHORT = {"License :: OSI Approved :: Apache Software License": "Apache-2.0"}
"""Names of licences that have a shorter, exact one."""


def main() -> None:
    """Write all files."""
    for lock in (CONTAINER, ADDON):
        lock.file.write_text(header(lock) + resolved(lock), encoding="utf-8")
    parts = sbom(CONTAINER)
    SBOM.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    LICENCES.write_text(licences(parts), encoding="utf-8")


def header(lock: Lock) -> str:
    """The first lines of a lock."""
    return (
        f"# All that stt-mqtt[{','.join(lock.extras)}] needs, for Python {lock.python}, "
        "amd64 and aarch64.\n# Made with: python -m tools.lock\n"
    )


def resolved(lock: Lock) -> str:
    """The packages with the hashes of all their files, which name no index."""
    known = lock.file.read_text(encoding="utf-8") if lock.file.exists() else ""
    found = [_compiled(lock, platform, known) for platform in PLATFORMS]
    if found[0] != found[1]:
        raise SystemExit(f"{lock.file.name}: the platforms need different packages")
    return found[0]


def _compiled(lock: Lock, platform: str, known: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        # What is in the file stays as it is unless pyproject.toml asks for another version.
        file = Path(folder) / "lock.txt"
        file.write_text(known, encoding="utf-8")
        uv(
            "pip", "compile", str(ROOT / "pyproject.toml"), "--output-file", str(file),
            *(f"--extra={extra}" for extra in lock.extras),
            f"--python-version={lock.python}", f"--python-platform={platform}",
            "--only-binary=:all:", "--generate-hashes", "--no-header", "--no-annotate",
            "--no-emit-index-url",
        )  # fmt: skip
        return file.read_text(encoding="utf-8")


def sbom(lock: Lock) -> dict[str, Any]:
    """The parts of an image as CycloneDX, without addresses, which change."""
    python = shutil.which(f"python{lock.python}")
    if python is None:
        raise SystemExit(f"python{lock.python} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        _run(python, "-m", "venv", "--without-pip", folder)
        inside = f"{folder}/bin/python"
        uv(
            "pip", "install", f"--python={inside}", "--require-hashes", "--only-binary=:all:",
            f"--requirements={lock.file}",
        )  # fmt: skip
        told = _run(
            "cyclonedx-py", "environment", inside, "--output-reproducible", "--of=JSON", "--sv=1.6"
        )
    parts: dict[str, Any] = json.loads(told)
    for component in parts["components"]:
        component.pop("externalReferences", None)
    parts["metadata"] = {
        "component": {"type": "application", "name": "stt-mqtt", "bom-ref": "stt-mqtt"}
    }
    return parts


def licences(parts: Mapping[str, Any]) -> str:
    """The page with the licence of each part."""
    rows = [
        f"| {part['name']} | {part['version']} | {licence_of(part)} |"
        for part in sorted(parts["components"], key=lambda part: str(part["name"]).casefold())
    ]
    return "\n".join(
        [
            "# Licences",
            "",
            "The Python packages in the images, as their own metadata names their licences. The "
            "list is made from",
            "`deploy/sbom.cdx.json` with `python -m tools.lock`. Files that the repository itself "
            "contains have their licence",
            "beside them.",
            "",
            "| package | version | licence |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def licence_of(part: Mapping[str, Any]) -> str:
    """The licence of a part. Ends the program if it names none and none is known."""
    names = [
        one.get("expression") or one["license"].get("id") or one["license"]["name"]
        for one in part.get("licenses", [])
    ]
    found = dict.fromkeys(SHORT.get(name, name) for name in names)
    text = ", ".join(found) or UNSAID.get(part["name"])
    if text is None:
        raise SystemExit(f"{part['name']} names no licence: add it to UNSAID in tools/lock.py")
    return text


def uv(*arguments: str) -> None:
    """Run uv."""
    _run("uv", *arguments, "--quiet")


def _run(program: str, *arguments: str) -> str:
    beside = Path(sys.executable).parent / program
    command: Sequence[str] = (str(beside) if beside.exists() else program, *arguments)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
