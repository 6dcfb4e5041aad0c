"""The configuration file and the environment to a `Config`, or to every mistake in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stt_mqtt.config.environment import overrides
from stt_mqtt.config.messages import sentence, shown, unknown_key
from stt_mqtt.config.root import Config
from stt_mqtt.config.shapes import ROOT, SHORT_FORMS, Shape, shape_at
from stt_mqtt.config.yaml_nodes import NULLS, compose, is_bare, is_null
from stt_mqtt.errors import ConfigError

KeyPath = tuple[str, ...]
Values = dict[str, object]


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where something is written. Sorts as a person reads: the file, then the environment."""

    from_environment: bool
    line: int
    column: int
    label: str

    def says(self, message: str) -> str:
        """The finished line."""
        return f"{self.label}: {message}"


@dataclass(slots=True)
class _Findings:
    """What was read so far: where each key and value is, and what is wrong."""

    source: str
    keys: dict[KeyPath, _Place] = field(default_factory=dict)
    values: dict[KeyPath, _Place] = field(default_factory=dict)
    problems: dict[str, _Place] = field(default_factory=dict)

    def place(self, node: yaml.Node, path: KeyPath) -> _Place:
        """The start of a node of the file, which is about the key at `path`."""
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        key = ".".join(shown(name.partition(":")[0], quotes="") for name in path)
        where = f"{self.source}:{line}:{column}"
        return _Place(False, line, column, f"{where}: {key}" if key else where)

    def report(self, place: _Place, message: str) -> None:
        """Remembers a problem, once."""
        self.problems.setdefault(place.says(message), place)

    def lines(self) -> list[str]:
        """The problems in the order of the file."""
        return sorted(self.problems, key=lambda line: self.problems[line])


def read_config(text: str, source: str, environ: Mapping[str, str]) -> Config:
    """The configuration in the YAML `text`, with the overrides of `environ` on top.

    `source` is the file name for the messages. Raises ConfigError with all problems at once, each
    `source:line:column: key: message` or `environment NAME: message`.
    """
    findings = _Findings(source)
    findings.values[()] = _Place(False, 1, 1, f"{source}:1:1")
    values: Values = {}
    readable = True
    try:
        values = _read_root(compose(text, source), findings)
    except ConfigError as error:
        readable = False
        findings.problems.update(dict.fromkeys(error.problems, _Place(False, 0, 0, source)))
    _apply_environment(values, environ, findings)
    config = _validate(values, findings, complete=readable)
    if config is None or findings.problems:
        raise ConfigError(findings.lines())
    return config


def _read_root(node: yaml.Node | None, findings: _Findings) -> Values:
    if node is None or is_null(node):
        return {}
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, ROOT, (), findings)
    findings.report(findings.place(node, ()), "the file must consist of sections such as `mqtt:`")
    return {}


def _read_mapping(
    node: yaml.MappingNode, shape: Shape, path: KeyPath, findings: _Findings
) -> Values:
    """The keys that `shape` knows, each once; the others become problems."""
    values: Values = {}
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            findings.report(findings.place(key_node, path), "a key must be a plain word")
            continue
        key: str = key_node.value
        here = (*path, key)
        place = findings.place(key_node, here)
        child = shape.child(key)
        if key in first_lines:
            findings.report(place, f"is given twice, first in line {first_lines[key]}")
        elif child is None and node.flow_style and is_bare(value_node):
            # `{password: my,secret}`: the key may be half of a secret.
            findings.report(
                findings.place(key_node, path), "a key without a value; quotes missing?"
            )
        elif child is None:
            findings.report(place, unknown_key(key, shape))
        else:
            findings.keys[here] = place
            findings.values[here] = findings.place(value_node, here)
            values[key] = _read_value(value_node, child, here, findings)
        first_lines.setdefault(key, place.line)
    return values


def _read_value(node: yaml.Node, shape: Shape, path: KeyPath, findings: _Findings) -> object:
    """The value in the form that the model expects; a scalar stays text, read by its field.

    So `language: no` is Norwegian and `enabled: no` is false, and a password may be `0123`.
    """
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, shape, path, findings) if shape.nested else {}
    if not isinstance(node, yaml.ScalarNode):
        return []
    if is_null(node):
        # A section whose keys are all commented out is there, and empty.
        return {} if shape.nested and (is_bare(node) or not shape.optional) else None
    if shape.section in SHORT_FORMS:
        key = SHORT_FORMS[shape.section]
        findings.values[*path, key] = findings.place(node, path)
        return {key: node.value}
    text: str = node.value
    return text


def _apply_environment(values: Values, environ: Mapping[str, str], findings: _Findings) -> None:
    for override in overrides(environ):
        label = f"environment {shown(override.variable, quotes='')}"
        place = _Place(True, 0, 0, label)
        if override.problem is not None:
            findings.report(place, override.problem)
            continue
        section = values
        for name in override.path[:-1]:
            if section.get(name) is None:
                section[name] = {}
            below = section[name]
            # Not a section in the file: validation tells.
            section = below if isinstance(below, dict) else {}
        section[override.path[-1]] = _scalar(override.text, shape_at(override.path))
        findings.values[override.path] = place


def _scalar(text: str, shape: Shape) -> str | None:
    """The value of a variable: as it is for texts, else as YAML reads it."""
    if shape.text:
        return text
    return None if text.strip() in NULLS else text.strip()


def _validate(values: Values, findings: _Findings, *, complete: bool) -> Config | None:
    """The configuration, or None with the problems reported.

    Rules about a whole section run only when its values are fine, so a second round without the
    wrong values looks for broken rules; not when the file is unreadable (`complete` false).
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    wrong = set()
    for details in errors:
        if details["type"] != "value_error":
            wrong.add(_report(details, values, findings))
    if complete:
        _report_broken_rules(values, wrong, findings)
    return None


def _report(details: ErrorDetails, values: Values, findings: _Findings) -> KeyPath:
    """Reports what is wrong with one value or name; returns its path."""
    path = _known(details["loc"], findings)
    places = findings.keys if details["loc"][-1] == "[key]" else findings.values
    findings.report(places[path], sentence(details, _value_at(values, path)))
    return path


def _report_broken_rules(values: Values, wrong: set[KeyPath], findings: _Findings) -> None:
    """Reports rules between the keys of a section, at the last key that the rule names.

    A rule that names a key whose value is wrong is left alone: it may be a consequence.
    """
    try:
        Config.model_validate(_without(values, wrong))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        return
    for details in errors:
        message = sentence(details, values)
        section = tuple(str(part) for part in details["loc"])
        named = {(*section, word) for word in re.findall(r"\w+", message)}
        if not named & wrong:
            written = named & set(findings.values) | {_known(section, findings)}
            findings.report(max(findings.values[path] for path in written), message)


def _known(loc: tuple[int | str, ...], findings: _Findings) -> KeyPath:
    """The longest beginning of `loc` that somebody wrote; at worst (), the file itself."""
    path = tuple(str(part) for part in loc)
    while path not in findings.values:
        path = path[:-1]
    return path


def _value_at(values: Values, path: KeyPath) -> object:
    value: object = values
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _without(values: Values, paths: set[KeyPath], above: KeyPath = ()) -> Values:
    """A copy of `values` that lacks the keys at `paths`."""
    return {
        key: _without(value, paths, (*above, key)) if isinstance(value, dict) else value
        for key, value in values.items()
        if (*above, key) not in paths
    }
