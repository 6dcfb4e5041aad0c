"""The changes of a reload, and which of them need a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from stt_mqtt.config.devices import DeviceConfig, is_glob
from stt_mqtt.config.diagnostics import sentence
from stt_mqtt.config.root import Config
from stt_mqtt.config.section import Section
from stt_mqtt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Changes:
    """Dotted keys that differ, in the order of the file. No values: they may be secret."""

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]


def compare(old: Config, new: Config) -> Changes:
    """The keys in which `new` differs from the running `old`."""
    applied: list[str] = []
    needs_restart: list[str] = []
    for name in Config.model_fields:
        changed = applied if name not in Config.RESTART_SECTIONS else needs_restart
        changed.extend(_differences(getattr(old, name), getattr(new, name), name))
    return Changes(tuple(applied), tuple(needs_restart))


def merge(old: Config, new: Config) -> Config:
    """The effective configuration after a reload: `new`, with the restart sections of `old`.

    Raises ConfigError if the two are inconsistent, such as more devices than the old limits allow.
    """
    sections = {
        name: getattr(old if name in Config.RESTART_SECTIONS else new, name)
        for name in Config.model_fields
    }
    try:
        return Config.model_validate(sections)
    except ValidationError as error:
        broken = [sentence(details, sections) for details in error.errors(include_url=False)]
    raise ConfigError([f"{rule} before the restart that the change needs" for rule in broken])


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    if path == "devices" and isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _device_differences(old, new, path)
    elif isinstance(old, Section) and isinstance(new, Section):
        for name in type(new).model_fields:
            yield from _differences(getattr(old, name), getattr(new, name), f"{path}.{name}")
    elif isinstance(old, tuple) and isinstance(new, tuple) and _pair_up(old, new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, f"{path}[{number}]")
    elif old != new:
        yield path


def _pair_up(old: tuple[object, ...], new: tuple[object, ...]) -> bool:
    """Whether two lists can be compared item by item."""
    return len(old) == len(new) and all(isinstance(item, Section) for item in (*old, *new))


def _device_differences(
    old: Mapping[str, DeviceConfig], new: Mapping[str, DeviceConfig], path: str
) -> Iterator[str]:
    """Differences between entries: only the keys that an entry sets override the defaults."""
    if _common_globs(old, new) != _common_globs(new, old):
        yield path
    for device in dict.fromkeys((*old, *new)):
        if device not in old or device not in new:
            yield f"{path}.{device}"
            continue
        before, after = (entry[device].model_dump(exclude_unset=True) for entry in (old, new))
        for name in DeviceConfig.model_fields:
            if (name in before, before.get(name)) != (name in after, after.get(name)):
                yield f"{path}.{device}.{name}"


def _common_globs(
    these: Mapping[str, DeviceConfig], those: Mapping[str, DeviceConfig]
) -> list[str]:
    """The globs in both, in the order of `these`: the order is their precedence."""
    return [name for name in these if is_glob(name) and name in those]
