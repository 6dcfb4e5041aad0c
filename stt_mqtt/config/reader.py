"""The configuration file and the environment to a `Config`, or to every mistake in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stt_mqtt.config.effects import without_effect
from stt_mqtt.config.environment import Override, overrides
from stt_mqtt.config.findings import Findings, KeyLocation, KeyPath
from stt_mqtt.config.messages import sentence, shown, unknown_key
from stt_mqtt.config.root import Config
from stt_mqtt.config.shapes import ROOT, SHORT_FORMS, Shape, shape_at
from stt_mqtt.config.yaml_nodes import NULLS, compose, is_bare, is_null
from stt_mqtt.errors import ConfigError

Values = dict[str, object]

_NO_MISTAKES = {"value_error", "default_factory_not_called"}
"""Rules, which have a round of their own, and defaults that follow from a wrong value."""


def read_config(text: str, source: str, environ: Mapping[str, str]) -> Config:
    """The configuration in the YAML `text`, with the overrides of `environ` on top.

    `source` is the file name for the messages. Raises ConfigError with all problems at once, each
    `source:line:column: key: message` or `environment NAME: message`.
    """
    findings = Findings(source)
    findings.values[()] = KeyLocation(False, 1, 1, f"{source}:1:1")
    values: Values = {}
    readable = True
    try:
        values = _read_root(compose(text, source), findings)
    except ConfigError as error:
        readable = False
        findings.problems.update(dict.fromkeys(error.problems, KeyLocation(False, 0, 0, source)))
    readable &= _apply_environment(values, environ, findings)
    config = _validate(values, findings, complete=readable)
    if config is None or findings.problems:
        raise ConfigError(findings.lines())
    return config


def _read_root(node: yaml.Node | None, findings: Findings) -> Values:
    if node is None or is_null(node):
        return {}
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, ROOT, (), findings)
    findings.report(findings.place(node, ()), "the file must consist of sections such as `mqtt:`")
    return {}


def _read_mapping(
    node: yaml.MappingNode, shape: Shape, path: KeyPath, findings: Findings
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


def _read_value(node: yaml.Node, shape: Shape, path: KeyPath, findings: Findings) -> object:
    """The value in the form that the model expects; a scalar stays text, read by its field.

    So `language: no` is Norwegian and `enabled: no` is false, and a password may be `0123`.
    """
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, shape, path, findings) if shape.nested else {}
    if isinstance(node, yaml.SequenceNode):
        return _read_list(node, shape.items, path, findings) if shape.items else []
    if is_null(node) and shape.items:
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


def _read_list(
    node: yaml.SequenceNode, items: Shape, path: KeyPath, findings: Findings
) -> list[object]:
    values: list[object] = []
    for number, item in enumerate(node.value):
        here = (*path, number)
        findings.values[here] = findings.place(item, here)
        values.append(_read_value(item, items, here, findings))
    return values


def _apply_environment(values: Values, environ: Mapping[str, str], findings: Findings) -> bool:
    """Puts the variables over `values`; false if one of them is unreadable."""
    readable = True
    for override in overrides(environ):
        label = f"environment {shown(override.variable, quotes='')}"
        place = KeyLocation(True, 0, 0, label)
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
        shape = shape_at(override.path)
        try:
            value = _of_variable(override, shape, findings.of_variable(label))
        except ConfigError as error:
            readable = False
            findings.problems.update(dict.fromkeys(error.problems, place))
        else:
            section[override.path[-1]] = value
            findings.values[override.path] = place
    return readable


def _of_variable(override: Override, shape: Shape, findings: Findings) -> object:
    """The value of a variable. Raises ConfigError where it should be a list and is not YAML."""
    if shape.items is None:
        return _scalar(override.text, shape)
    node = compose(override.text, findings.source)
    findings.forget(override.path)
    return [] if node is None else _read_value(node, shape, override.path, findings)


def _scalar(text: str, shape: Shape) -> str | None:
    """The value of a variable: as it is for texts, else as YAML reads it."""
    if shape.text:
        return text
    return None if text.strip() in NULLS else text.strip()


def _validate(values: Values, findings: Findings, *, complete: bool) -> Config | None:
    """The configuration, or None with the problems reported.

    Rules about a whole section run only when its values are fine, so a second round without the
    wrong values looks for broken rules; not when something is unreadable (`complete` false).
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        if complete:
            _report_useless(config, set(), findings)
        return config
    wrong = set()
    for details in errors:
        if details["type"] not in _NO_MISTAKES:
            wrong.add(_report(details, values, findings))
    if complete:
        _report_broken_rules(values, wrong, findings)
    return None


def _report(details: ErrorDetails, values: Values, findings: Findings) -> KeyPath:
    """Reports what is wrong with one value or name; returns its path, or that of its list."""
    path = _known(details["loc"], findings)
    places = findings.keys if details["loc"][-1] == "[key]" else findings.values
    findings.report(places[path], sentence(details, _value_at(values, path)))
    return tuple(takewhile(lambda key: isinstance(key, str), path))


def _report_broken_rules(values: Values, wrong: set[KeyPath], findings: Findings) -> None:
    """Reports rules between the keys of a section, at the last key that the rule names.

    A rule that names a key whose value is wrong is left alone: it may be a consequence.
    """
    try:
        config = Config.model_validate(_without(values, wrong))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        _report_useless(config, wrong, findings)
        return
    for details in errors:
        message = sentence(details, values)
        section = details["loc"]
        named = set(_named(message, section))
        if not named & wrong:
            written = named & set(findings.values) | {_known(section, findings)}
            findings.report(max(findings.values[path] for path in written), message)


def _report_useless(config: Config, wrong: set[KeyPath], findings: Findings) -> None:
    """Reports the keys that have no effect, unless the reason for it is wrong itself.

    What the file says may be made useless by the environment: that is what one overrides it for.
    """
    for found in without_effect(config):
        reason = findings.values.get(found.because)
        place = findings.values[_known(found.key, findings)]
        overridden = reason is not None and reason.from_environment
        if found.because in wrong or (overridden and not place.from_environment):
            continue
        if not place.from_environment:
            place = findings.keys.get(found.key, place)
        findings.report(place, found.message)


def _named(message: str, section: KeyPath) -> Iterator[KeyPath]:
    """What may be keys in a message about `section`, as `rungs[1].name`, with those above them."""
    for word in re.findall(r"\w+(?:\.\w+|\[\d+\])*", message):
        path = section
        for number, key in re.findall(r"\[(\d+)\]|(\w+)", word):
            path = (*path, int(number) if number else key)
            yield path


def _known(loc: tuple[int | str, ...], findings: Findings) -> KeyPath:
    """The longest beginning of `loc` that somebody wrote; at worst (), the file itself."""
    path = loc
    while path not in findings.values:
        path = path[:-1]
    return path


def _value_at(values: Values, path: KeyPath) -> object:
    value: object = values
    for key in path:
        if isinstance(value, list) and isinstance(key, int):
            value = value[key]
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _without(values: Values, paths: set[KeyPath], above: KeyPath = ()) -> Values:
    """A copy of `values` that lacks the keys at `paths`."""
    return {
        key: _without(value, paths, (*above, key)) if isinstance(value, dict) else value
        for key, value in values.items()
        if (*above, key) not in paths
    }
