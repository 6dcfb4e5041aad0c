from __future__ import annotations

import json

import pytest

from stt_mqtt.config import Config, compare, read_config, without_secrets
from tests.config.problems import NO_ENVIRONMENT, problems

WITH_HOME_ASSISTANT = "phrases: {builtin: true, home_assistant: {token_file: /token}}\n"


def read(text: str) -> Config:
    return read_config(text, "f", NO_ENVIRONMENT)


def test_there_is_no_phrase_book_by_default() -> None:
    phrases = read("").phrases
    assert not phrases.has_book
    assert phrases.home_assistant is None
    assert read("").device("kitchen").phrases
    assert read("").device("kitchen").area is None


@pytest.mark.parametrize("text", ["phrases: {builtin: true}", "phrases: {paths: [/sentences]}"])
def test_the_starter_book_and_files_are_a_book(text: str) -> None:
    assert read(text).phrases.has_book


def test_lists_take_texts_and_may_be_empty() -> None:
    text = "phrases: {builtin: true, names: {drink: [tea, 7, no], shop: }}"
    assert read(text).phrases.names == {"drink": ("tea", "7", "no"), "shop": ()}


@pytest.mark.parametrize(
    ("url", "websocket"),
    [
        ("http://homeassistant.local:8123", "http://homeassistant.local:8123/api/websocket"),
        ("https://home.example/", "https://home.example/api/websocket"),
        ("http://supervisor/core", "http://supervisor/core/api/websocket"),
        ("http://[::1]:8123", "http://[::1]:8123/api/websocket"),
    ],
)
def test_the_address_of_the_websocket_follows_from_that_of_home_assistant(
    url: str, websocket: str
) -> None:
    text = f"phrases: {{builtin: true, home_assistant: {{token_file: t, url: '{url}'}}}}"
    source = read(text).phrases.home_assistant
    assert source is not None
    assert source.websocket_url == websocket


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "phrases: {names: {'a b': [x]}}",
            "f:1:19: phrases.names.a b: a list has a name of 1 to 64 of A-Z a-z 0-9 _ -",
        ),
        ("phrases: {names: {a: ['']}}", "f:1:23: phrases.names.a[0]: must not be empty"),
        (
            "phrases: {builtin: true, home_assistant: {token_file: a, url: 'http://u:p@h'}}",
            "f:1:63: phrases.home_assistant.url: must be http:// or https://, a host and a port, "
            "as in http://homeassistant.local:8123",
        ),
        (
            "phrases: {home_assistant: {token_file: a}}",
            "f:1:11: phrases.home_assistant: has no effect without sentences: "
            "phrases.builtin: true, or phrases.paths",
        ),
        (
            "phrases: {names: {a: [b]}}",
            "f:1:11: phrases.names: has no effect without sentences: "
            "phrases.builtin: true, or phrases.paths",
        ),
        (
            "phrases: {builtin: true, home_assistant: {token: a, token_file: b}}",
            "f:1:65: phrases.home_assistant.token_file: give token or token_file, not both",
        ),
        (
            "phrases: {builtin: true, home_assistant: {token_file: a, ca_file: c}}",
            "f:1:58: phrases.home_assistant.ca_file: has no effect without TLS: "
            "the url begins with http:",
        ),
        ("devices: {kitchen: {area: ''}}", "f:1:27: devices.kitchen.area: must not be empty"),
    ],
)
def test_a_mistake_is_reported_with_its_place(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_without_a_token_the_message_says_where_one_is_made() -> None:
    (line,) = problems("phrases: {builtin: true, home_assistant: }")
    assert "needs token_file: a file with a long-lived access token" in line


def test_the_token_may_come_from_the_environment() -> None:
    environ = {
        "STT_MQTT__PHRASES__BUILTIN": "true",
        "STT_MQTT__PHRASES__HOME_ASSISTANT__TOKEN": "0123",
        "STT_MQTT__PHRASES__HOME_ASSISTANT__URL": "http://supervisor/core",
    }
    source = read_config("", "f", environ).phrases.home_assistant
    assert source is not None
    assert source.token is not None
    assert source.token.get_secret_value() == "0123"


@pytest.mark.parametrize("variable", ["NAMES", "NAMES__DRINK"])
def test_lists_cannot_come_from_the_environment(variable: str) -> None:
    environ = {f"STT_MQTT__PHRASES__{variable}": "[tea]"}
    assert problems("", environ) == [
        f"environment STT_MQTT__PHRASES__{variable}: the names in phrases are set in the file"
    ]


def test_what_everybody_may_see_has_neither_the_token_nor_the_names() -> None:
    config = read(
        "phrases: {builtin: true, names: {drink: [SECRET tea]}, "
        "home_assistant: {token: SECRET, url: 'http://h:1'}}"
    )
    public = without_secrets(config)
    assert "SECRET" not in json.dumps(public)
    assert "SECRET" not in repr(config.phrases.home_assistant)
    assert public["phrases"] == {
        "paths": [],
        "builtin": True,
        "home_assistant": {"url": "http://h:1", "ca_file": None},
    }
    assert "token_file" not in json.dumps(without_secrets(read(WITH_HOME_ASSISTANT)))


def test_changed_names_are_reported_without_the_names() -> None:
    old = read("phrases: {builtin: true, names: {drink: [tea]}}")
    new = read("phrases: {builtin: true, names: {drink: [coffee]}}")
    changes = compare(old, new)
    assert (changes.applied, changes.needs_restart) == ((), ("phrases.names",))


def test_the_area_and_the_use_of_the_book_are_settings_of_a_device() -> None:
    config = read(
        "device_defaults: {phrases: false}\n"
        "devices: {'k*': {area: Kitchen}, kids: {phrases: true}}\n"
    )
    kids, kitchen = config.device("kids"), config.device("kitchen")
    assert (kids.phrases, kids.area) == (True, "Kitchen")
    assert (kitchen.phrases, kitchen.area) == (False, "Kitchen")
