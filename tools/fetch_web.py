"""Fetches what the pages take from npm, and checks it: `python -m tools.fetch_web [--check]`.

`stt_mqtt/doors/web/assets/vendor/manifest.json` names each file with its package, version, licence
and SHA-256. `--check` compares the files in the tree and fetches nothing.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import stt_mqtt

VENDOR = Path(stt_mqtt.__file__).parent / "doors" / "web" / "assets" / "vendor"
MANIFEST = VENDOR / "manifest.json"


@dataclass(frozen=True, slots=True)
class VendoredFile:
    """One file of a package of npm. `source`: its path there. `path`: below `VENDOR`."""

    package: str
    version: str
    licence: str
    source: str
    path: str
    sha256: str


def vendored_files() -> list[VendoredFile]:
    """What the manifest lists."""
    return [VendoredFile(**row) for row in json.loads(MANIFEST.read_text(encoding="utf-8"))]


def differs(file: VendoredFile, data: bytes) -> bool:
    """Whether `data` is another file than the manifest says."""
    return hashlib.sha256(data).hexdigest() != file.sha256


def fetch(file: VendoredFile) -> bytes:
    """The file from the package registry. Raises CalledProcessError or KeyError."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"{file.package}@{file.version}"
        command = ["npm", "pack", "--silent", "--pack-destination", folder, name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as package:
            member = package.extractfile(f"package/{file.source}")
            assert member is not None
            return member.read()


def main() -> int:
    """Return 1 if a file is not the one of the manifest."""
    only_check = sys.argv[1:] == ["--check"]
    wrong = []
    for file in vendored_files():
        target = VENDOR / file.path
        data = target.read_bytes() if only_check else fetch(file)
        if differs(file, data):
            wrong.append(file.path)
        elif not only_check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    for path in wrong:
        sys.stderr.write(f"{path}: its SHA-256 is not that of {MANIFEST.name}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
