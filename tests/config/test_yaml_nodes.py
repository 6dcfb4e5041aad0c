"""YamlBounds that a reader of larger files may ask for."""

from __future__ import annotations

import pytest
import yaml

from stt_mqtt.config.yaml_nodes import YamlBounds, compose, is_bare, is_null
from stt_mqtt.errors import ConfigError

LARGE = YamlBounds(mib=4, nodes=1_000, depth=8, aliases=True, fast=True)


@pytest.fixture(params=["libyaml", "PyYAML"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "PyYAML":
        monkeypatch.delattr(yaml, "CSafeLoader")


def problem(text: str, bounds: YamlBounds = LARGE) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(text, "f", bounds)
    (line,) = caught.value.problems
    return line


def test_a_value_may_be_used_again() -> None:
    root = compose("a: &x [1, 2]\nb: [*x, *x]", "f", LARGE)
    assert isinstance(root, yaml.MappingNode)
    (_, first), (_, second) = root.value
    assert second.value == [first, first]


def test_what_is_used_again_counts_again() -> None:
    values = ", ".join(["v"] * 100)
    again = ", ".join(["*x"] * 8)
    assert compose(f"a: &x [{values}]\nb: [{again}]", "f", LARGE) is not None
    line = problem(f"a: &x [{values}]\nb: [{again}, *x]")
    assert line.startswith("f:2:")
    assert line.endswith("the file has more than 1000 keys and values")


def test_levels_of_what_is_used_again_count() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 8))
    assert problem(chain) == "f:7:10: more than 8 levels inside each other"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: *x", "f:1:4: a name or value that begins with * must be in quotes"),
        ("a: &x [*x]", "f:1:8: a value that refers to itself"),
        ("a: &x 1\nb: &x 2", "f:2:4: a second value is called &x"),
        ("a: !!set {}", "f:1:4: a value that begins with ! must be in quotes"),
        ("a: [", "f:1:5: a value is missing, or a [ or { is not closed"),
    ],
)
def test_mistakes_are_the_same_for_both_parsers(text: str, line: str) -> None:
    assert problem(text) == line


def test_without_permission_there_are_no_aliases() -> None:
    assert "begins with &" in problem("a: &x 1", YamlBounds(fast=True))


@pytest.mark.parametrize("text", ["a:", "a: ~", "a: null"])
def test_an_empty_value_is_null_for_both_parsers(text: str) -> None:
    root = compose(text, "f", LARGE)
    assert root is not None
    ((_, value),) = root.value
    assert is_null(value)
    assert is_bare(value) == (text == "a:")
    quoted = compose("a: 'null'", "f", LARGE)
    assert quoted is not None
    assert not is_null(quoted.value[0][1])
