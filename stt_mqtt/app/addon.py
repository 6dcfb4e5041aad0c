"""Converts the options of the Home Assistant add-on to a configuration."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stt_mqtt.config import Config, read_config
from stt_mqtt.config.diagnostics import PATTERNS, dotted, shown
from stt_mqtt.config.environment import PREFIX
from stt_mqtt.config.root import NAME_PATTERN
from stt_mqtt.errors import ConfigError

WYOMING_URI = "tcp://0.0.0.0:10300"
"""Where Wyoming listens. The container has its own network."""
WEB = {"enabled": True, "host": "0.0.0.0", "port": 10380, "ingress": True}  # noqa: S104
"""The pages. The Supervisor reaches them from its own container, and lets in nobody else."""

OPTIONS: dict[str, tuple[str, str]] = {
    "model": ("engine", "model"),
    "language": ("device_defaults", "language"),
    "languages": ("device_defaults", "languages"),
    "hotwords": ("device_defaults", "hotwords"),
    "mqtt_host": ("mqtt", "host"),
    "mqtt_port": ("mqtt", "port"),
    "mqtt_username": ("mqtt", "username"),
    "mqtt_password": ("mqtt", "password"),
    "base_topic": ("mqtt", "base_topic"),
    "homeassistant": ("homeassistant", "enabled"),
    "hermes": ("hermes", "enabled"),
    "phrases": ("phrases", "builtin"),
    "show_text": ("web", "show_text"),
    "rooms": ("web", "rooms"),
    "gap_timeout_ms": ("device_defaults", "gap_timeout_ms"),
    "max_utterance_s": ("limits", "max_utterance_s"),
    "workers": ("engine", "workers"),
    "log_level": ("log", "level"),
}
"""The section and key for each option except `devices`."""
DEVICES = "devices"
DEVICE_KEYS = ("enabled", "language", "prompt", "area", "gap_timeout_ms", "codec", "rate")
"""Keys of a device beside its name, as under `devices:` in the YAML file."""
NOT_SET = (None, "", "null")
"""Values that mean "not set". Shell scripts turn a missing option into the word `null`. A list that
holds nothing else is not set either: the form leaves an empty one behind."""
KNOWN = (*OPTIONS, DEVICES)
"""All options, in their order on the form."""

_MAX_OPTIONS_BYTES = 1024 * 1024
_LOGIN = ("USERNAME", "PASSWORD")
_BROKER = ("HOST", "PORT", *_LOGIN, "TLS__CA_FILE", "TLS__CERT_FILE", "TLS__KEY_FILE")
_REPLACED = {
    "mqtt_host": _BROKER,
    "mqtt_port": ("PORT",),
    "mqtt_username": _LOGIN,
    "mqtt_password": _LOGIN,
}
"""The environment variables that each option replaces. User name and password belong together, and
a broker must not get the login of another one."""
_OPTION_OF = {".".join(key): option for option, key in OPTIONS.items()}


@dataclass(frozen=True, slots=True)
class AddonSource:
    """The options file of the Supervisor, and the environment with the broker of the Supervisor.

    The broker of the environment is used if the options name none.
    """

    path: Path
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def load(self) -> Config:
        """Read the configuration. Raises `ConfigError` with all problems, named by option."""
        options = self._options()
        devices = _device_options(options.get(DEVICES))
        problems = [
            f"{self.path}: {problem}" for problem in (*_unknown(options), *devices.problems)
        ]
        text = _flow(_sections(options, devices))
        environ = _environment(options, self.environ)
        option_of = {**_OPTION_OF, **devices.option_of}
        try:
            config = read_config(text, str(self.path), environ)
        except ConfigError as error:
            problems += [self._by_option(problem, option_of) for problem in error.problems]
        if problems:
            raise ConfigError(problems)
        return config

    def _options(self) -> dict[str, object]:
        try:
            with self.path.open("rb") as file:
                data = file.read(_MAX_OPTIONS_BYTES + 1)
            options = json.loads(data) if len(data) <= _MAX_OPTIONS_BYTES else None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError([f"{self.path}: the options cannot be read: {reason}"]) from error
        except (ValueError, RecursionError) as error:
            raise ConfigError([f"{self.path}: the options are not JSON"]) from error
        if not isinstance(options, dict):
            raise ConfigError([f"{self.path}: the options must be one JSON object, up to 1 MiB"])
        return options

    def _by_option(self, problem: str, option_of: Mapping[str, str]) -> str:
        """The problem, with the key replaced by the option."""
        place = re.match(rf"{re.escape(str(self.path))}:\d+:\d+: (.*)", problem, re.DOTALL)
        if place is None:
            return problem
        key, colon, message = place[1].partition(": ")
        item = "" if key in option_of else "".join(re.findall(r"\[\d+\]$", key))
        key = key.removesuffix(item)
        if key not in option_of:
            return problem
        said = re.sub(r"\w+\.\w+", lambda word: _OPTION_OF.get(word[0], word[0]), message)
        return f"{self.path}: {option_of[key]}{item}{colon}{said}"


def _sections(options: Mapping[str, object], devices: _DeviceOptions) -> dict[str, object]:
    """Convert options to YAML sections, without validation. Unknown options are left out.

    Null, an empty text, an empty list and the word `null` mean "not set". Wyoming is always
    enabled, because the Supervisor announces it to Home Assistant, and the pages are, because
    Docker asks them for the health of the service.
    """
    sections: dict[str, dict[str, object]] = {
        "wyoming": {"listen": [WYOMING_URI], "zeroconf": False},
        "web": dict(WEB),
    }
    for option, (section, key) in OPTIONS.items():
        if _is_set(options, option):
            sections.setdefault(section, {})[key] = _plain(options[option])
    return {**sections, **({DEVICES: devices.section} if devices.section else {})}


def _environment(options: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that the options replace."""
    replaced = {
        f"{PREFIX}MQTT__{name}"
        for option, names in _REPLACED.items()
        if _is_set(options, option)
        for name in names
    }
    return {name: value for name, value in environ.items() if name.upper() not in replaced}


@dataclass(slots=True)
class _DeviceOptions:
    """The parsed option `devices`."""

    section: dict[str, object] = field(default_factory=dict)
    """The section `devices` as in the YAML file."""
    problems: list[str] = field(default_factory=list)
    option_of: dict[str, str] = field(default_factory=dict)
    """The dotted place in the list that each key of the section comes from."""


def _device_options(value: object) -> _DeviceOptions:
    """Convert the list to a section of the configuration, without validation of values."""
    found = _DeviceOptions()
    if value in NOT_SET:
        return found
    if not isinstance(value, list):
        found.problems.append(f"{DEVICES}: must be a list, one entry for each device")
        return found
    for number, entry in enumerate(value):
        _take_device(f"{DEVICES}[{number}]", entry, found)
    return found


def _take_device(place: str, entry: object, found: _DeviceOptions) -> None:
    if not isinstance(entry, dict):
        found.problems.append(f"{place}: must be a name with settings below it")
        return
    name = entry.get("name")
    if name in NOT_SET:
        found.problems.append(f"{place}: lacks its name")
    elif not isinstance(name, str) or re.fullmatch(NAME_PATTERN, name) is None:
        found.problems.append(f"{place}.name: {PATTERNS['devices[key]']}")
    elif name in found.section:
        first = found.option_of[dotted((DEVICES, name))]
        found.problems.append(f"{place}.name: is the name of {first} too")
    else:
        found.section[name] = {
            key: {} if isinstance(entry[key], list | dict) else entry[key]
            for key in DEVICE_KEYS
            if key in entry and entry[key] not in NOT_SET
        }
        found.option_of.setdefault(dotted((DEVICES, name)), place)
        for key in DEVICE_KEYS:
            found.option_of.setdefault(dotted((DEVICES, name, key)), f"{place}.{key}")
    for key in entry:
        if key != "name" and key not in DEVICE_KEYS:
            known = ", ".join(("name", *DEVICE_KEYS))
            found.problems.append(
                f"{place}.{shown(key, quotes='')}: there is no such key; known are {known}"
            )


def _unknown(options: Mapping[str, object]) -> list[str]:
    return [
        f"{shown(name, quotes='')}: there is no such option; known are {', '.join(KNOWN)}"
        for name in options
        if name not in KNOWN
    ]


def _is_set(options: Mapping[str, object], option: str) -> bool:
    value = options.get(option)
    is_empty = isinstance(value, list) and not _without_unset(value)
    return value not in NOT_SET and not is_empty


def _plain(value: object) -> object:
    """A scalar, or a list without unset items. A nested value becomes `{}`, which is refused."""
    if isinstance(value, list):
        return [{} if isinstance(item, list | dict) else item for item in _without_unset(value)]
    return {} if isinstance(value, dict) else value


def _without_unset(items: list[object]) -> list[object]:
    return [item for item in items if item not in NOT_SET]


def _flow(value: object) -> str:
    """YAML on one line. JSON is not suitable: some of its escapes are not valid in YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    plain = character.isascii() and character.isprintable() and character not in '"\\'
    return character if plain else f"\\U{ord(character):08X}"
