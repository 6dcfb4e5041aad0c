"""The locks of the images as their installer reads them."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HASH = re.compile(r" --hash=sha256:[0-9a-f]{64}")


def locked(file: Path) -> dict[str, Requirement]:
    """The requirements of a lock by name. Each must have hashes and be one exact version."""
    text = file.read_text(encoding="utf-8").replace("\\\n   ", "")
    found: dict[str, Requirement] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        bare, hashes = HASH.subn("", line)
        requirement = Requirement(bare)
        assert hashes, f"{requirement.name} has no hash"
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement.name
        found[canonicalize_name(requirement.name)] = requirement
    return found


def version_of(requirement: Requirement) -> str:
    """The one version of a locked requirement."""
    (specifier,) = requirement.specifier
    return specifier.version
