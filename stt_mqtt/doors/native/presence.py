"""What a satellite tells of itself before it speaks, and who wants to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stt_mqtt.mqtt.json import parse_object

MAX_CHARACTERS = 64
"""Longer names of models and versions are cut."""


@dataclass(frozen=True, slots=True)
class SatelliteInfo:
    """What a satellite is, as its `satellite/state` has it. None: it does not say."""

    model: str | None = None
    version: str | None = None
    can_mute: bool = False
    """Whether it tells if its microphone is muted, so that it can be muted."""


class Presence(Protocol):
    """Whoever wants to know what the devices tell of themselves."""

    def availability_seen(self, name: str) -> None:
        """The device said `online` or `offline`."""

    def availability_cleared(self, name: str) -> None:
        """The device cleared what was retained there."""

    def satellite_seen(self, name: str, satellite: SatelliteInfo) -> None:
        """The device told what it is; `Satellite()`: it cleared what was retained there."""


def parse_satellite(payload: bytes) -> SatelliteInfo:
    """A message on `satellite/state`, an empty one too. Raises `BadPayloadError`.

    What it tells beside that is for others. A model or version that nobody could show is none.
    """
    fields = parse_object(payload)
    return SatelliteInfo(
        _shown(fields.get("model")),
        _shown(fields.get("version")),
        isinstance(fields.get("muted"), bool),
    )


def _shown(value: object) -> str | None:
    if not isinstance(value, str) or not value.isprintable():
        return None
    return value.strip()[:MAX_CHARACTERS].strip() or None
