"""Reads the configuration file and the environment into a `Config`, or reports every mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stt_mqtt.config.diagnostics import (
    Diagnostics,
    KeyLocation,
    KeyPath,
    sentence,
    shown,
    unknown_key,
)
from stt_mqtt.config.effects import without_effect
from stt_mqtt.config.environment import Override, overrides
from stt_mqtt.config.root import ROOT, Config, type_at
from stt_mqtt.config.section import KeyType
from stt_mqtt.config.yaml_nodes import NULLS, compose, is_bare, is_null
from stt_mqtt.errors import ConfigError

Values = dict[str, object]

_NO_MISTAKES = {"value_error", "default_factory_not_called"}
"""Errors that may follow from a wrong value: rules between keys, and computed defaults."""


def read_config(text: str, source: str, environ: Mapping[str, str]) -> Config:
    """The configuration in the YAML `text`, with the overrides of `environ` on top.

    `source` is the file name for the messages. Raises ConfigError with all problems at once, each
    `source:line:column: key: message` or `environment NAME: message`.
    """
    diagnostics = Diagnostics(source)
    diagnostics.values[()] = KeyLocation(False, 1, 1, f"{source}:1:1")
    values: Values = {}
    readable = True
    try:
        values = _read_root(compose(text, source), diagnostics)
    except ConfigError as error:
        readable = False
        diagnostics.problems.update(dict.fromkeys(error.problems, KeyLocation(False, 0, 0, source)))
    readable &= _apply_environment(values, environ, diagnostics)
    config = _validate(values, diagnostics, complete=readable)
    if config is None or diagnostics.problems:
        raise ConfigError(diagnostics.lines())
    return config


def _read_root(node: yaml.Node | None, diagnostics: Diagnostics) -> Values:
    if node is None or is_null(node):
        return {}
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, ROOT, (), diagnostics)
    diagnostics.report(
        diagnostics.place(node, ()), "the file must consist of sections such as `mqtt:`"
    )
    return {}


def _read_mapping(
    node: yaml.MappingNode, key_type: KeyType, path: KeyPath, diagnostics: Diagnostics
) -> Values:
    """Read the keys of a section. Unknown and duplicate keys are reported."""
    values: Values = {}
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            diagnostics.report(diagnostics.place(key_node, path), "a key must be a plain word")
            continue
        key: str = key_node.value
        here = (*path, key)
        place = diagnostics.place(key_node, here)
        child = key_type.child(key)
        if key in first_lines:
            diagnostics.report(place, f"is given twice, first in line {first_lines[key]}")
        elif child is None and node.flow_style and is_bare(value_node):
            # `{password: my,secret}`: the key may be a part of a secret.
            diagnostics.report(
                diagnostics.place(key_node, path), "a key without a value; quotes missing?"
            )
        elif child is None:
            diagnostics.report(place, unknown_key(key, key_type))
        else:
            diagnostics.keys[here] = place
            diagnostics.values[here] = diagnostics.place(value_node, here)
            values[key] = _read_value(value_node, child, here, diagnostics)
        first_lines.setdefault(key, place.line)
    return values


def _read_value(
    node: yaml.Node, key_type: KeyType, path: KeyPath, diagnostics: Diagnostics
) -> object:
    """Read a value for the model. A scalar stays text, which its field parses.

    So `language: no` is Norwegian and `enabled: no` is false, and a password may be `0123`.
    """
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(node, key_type, path, diagnostics) if key_type.nested else {}
    if isinstance(node, yaml.SequenceNode):
        return _read_list(node, key_type.items, path, diagnostics) if key_type.items else []
    if is_null(node) and key_type.items:
        return []
    if is_null(node):
        # A section whose keys are all commented out is present but empty.
        return {} if key_type.nested and (is_bare(node) or not key_type.optional) else None
    if key_type.short_form is not None:
        diagnostics.values[*path, key_type.short_form] = diagnostics.place(node, path)
        return {key_type.short_form: node.value}
    text: str = node.value
    return text


def _read_list(
    node: yaml.SequenceNode, items: KeyType, path: KeyPath, diagnostics: Diagnostics
) -> list[object]:
    values: list[object] = []
    for number, item in enumerate(node.value):
        here = (*path, number)
        diagnostics.values[here] = diagnostics.place(item, here)
        values.append(_read_value(item, items, here, diagnostics))
    return values


def _apply_environment(
    values: Values, environ: Mapping[str, str], diagnostics: Diagnostics
) -> bool:
    """Apply the variables to `values`; False if one of them is unreadable."""
    readable = True
    for override in overrides(environ):
        label = f"environment {shown(override.variable, quotes='')}"
        place = KeyLocation(True, 0, 0, label)
        if override.problem is not None:
            diagnostics.report(place, override.problem)
            continue
        section = values
        for name in override.path[:-1]:
            if section.get(name) is None:
                section[name] = {}
            below = section[name]
            # If it is not a section in the file, the validation reports it.
            section = below if isinstance(below, dict) else {}
        key_type = type_at(override.path)
        try:
            value = _of_variable(override, key_type, diagnostics.of_variable(label))
        except ConfigError as error:
            readable = False
            diagnostics.problems.update(dict.fromkeys(error.problems, place))
        else:
            section[override.path[-1]] = value
            diagnostics.values[override.path] = place
    return readable


def _of_variable(override: Override, key_type: KeyType, diagnostics: Diagnostics) -> object:
    """The value of a variable. Raises ConfigError if it must be a list and is not YAML."""
    if key_type.items is None:
        return _scalar(override.text, key_type)
    node = compose(override.text, diagnostics.source)
    diagnostics.forget(override.path)
    return [] if node is None else _read_value(node, key_type, override.path, diagnostics)


def _scalar(text: str, key_type: KeyType) -> str | None:
    """The value of a variable: unchanged for texts, else parsed as YAML."""
    if key_type.text:
        return text
    return None if text.strip() in NULLS else text.strip()


def _validate(values: Values, diagnostics: Diagnostics, *, complete: bool) -> Config | None:
    """Validate the values. Return None and report the problems if there are any.

    Pydantic checks the rules of a section only if its values are valid. So the rules are checked in
    a second round without the wrong values, unless something is unreadable (`complete` false).
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        if complete:
            _report_ineffective(config, set(), diagnostics)
        return config
    wrong = set()
    for details in errors:
        if details["type"] not in _NO_MISTAKES:
            wrong.add(_report(details, values, diagnostics))
    if complete:
        _report_broken_rules(values, wrong, diagnostics)
    return None


def _report(details: ErrorDetails, values: Values, diagnostics: Diagnostics) -> KeyPath:
    """Report a wrong value or name; return its path, or that of its list."""
    path = _known(details["loc"], diagnostics)
    places = diagnostics.keys if details["loc"][-1] == "[key]" else diagnostics.values
    diagnostics.report(places[path], sentence(details, _value_at(values, path)))
    return tuple(takewhile(lambda key: isinstance(key, str), path))


def _report_broken_rules(values: Values, wrong: set[KeyPath], diagnostics: Diagnostics) -> None:
    """Report broken rules between keys of a section, at the last key that the rule names.

    A rule that names a key with a wrong value is skipped, because it may be a consequence.
    """
    try:
        config = Config.model_validate(_without(values, wrong))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    else:
        _report_ineffective(config, wrong, diagnostics)
        return
    for details in errors:
        message = sentence(details, values)
        section = details["loc"]
        named = set(_named(message, section))
        if not named & wrong:
            written = named & set(diagnostics.values) | {_known(section, diagnostics)}
            diagnostics.report(max(diagnostics.values[path] for path in written), message)


def _report_ineffective(config: Config, wrong: set[KeyPath], diagnostics: Diagnostics) -> None:
    """Report the keys that have no effect, unless the key that is the reason is wrong itself.

    Keys of the file that lose their effect through the environment are not reported.
    """
    for found in without_effect(config):
        reason = diagnostics.values.get(found.because)
        place = diagnostics.values[_known(found.key, diagnostics)]
        overridden = reason is not None and reason.from_environment
        if found.because in wrong or (overridden and not place.from_environment):
            continue
        if not place.from_environment:
            place = diagnostics.keys.get(found.key, place)
        diagnostics.report(place, found.message)


def _named(message: str, section: KeyPath) -> Iterator[KeyPath]:
    """The keys that a message about `section` may name, such as `rungs[1].name`."""
    for word in re.findall(r"\w+(?:\.\w+|\[\d+\])*", message):
        path = section
        for number, key in re.findall(r"\[(\d+)\]|(\w+)", word):
            path = (*path, int(number) if number else key)
            yield path


def _known(loc: tuple[int | str, ...], diagnostics: Diagnostics) -> KeyPath:
    """The longest prefix of `loc` that is written in the file. () is the file itself."""
    path = loc
    while path not in diagnostics.values:
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
    """A copy of `values` without the keys at `paths`."""
    return {
        key: _without(value, paths, (*above, key)) if isinstance(value, dict) else value
        for key, value in values.items()
        if (*above, key) not in paths
    }
