"""The add-on's files, as the Supervisor sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ADDON = ROOT / "addon" / "stt_mqtt"
ROOTFS = ADDON / "rootfs"
SERVICES = ROOTFS / "etc" / "s6-overlay" / "s6-rc.d"

MANIFEST: dict[str, Any] = yaml.safe_load((ADDON / "config.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, str | list[str]] = MANIFEST["schema"]
DEFAULTS: dict[str, object] = MANIFEST["options"]


def element(option: str) -> str:
    """The type of an option, or of the items of a list."""
    found = SCHEMA[option]
    return found[0] if isinstance(found, list) else found
