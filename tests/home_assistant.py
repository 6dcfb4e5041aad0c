"""As much of Home Assistant's templates as the blueprints use, and how it reads a blueprint.

It is as strict as Home Assistant or stricter: what is undefined raises, also where Home Assistant
would go on with nothing.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import jinja2
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from tests.automations import Home

FOLDER = Path(__file__).parents[1] / "addon" / "blueprints" / "automation" / "stt_mqtt"


class Input(str):
    """The name behind `!input`."""


class Loader(yaml.SafeLoader):
    """YAML with Home Assistant's tag."""


def _input(loader: Loader, node: yaml.ScalarNode) -> Input:
    return Input(loader.construct_scalar(node))


Loader.add_constructor("!input", _input)


def load(name: str) -> dict[str, Any]:
    """A blueprint as Home Assistant reads it."""
    blueprint = yaml.load((FOLDER / name).read_text(encoding="utf-8"), Loader=Loader)
    assert isinstance(blueprint, dict)
    return blueprint


def inputs_of(blueprint: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All inputs, those in sections too."""
    found: dict[str, dict[str, Any]] = {}
    for name, item in blueprint["blueprint"]["input"].items():
        for inner, value in item.get("input", {name: item}).items():
            assert inner not in found, inner
            found[inner] = value
    return found


@dataclass
class State:
    """The state of an entity."""

    entity_id: str
    state: str
    attributes: dict[str, Any]
    last_changed: datetime


class States:
    """`states` of a template."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def __call__(self, entity_id: str) -> str:
        found = self._home.states.get(entity_id)
        return "unknown" if found is None else found.state

    def __getitem__(self, entity_id: str) -> State | None:
        return self._home.states.get(entity_id)


def environment(home: Home | None = None) -> jinja2.Environment:
    """What templates can use."""
    env = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    env.filters |= {
        "combine": lambda first, second: first | second,
        "regex_replace": lambda value, find, by: re.sub(find, by, value),
        "regex_findall": lambda value, find: re.findall(find, value),
        "is_number": _is_number,
        "float": _float,
        "as_timestamp": lambda value: value.timestamp(),
        "states": None,
        "area_name": None,
    }
    env.tests["match"] = _match
    if home is not None:
        env.globals |= {
            "states": States(home),
            "areas": lambda: list(home.areas),
            "area_name": lambda id: home.areas.get(id.removeprefix("event.").split("_u")[0]),
            "config_entry_attr": lambda id, _name: "mqtt" if id in home.entries else None,
            "expand": lambda ids: [home.states[id] for id in ids if id in home.states],
            "now": lambda: datetime.fromtimestamp(home.now, UTC),
        }
        env.filters |= {"states": env.globals["states"], "area_name": home.areas.get}
    return env


@cache
def _compiled(source: str) -> CodeType:
    return environment().compile(source)


def render(env: jinja2.Environment, source: str, variables: Mapping[str, Any]) -> str:
    """What a template makes."""
    template = env.template_class.from_code(env, _compiled(source), env.globals)
    return template.render(**variables)


def value_of(text: str) -> Any:
    """What a template makes, as a value of Python where it looks like one."""
    try:
        return literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()


def _float(value: Any, *default: object) -> object:
    try:
        return float(value)
    except (ValueError, TypeError):
        if not default:
            raise
        return default[0]


def _is_number(value: Any) -> bool:
    try:
        return isfinite(float(value))
    except (ValueError, TypeError):
        return False


def _match(value: str, find: str, ignorecase: bool = False) -> bool:
    return re.match(find, value, re.IGNORECASE if ignorecase else 0) is not None
