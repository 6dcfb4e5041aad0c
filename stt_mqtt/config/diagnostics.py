"""Collects all mistakes in the configuration, with their place and a message.

No message contains a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import yaml
from pydantic_core import ErrorDetails

from stt_mqtt.config.root import ROOT
from stt_mqtt.config.section import KeyType

MAX_SHOWN = 60
"""Most characters of a key or value in a message."""

_SENTENCES = {
    "bool": "must be true or false",
    "enum": "must be text",
    "dict": "must be a section with keys below it",
    "finite": "must be a number",
    "float": "must be a number",
    "int": "must be a whole number",
    "model": "must be a section with keys below it",
    "string": "must be text",
    "tuple": "must be a list, as in [a, b] or one - per line",
}
_TOPIC = "must be levels of A-Z a-z 0-9 _ . - with / between them, without wildcards"
PATTERNS = {
    "names[key]": "a list has a name of 1 to 64 of A-Z a-z 0-9 _ -",
    "devices[key]": "a device name has 1 to 64 of A-Z a-z 0-9 _ . - : (a glob also * ? [ ] !)",
    "base_topic": _TOPIC,
    "device": "a satellite's name has 1 to 64 of A-Z a-z 0-9 _ . -",
    "discovery_prefix": _TOPIC,
    "compute_type": "must be a name such as int8 or float32",
    "language": "must be a language tag such as en or pt-BR",
    "languages": "must be a language tag such as en or pt-BR",
    "listen": "must be tcp://HOST:PORT, unix:///path/to/socket or stdio://",
    "name": "a rung's name has 1 to 32 of A-Z a-z 0-9 _ . -",
    "fleet.name": "a fleet's name has 1 to 32 of A-Z a-z 0-9 _ -",
    "node": "the name of a process has 1 to 32 of A-Z a-z 0-9 _ -",
    "rooms": "a room is a device name of 1 to 64 of A-Z a-z 0-9 _ . - (a glob also * ? [ ] !)",
    "servers": "must be nats://HOST:PORT or tls://HOST:PORT",
    "rung": "must be auto or the name of a rung",
    "url": "must be http:// or https://, a host and a port, as in http://homeassistant.local:8123",
    "wake_topic": "must be a topic or a filter with whole levels + and #, as in a/+/detected",
}
"""What to write instead, for each pattern in the models."""

KeyPath = tuple[str | int, ...]
"""Keys down to a value. A number is an index in a list."""


@dataclass(frozen=True, slots=True, order=True)
class KeyLocation:
    """Where a key or value is written. Sorts by place in the file, then the environment."""

    from_environment: bool
    line: int
    column: int
    label: str


@dataclass(slots=True)
class Diagnostics:
    """The places of all keys and values read so far, and the problems."""

    source: str
    from_environment: bool = False
    keys: dict[KeyPath, KeyLocation] = field(default_factory=dict)
    values: dict[KeyPath, KeyLocation] = field(default_factory=dict)
    problems: dict[str, KeyLocation] = field(default_factory=dict)

    def place(self, node: yaml.Node, path: KeyPath) -> KeyLocation:
        """The place of a node in the file, for the key at `path`."""
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        key = dotted(path)
        where = self.source if self.from_environment else f"{self.source}:{line}:{column}"
        return KeyLocation(self.from_environment, line, column, f"{where}: {key}" if key else where)

    def of_variable(self, label: str) -> Diagnostics:
        """A view of these diagnostics for a value in the environment."""
        return replace(self, source=label, from_environment=True)

    def forget(self, path: KeyPath) -> None:
        """Remove the places of values below `path`, which are overridden."""
        for known in [known for known in self.values if known[: len(path)] == path]:
            del self.values[known]

    def report(self, place: KeyLocation, message: str) -> None:
        """Add a problem, unless it is already there."""
        self.problems.setdefault(f"{place.label}: {message}", place)

    def lines(self) -> list[str]:
        """The problems in the order of the file."""
        return sorted(self.problems, key=lambda line: self.problems[line])


def dotted(path: KeyPath) -> str:
    """The path as text, such as `ladder.rungs[1].name`."""
    parts = (
        f"[{key}]" if isinstance(key, int) else "." + shown(key.partition(":")[0], quotes="")
        for key in path
    )
    return "".join(parts).removeprefix(".")


def unknown_key(key: str, key_type: KeyType) -> str:
    """The message for a `key` that the section `key_type` does not have, with a suggestion."""
    name, _, rest = key.partition(":")
    if rest:
        # `password:hunter2`: the rest is the value and may be a secret.
        return f"unknown key {shown(name)}, a space is missing after its colon"
    start = f"unknown key {shown(key)}"
    wanted = key.lower().replace("-", "_")
    if wanted in key_type.keys:
        return f"{start}, did you mean '{wanted}'?"
    homes = _homes(wanted)
    if homes:
        return f"{start}, it belongs {homes}"
    return start + _guess(wanted, key_type.keys)


def sentence(error: ErrorDetails, value: object) -> str:
    """The message for an error of pydantic about `value`."""
    kind = error["type"]
    context = error.get("ctx", {})
    general = _SENTENCES.get(kind.partition("_")[0], "cannot be used here")
    if value is None:
        return f"is empty, {general}"
    match kind:
        case "value_error":
            message = str(context["error"])
        case "string_pattern_mismatch":
            message = PATTERNS[_pattern_name(error["loc"])]
        case "enum" if isinstance(value, str):
            choices = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
            message = f"{shown(value)} is not known{_guess(value.lower(), choices)}"
        case "greater_than_equal":
            message = f"{shown(value, quotes='')} is too small, at least {context['ge']:.12g}"
        case "less_than_equal":
            message = f"{shown(value, quotes='')} is too large, at most {context['le']:.12g}"
        case "string_too_short":
            message = "must not be empty"
        case "string_too_long":
            message = f"is too long, at most {context['max_length']} characters"
        case "too_long":
            message = f"has too many entries, at most {context['max_length']}"
        case "missing":
            message = f"lacks its {error['loc'][-1]}"
        case "string_unicode":
            message = "has characters that are not valid Unicode"
        case _:
            message = general
    return message


def _pattern_name(loc: tuple[int | str, ...]) -> str:
    """The key with a pattern. The names of `devices` end in their section and `[key]`."""
    keys = [part for part in loc if isinstance(part, str)]
    path = ".".join(keys)
    if path in PATTERNS:
        return path
    return f"{keys[-3]}[key]" if keys[-1] == "[key]" else keys[-1]


def shown(value: object, quotes: str = "'") -> str:
    """A key or value on one line, in quotes, shortened and without control characters."""
    text = str(value)
    if len(text) > MAX_SHOWN:
        text = text[: MAX_SHOWN - 1] + "…"
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return f"{quotes}{safe}{quotes}"


def _guess(wanted: str, known: Sequence[str]) -> str:
    close = get_close_matches(wanted[:MAX_SHOWN], known, n=1)
    return f", did you mean '{close[0]}'?" if close else f"; known are {', '.join(known)}"


def _homes(key: str) -> str:
    """The sections that have `key`, as the end of a sentence; empty if there are none."""
    if key in ROOT.keys:
        return "at the top level"
    sections = [
        name for name in ROOT.keys if (child := ROOT.child(name)) is not None and key in child.keys
    ]
    return "under " + " or ".join(f"'{name}'" for name in sections) if sections else ""
