"""A language that no model speaks is said before anybody speaks it."""

from __future__ import annotations

import pytest

from stt_mqtt.app.languages import check_languages
from stt_mqtt.config import Config, read_config
from stt_mqtt.errors import ConfigError

ENGLISH = frozenset({"en"})
MANY = frozenset({"en", "de", "fr", "nl", "es", "it"})
REFUSES = (
    "model tiny.en does not speak that (only en), so it would refuse every utterance; "
    "choose another language, or a model of many languages such as base"
)


def config(text: str) -> Config:
    return read_config(text, "f", {})


def refused(text: str, spoken: frozenset[str] = ENGLISH) -> str:
    with pytest.raises(ConfigError) as caught:
        check_languages(config(text), spoken)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("device_defaults: {language: de}", "device_defaults.language: de"),
        ("device_defaults: {languages: [de, fr]}", "device_defaults.languages: de, fr"),
        ("devices: {'*': {language: de-DE}}", "devices.*.language: de-DE"),
        (
            "device_defaults: {language: de}\ndevices: {hall: {language: en}}",
            "device_defaults.language: de",
        ),
    ],
)
def test_a_service_that_would_refuse_every_utterance_does_not_start(text: str, key: str) -> None:
    assert refused(text) == f"{key}: {REFUSES}"


def test_a_single_device_that_is_not_understood_is_a_warning() -> None:
    text = """\
devices:
  kitchen: {language: de}
  "kids_*": {languages: [de, fr]}
  hall: {language: en-GB}
  bath: {prompt: Licht}
"""
    assert check_languages(config(text), ENGLISH) == [
        f"devices.kitchen.language: de: {REFUSES}",
        f"devices.kids_*.languages: de, fr: {REFUSES}",
    ]


def test_languages_of_which_only_some_are_spoken_are_a_warning() -> None:
    assert check_languages(config("device_defaults: {languages: [de, en]}"), ENGLISH) == [
        "device_defaults.languages: de will never be detected, for model tiny.en does not speak it"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "device_defaults: {language: en-US, hotwords: [a]}",
        "device_defaults: {language: EN}",
        "device_defaults: {language: de}\ndevices: {'*': {language: en}}",
        "devices: {hall: {language: en}, 'k*': {languages: [en]}}",
    ],
)
def test_what_is_spoken_is_fine(text: str) -> None:
    assert check_languages(config(text), ENGLISH) == []


def test_on_a_ladder_every_rung_must_speak_it() -> None:
    ladder = "ladder: {rungs: [{name: a, model: base}, {name: b, model: tiny.en}]}\n"
    problem = refused(f"{ladder}device_defaults: {{language: de}}")
    assert "one rung of the ladder at least does not speak that (only en)" in problem


def test_of_many_languages_no_list_is_given() -> None:
    problem = refused("engine: {model: base}\ndevice_defaults: {language: cy}", MANY)
    assert problem.startswith("device_defaults.language: cy: model base does not speak that, so")


def test_without_any_model_nothing_is_known_of_languages() -> None:
    assert check_languages(config("device_defaults: {language: de}"), frozenset()) == []
