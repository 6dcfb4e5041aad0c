"""Settings of a device that can be changed over the wire until the service restarts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Final

from stt_mqtt.config import DeviceConfig


class Unchanged(Enum):
    """The type of `UNCHANGED`, which stands for a setting that was not mentioned."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A request to change settings. None: return to the configured value."""

    enabled: bool | Unchanged | None = UNCHANGED
    language: str | Unchanged | None = UNCHANGED
    prompt: str | Unchanged | None = UNCHANGED

    @property
    def names(self) -> frozenset[str]:
        """The settings that it changes."""
        names = (field.name for field in fields(self))
        return frozenset(name for name in names if getattr(self, name) is not UNCHANGED)

    def without(self, names: Collection[str]) -> SettingsChange:
        """The same change, but for the settings with these names."""
        return replace(self, **dict.fromkeys(names, UNCHANGED))


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """The effective settings of a device."""

    enabled: bool
    language: str | None
    prompt: str | None


@dataclass(frozen=True, slots=True)
class Overrides:
    """The settings that were changed over the wire. None: as configured."""

    enabled: bool | None = None
    language: str | None = None
    prompt: str | None = None

    def changed_by(self, change: SettingsChange) -> Overrides:
        """The overrides after `change`."""
        result = self
        if change.enabled is not UNCHANGED:
            result = replace(result, enabled=change.enabled)
        if change.language is not UNCHANGED:
            result = replace(result, language=change.language)
        if change.prompt is not UNCHANGED:
            result = replace(result, prompt=change.prompt)
        return result

    def over(self, config: DeviceConfig) -> DeviceSettings:
        """The effective settings: these overrides applied to the configured settings."""
        return DeviceSettings(
            enabled=config.enabled if self.enabled is None else self.enabled,
            language=config.language if self.language is None else self.language,
            prompt=config.prompt if self.prompt is None else self.prompt,
        )
