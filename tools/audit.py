"""Asks an advisory database about the packages of the images: `python -m tools.audit`.

Needs the program pip-audit. A known vulnerability that a release mends is a failure; one without a
mend is told. Where no database can be reached, that is said and nothing fails.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.lock import ADDON, CONTAINER

TIMEOUT_S = 120.0
UNREACHABLE = ("connect", "timed out", "server error")
"""What pip-audit says if it gets no answer from the database."""


def main() -> int:
    """Audit all locks. Returns the exit status."""
    beside = Path(sys.executable).with_name("pip-audit")
    program = str(beside) if beside.exists() else shutil.which("pip-audit")
    if program is None:
        print("audit: pip-audit is missing: pip install pip-audit", file=sys.stderr)
        return 2
    return max(judged(lock.file.name, asked(program, lock.file)) for lock in (CONTAINER, ADDON))


def asked(program: str, lock: Path) -> Sequence[Mapping[str, Any]] | None:
    """What the database says of each package. None: it cannot be reached."""
    command = (
        program, "--requirement", str(lock), "--require-hashes", "--disable-pip",
        "--format=json", "--progress-spinner=off",
    )  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if not done.stdout:
        if not any(sign in done.stderr.casefold() for sign in UNREACHABLE):
            raise SystemExit(f"audit of {lock.name}: {done.stderr}")
        return None
    found: list[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    return found if any("vulns" in one for one in found) else None


def judged(name: str, found: Sequence[Mapping[str, Any]] | None) -> int:
    """Say what was found in a lock; 1 if something in it can be mended."""
    if found is None:
        print(f"audit of {name}: SKIPPED, no advisory database can be reached")
        return 0
    known = [one for one in found if "vulns" in one]
    print(f"audit of {name}: {len(known)} of {len(found)} packages are known to the database")
    status = 0
    for one in known:
        for vulnerability in one["vulns"]:
            mends = vulnerability["fix_versions"]
            status = 1 if mends else status
            mend = f"mended in {', '.join(mends)}" if mends else "not mended yet"
            print(f"{one['name']} {one['version']}: {vulnerability['id']}, {mend}")
    return status


if __name__ == "__main__":
    sys.exit(main())
