"""Overrides from the environment: `STT_MQTT__MQTT__HOST=broker.lan`.

A list is given as a whole, as YAML or JSON on one line:
`STT_MQTT__DEVICE_DEFAULTS__LANGUAGES='[en, de]'`. It replaces the list of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stt_mqtt.config.diagnostics import shown, unknown_key
from stt_mqtt.config.root import ROOT
from stt_mqtt.config.section import KeyType

PREFIX = "STT_MQTT__"
SEPARATOR = "__"


@dataclass(frozen=True, slots=True)
class Override:
    """One variable: the key that it sets, its text, and what is wrong with its name."""

    variable: str
    path: tuple[str, ...]
    text: str
    problem: str | None = None


def overrides(environ: Mapping[str, str]) -> Iterator[Override]:
    """The variables of stt-mqtt, in alphabetical order. Empty ones count as not set."""
    taken: dict[tuple[str, ...], str] = {}
    for variable in sorted(environ):
        if environ[variable] == "":
            continue
        if not variable.upper().startswith(PREFIX):
            meant = _meant(variable)
            if meant is not None:
                yield Override(variable, (), "", f"is not read; did you mean {meant}?")
            continue
        names = tuple(variable[len(PREFIX) :].lower().split(SEPARATOR))
        path, problem = _resolve(names)
        if problem is None and path in taken:
            problem = f"sets the same key as {shown(taken[path], quotes='')}"
        taken.setdefault(path, variable)
        yield Override(variable, path, environ[variable], problem)


def _meant(variable: str) -> str | None:
    """The correct name of a variable with a missing underscore, such as `STT_MQTT_MQTT__HOST`."""
    start, _, rest = variable.upper().partition(SEPARATOR)
    section = start.removeprefix("STT_MQTT_")
    lacks_one = section != start and rest != "" and section.lower() in ROOT.keys
    return f"{PREFIX}{section}{SEPARATOR}{rest}" if lacks_one else None


def _in_the_file(section: str) -> str:
    """The problem of a variable for free names."""
    if section == "devices":
        return "devices are set in the file; STT_MQTT__DEVICE_DEFAULTS__… is for all of them"
    return f"the names in {section} are set in the file"


def _resolve(names: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The path of the key for these names, and the problem if there is one."""
    key_type: KeyType = ROOT
    for depth, name in enumerate(names):
        if key_type.entries is not None:
            break
        if key_type.items is not None:
            whole = PREFIX + SEPARATOR.join(names[:depth]).upper()
            return names, f"a list is given as a whole, {whole}='[…, …]'"
        child = key_type.child(name)
        if child is None:
            above = ".".join(names[:depth])
            problem = f"there are no keys below {shown(above, quotes='')}"
            return names, unknown_key(name, key_type) if key_type.section else problem
        key_type = child
    if key_type.entries is not None:
        return names, _in_the_file(names[0])
    if key_type.short_form is not None:
        return (*names, key_type.short_form), None
    if key_type.section is not None:
        return names, f"is a section, append {SEPARATOR} and one of {', '.join(key_type.keys)}"
    return names, None
