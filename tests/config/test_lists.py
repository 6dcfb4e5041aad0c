"""Lists in the file and in the environment."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import Config, read_config, without_secrets
from tests.config.problems import attempt, problems

LANGUAGES = "STT_MQTT__DEVICE_DEFAULTS__LANGUAGES"
RUNGS = "STT_MQTT__LADDER__RUNGS"


def read(text: str, **environ: str) -> Config:
    return read_config(text, "f", environ)


@pytest.mark.parametrize(
    "text", ["languages: [en, no]", "languages:\n  - en\n  - no", "languages:\n  [en, 'no']"]
)
def test_a_list_of_texts_is_read_in_every_form_of_yaml(text: str) -> None:
    config = read("device_defaults:\n  " + text.replace("\n", "\n  "))
    assert config.device_defaults.languages == ("en", "no")


@pytest.mark.parametrize("value", ["", " []", " null", "\n    #- en"])
def test_a_list_with_everything_commented_out_is_empty(value: str) -> None:
    config = read(f"device_defaults:\n  languages:{value}\n")
    assert config.device_defaults.languages == ()
    assert "languages" in config.device_defaults.model_fields_set


def test_the_lists_of_a_device_come_from_defaults_globs_and_its_own_entry() -> None:
    config = read(
        "device_defaults: {languages: [en], hotwords: [Siobhan]}\n"
        "devices:\n"
        "  'kit*': {languages: [en, de]}\n"
        "  kitchen: {hotwords: [Nguyen, 'living room']}\n"
        "  cellar: {languages: }\n"
    )
    assert config.device("kitchen").languages == ("en", "de")
    assert config.device("kitchen").hotwords == ("Nguyen", "living room")
    assert config.device("cellar").languages == ()
    assert config.device("cellar").hotwords == ("Siobhan",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("languages: en", "13: {}.languages: must be a list, as in [a, b] or one - per line"),
        ("languages: {}", "13: {}.languages: must be a list, as in [a, b] or one - per line"),
        (
            "languages: [en, [de]]",
            "18: {}.languages[1]: must be text",
        ),
        ("languages: [en, {de: }]", "18: {}.languages[1]: must be text"),
        ("languages: [en, ~]", "18: {}.languages[1]: is empty, must be text"),
        (
            "languages: [en, english]",
            "18: {}.languages[1]: must be a language tag such as en or pt-BR",
        ),
        ("hotwords: ['']", "13: {}.hotwords[0]: must not be empty"),
        (
            f"hotwords: [a, {'b' * 65}]",
            "16: {}.hotwords[1]: is too long, at most 64 characters",
        ),
        (
            f"languages: [{'en, ' * 17}]",
            "13: {}.languages: has too many entries, at most 16",
        ),
        (
            f"hotwords: [{'a, ' * 65}]",
            "12: {}.hotwords: has too many entries, at most 64",
        ),
    ],
)
def test_a_mistake_in_a_list_is_reported_at_its_item(text: str, line: str) -> None:
    assert problems(f"device_defaults:\n{text}".replace("\n", "\n ")) == [
        "f:2:" + line.format("device_defaults")
    ]


def test_as_many_items_as_allowed_are_allowed() -> None:
    device = read(
        f"device_defaults: {{languages: [{'en, ' * 16}], hotwords: [{'a, ' * 63}{'b' * 64}]}}"
    ).device_defaults
    assert (len(device.languages), len(device.hotwords)) == (16, 64)


def test_every_mistake_in_a_list_of_sections_is_reported_with_its_position() -> None:
    text = """\
ladder:
  rungs:
    - name: a
      model: base
    - model: base
      beam_size: 11
      zzz: 1
      model: tiny
    - {}
    - 5
    - [1]
    - {name: a b, model: ''}
    -
"""
    assert problems(text) == [
        "f:5:7: ladder.rungs[1]: lacks its name",
        "f:6:18: ladder.rungs[1].beam_size: 11 is too large, at most 10",
        "f:7:7: ladder.rungs[1].zzz: unknown key 'zzz'; "
        "known are name, model, beam_size, compute_type",
        "f:8:7: ladder.rungs[1].model: is given twice, first in line 5",
        "f:9:7: ladder.rungs[2]: lacks its name",
        "f:9:7: ladder.rungs[2]: lacks its model",
        "f:10:7: ladder.rungs[3]: must be a section with keys below it",
        "f:11:7: ladder.rungs[4]: must be a section with keys below it",
        "f:12:14: ladder.rungs[5].name: a rung's name has 1 to 32 of A-Z a-z 0-9 _ . -",
        "f:12:26: ladder.rungs[5].model: must not be empty",
        "f:13:6: ladder.rungs[6]: lacks its name",
        "f:13:6: ladder.rungs[6]: lacks its model",
    ]


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=8))
def test_every_wrong_item_is_reported_on_its_own_line(items: list[tuple[int, bool]]) -> None:
    lines, expected = ["ladder:", "  rungs:"], []
    for number, (blank, wrong) in enumerate(items):
        lines += ["    # a comment"] * blank + [f"    - name: r{number}", "      model: m"]
        if wrong:
            lines.append("      beam_size: x")
            expected.append(
                f"f:{len(lines)}:18: ladder.rungs[{number}].beam_size: must be a whole number"
            )
    found = attempt("\n".join(lines))
    if expected:
        assert found == expected
    else:
        assert isinstance(found, Config)
        assert [rung.name for rung in found.rungs] == [f"r{n}" for n in range(len(items))]


def test_a_list_of_the_environment_is_yaml_or_json_on_one_line() -> None:
    assert read("", **{LANGUAGES: "[en, no]"}).device_defaults.languages == ("en", "no")
    assert read("", **{LANGUAGES: '["en"]'}).device_defaults.languages == ("en",)
    rungs = json.dumps([{"name": "a", "model": "base", "beam_size": 1}])
    (rung,) = read("", **{RUNGS: rungs}).rungs
    assert (rung.name, rung.model, rung.beam_size) == ("a", "base", 1)


@pytest.mark.parametrize("empty", ["[]", "null", "# none"])
def test_a_list_of_the_environment_replaces_that_of_the_file_with_its_mistakes(empty: str) -> None:
    text = "device_defaults: {languages: [english, 5]}"
    assert read(text, **{LANGUAGES: "[de]"}).device_defaults.languages == ("de",)
    assert read(text, **{LANGUAGES: empty}).device_defaults.languages == ()
    assert problems(text, {LANGUAGES: "[de, x]"}) == [
        f"environment {LANGUAGES}: device_defaults.languages[1]: "
        "must be a language tag such as en or pt-BR"
    ]


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        (LANGUAGES, "en", ": must be a list, as in [a, b] or one - per line"),
        (LANGUAGES, "[en", ":1:1: a [ that is not closed, or a comma missing"),
        (LANGUAGES, "[*en]", ":1:2: a name or value that begins with * must be in quotes"),
        (RUNGS, "[{name: a}]", ": ladder.rungs[0]: lacks its model"),
        (
            RUNGS,
            "[{name: a, model: b, beam: 1}]",
            ": ladder.rungs[0].beam: unknown key 'beam', did you mean 'beam_size'?",
        ),
        (RUNGS + "__0__NAME", "a", f": a list is given as a whole, {RUNGS}='[…, …]'"),
    ],
)
def test_a_mistake_in_a_list_of_the_environment_is_named(
    variable: str, text: str, line: str
) -> None:
    assert problems("", {variable: text}) == [f"environment {variable}{line}"]


def test_a_rule_about_a_list_that_is_unreadable_is_not_judged() -> None:
    assert len(problems("ladder: {rung: a}", {RUNGS: "["})) == 1
    assert len(problems("ladder: {rung: a, rungs: [{name: 5 5}]}")) == 2


def test_lists_are_as_bounded_as_everything_else() -> None:
    (line,) = problems("", {RUNGS: "[" * 100_000})
    assert line.endswith("more than 16 levels inside each other")
    (line,) = problems("", {LANGUAGES: f"[{'en,' * 10_000}]"})
    assert line.endswith("the file has more than 10000 keys and values")


def test_everybody_may_see_the_lists() -> None:
    config = read("ladder: {rungs: [{name: a, model: m}]}\ndevice_defaults: {languages: [en]}")
    public = json.loads(json.dumps(without_secrets(config)))
    assert public["ladder"]["rungs"] == [
        {"name": "a", "model": "m", "beam_size": 5, "compute_type": "int8"}
    ]
    assert public["device_defaults"]["languages"] == ["en"]


@given(st.text(), st.sampled_from([RUNGS, LANGUAGES]))
def test_any_text_for_a_list_is_a_configuration_or_a_configuration_error(
    text: str, variable: str
) -> None:
    found = attempt("", {variable: text})
    if isinstance(found, list):
        assert found
        assert all(line.startswith(f"environment {variable}") for line in found)
        assert all(line.isprintable() for line in found)
    else:
        assert isinstance(found, Config)
