"""What a device may change of its settings over the wire, until the service restarts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from stt_mqtt.config import DeviceConfig


class Unchanged(Enum):
    """The one value that says: this setting was not mentioned."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A wish to change settings; None means back to the configured value."""

    enabled: bool | Unchanged | None = UNCHANGED
    language: str | Unchanged | None = UNCHANGED
    prompt: str | Unchanged | None = UNCHANGED


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """The settings in force."""

    enabled: bool
    language: str | None
    prompt: str | None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What was changed over the wire; None means as configured."""

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
        """The settings in force over the configured ones."""
        return DeviceSettings(
            enabled=config.enabled if self.enabled is None else self.enabled,
            language=config.language if self.language is None else self.language,
            prompt=config.prompt if self.prompt is None else self.prompt,
        )
