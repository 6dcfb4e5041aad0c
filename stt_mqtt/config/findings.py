"""What reading the configuration finds: where each key and value is, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import yaml

from stt_mqtt.config.messages import shown

KeyPath = tuple[str | int, ...]
"""Keys down to a value; a number is the place in a list, from 0."""


@dataclass(frozen=True, slots=True, order=True)
class KeyLocation:
    """Where something is written. Sorts as a person reads: the file, then the environment."""

    from_environment: bool
    line: int
    column: int
    label: str

    def says(self, message: str) -> str:
        """The finished line."""
        return f"{self.label}: {message}"


@dataclass(slots=True)
class Findings:
    """What was read so far: where each key and value is, and what is wrong."""

    source: str
    from_environment: bool = False
    keys: dict[KeyPath, KeyLocation] = field(default_factory=dict)
    values: dict[KeyPath, KeyLocation] = field(default_factory=dict)
    problems: dict[str, KeyLocation] = field(default_factory=dict)

    def place(self, node: yaml.Node, path: KeyPath) -> KeyLocation:
        """The start of a node of the file, which is about the key at `path`."""
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        key = dotted(path)
        where = self.source if self.from_environment else f"{self.source}:{line}:{column}"
        return KeyLocation(self.from_environment, line, column, f"{where}: {key}" if key else where)

    def of_variable(self, label: str) -> Findings:
        """The same findings, for reading a value in the environment."""
        return replace(self, source=label, from_environment=True)

    def forget(self, path: KeyPath) -> None:
        """Forgets where the values below `path` are: something else takes their place."""
        for known in [known for known in self.values if known[: len(path)] == path]:
            del self.values[known]

    def report(self, place: KeyLocation, message: str) -> None:
        """Remembers a problem, once."""
        self.problems.setdefault(place.says(message), place)

    def lines(self) -> list[str]:
        """The problems in the order of the file."""
        return sorted(self.problems, key=lambda line: self.problems[line])


def dotted(path: KeyPath) -> str:
    """The path as a person writes it: `ladder.rungs[1].name`."""
    parts = (
        f"[{key}]" if isinstance(key, int) else "." + shown(key.partition(":")[0], quotes="")
        for key in path
    )
    return "".join(parts).removeprefix(".")
