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
SCHEMA: dict[str, Any] = MANIFEST["schema"]
DEFAULTS: dict[str, object] = MANIFEST["options"]


DEVICE_SCHEMA: dict[str, str] = SCHEMA["devices"][0]


def element(option: str) -> str:
    """The type of an option, or of the items of a list of texts."""
    found = SCHEMA[option]
    (kind,) = found if isinstance(found, list) else [found]
    return kind if isinstance(kind, str) else ""
