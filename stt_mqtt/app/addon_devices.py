"""The add-on's option `devices`: a list of satellites, each with the settings of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stt_mqtt.config.diagnostics import PATTERNS, dotted, shown
from stt_mqtt.config.root import NAME_PATTERN

OPTION = "devices"
NAME = "name"
KEYS = ("enabled", "language", "prompt", "gap_timeout_ms", "codec", "rate")
"""Keys beside the name, each as under `devices:` of the YAML file."""
NOT_SET = (None, "", "null")
"""`null` as a word is what shell scripts make of an option that is not there."""


@dataclass(slots=True)
class DeviceOptions:
    """What the list says."""

    section: dict[str, object] = field(default_factory=dict)
    """The devices as the YAML file would list them."""
    problems: list[str] = field(default_factory=list)
    option_of: dict[str, str] = field(default_factory=dict)
    """Where in the list each key of the section comes from, dotted."""


def device_options(value: object) -> DeviceOptions:
    """The list as a section of the configuration; its values are not validated."""
    found = DeviceOptions()
    if value in NOT_SET:
        return found
    if not isinstance(value, list):
        found.problems.append(f"{OPTION}: must be a list, one entry for each device")
        return found
    for number, entry in enumerate(value):
        _take(f"{OPTION}[{number}]", entry, found)
    return found


def _take(place: str, entry: object, found: DeviceOptions) -> None:
    if not isinstance(entry, dict):
        found.problems.append(f"{place}: must be a name with settings below it")
        return
    name = entry.get(NAME)
    if name in NOT_SET:
        found.problems.append(f"{place}: lacks its name")
    elif not isinstance(name, str) or re.fullmatch(NAME_PATTERN, name) is None:
        found.problems.append(f"{place}.{NAME}: {PATTERNS['[key]']}")
    elif name in found.section:
        first = found.option_of[dotted((OPTION, name))]
        found.problems.append(f"{place}.{NAME}: is the name of {first} too")
    else:
        found.section[name] = {
            key: {} if isinstance(entry[key], list | dict) else entry[key]
            for key in KEYS
            if key in entry and entry[key] not in NOT_SET
        }
        found.option_of.setdefault(dotted((OPTION, name)), place)
        for key in KEYS:
            found.option_of.setdefault(dotted((OPTION, name, key)), f"{place}.{key}")
    for key in entry:
        if key != NAME and key not in KEYS:
            known = ", ".join((NAME, *KEYS))
            found.problems.append(
                f"{place}.{shown(key, quotes='')}: there is no such key; known are {known}"
            )
