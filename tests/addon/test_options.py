"""The add-on's options become the configuration that the YAML file would give."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.app.addon import DEVICE_KEYS, KNOWN, OPTIONS, AddonSource
from stt_mqtt.app.sources import resolve_password
from stt_mqtt.config import Config, LogLevel, PhrasesConfig
from stt_mqtt.engine.catalogue import CATALOGUE
from stt_mqtt.errors import ConfigError
from stt_mqtt.types import WHOLE_ONLY, Codec
from tests.addon.manifest import DEFAULTS, DEVICE_SCHEMA, SCHEMA, element

SUPERVISORS_BROKER = {
    "STT_MQTT__MQTT__HOST": "core-mosquitto",
    "STT_MQTT__MQTT__PORT": "1883",
    "STT_MQTT__MQTT__USERNAME": "addons",
    "STT_MQTT__MQTT__PASSWORD": "the-supervisors",
}
Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads options through the file, as the service does."""
    file = tmp_path / "options.json"

    def load(options: object, environ: Mapping[str, str] | None = None) -> Config:
        file.write_text(json.dumps(options), encoding="utf-8")
        return AddonSource(file, environ or {}).load()

    return load


def problems(load: Load, options: object, environ: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with the options, without the name of the file."""
    with pytest.raises(ConfigError) as raised:
        load(options, environ)
    return [problem.partition("options.json: ")[2] for problem in raised.value.problems]


def test_the_manifest_and_the_mapping_know_the_same_options_in_the_same_order() -> None:
    assert list(SCHEMA) == list(KNOWN)
    assert list(DEVICE_SCHEMA) == ["name", *DEVICE_KEYS]
    assert list(DEFAULTS) == [
        option for option in SCHEMA if option in DEFAULTS and not element(option).endswith("?")
    ]


def test_an_option_without_a_default_may_be_left_out() -> None:
    required = {option for option in SCHEMA if not element(option).endswith("?")}
    assert required == set(DEFAULTS)


def test_the_defaults_are_those_of_the_service_with_wyoming_open_and_the_phrase_book(
    load: Load,
) -> None:
    config = load(DEFAULTS)
    assert config.wyoming.enabled
    assert config.wyoming.listen == ("tcp://0.0.0.0:10300",)
    assert not config.wyoming.zeroconf
    assert load({}) == Config(wyoming=config.wyoming, web=config.web)
    assert config == Config(
        wyoming=config.wyoming, web=config.web, phrases=PhrasesConfig(builtin=True)
    )


EFFECTS: dict[str, tuple[Any, Callable[[Config], Any], Any]] = {
    "model": ("base", lambda config: config.engine.model, "base"),
    "language": ("de", lambda config: config.device("x").language, "de"),
    "languages": (["de", "fr"], lambda config: config.device("x").languages, ("de", "fr")),
    "hotwords": (["Zoë", "🎉"], lambda config: config.device("x").hotwords, ("Zoë", "🎉")),
    "mqtt_host": ("nas.lan", lambda config: config.mqtt.host, "nas.lan"),
    "mqtt_port": (1884, lambda config: config.mqtt.port, 1884),
    "mqtt_username": ("stt", lambda config: config.mqtt.username, "stt"),
    "mqtt_password": ("0123", lambda config: resolve_password(config.mqtt), "0123"),
    "base_topic": ("home/stt", lambda config: config.mqtt.base_topic, "home/stt"),
    "homeassistant": (False, lambda config: config.homeassistant.enabled, False),
    "hermes": (False, lambda config: config.hermes.enabled, False),
    "phrases": (False, lambda config: config.phrases.builtin, False),
    "show_text": (True, lambda config: config.web.show_text, True),
    "rooms": (["tablet", "phone_*"], lambda config: config.web.rooms, ("tablet", "phone_*")),
    "gap_timeout_ms": (1500, lambda config: config.device("x").gap_timeout_ms, 1500),
    "max_utterance_s": (60, lambda config: config.limits.max_decoded_s, 60),
    "workers": (1, lambda config: config.engine.workers, 1),
    "log_level": ("warning", lambda config: config.log.level, LogLevel.WARNING),
    "devices": ([{"name": "x", "rate": 8000}], lambda config: config.device("x").rate, 8000),
}


def test_every_option_is_tried() -> None:
    assert list(EFFECTS) == list(KNOWN)


@pytest.mark.parametrize("option", KNOWN)
def test_every_option_has_its_effect(load: Load, option: str) -> None:
    value, read, expected = EFFECTS[option]
    assert read(load(DEFAULTS)) != expected
    login = {"mqtt_username": "stt"} if option == "mqtt_password" else {}
    assert read(load({**DEFAULTS, **login, option: value})) == expected


@pytest.mark.parametrize("unset", [None, "", "null"])
@pytest.mark.parametrize("option", KNOWN)
def test_null_and_nothing_mean_not_set(load: Load, option: str, unset: str | None) -> None:
    assert load({option: unset}) == load({})


def test_empty_places_in_a_list_are_left_out(load: Load) -> None:
    assert load({"languages": ["de", "", None, "null", "fr"]}).device_defaults.languages == (
        "de",
        "fr",
    )


@pytest.mark.parametrize("empty", [[], [""], [None, "null"]])
def test_an_emptied_list_of_rooms_shuts_out_no_browser(load: Load, empty: list[object]) -> None:
    assert load({"rooms": empty}).web.rooms == ("*",)


def test_the_option_show_text_reaches_web(load: Load) -> None:
    assert not load(DEFAULTS).web.show_text
    for value in (True, False):
        web = load({**DEFAULTS, "show_text": value}).web
        assert web.show_text is value
        assert web.ingress


def test_a_longer_utterance_gets_the_memory_that_it_needs(load: Load) -> None:
    longest = load({"max_utterance_s": 600}).limits
    assert longest.max_decoded_s == 600
    assert load({"max_utterance_s": 5}).limits.max_utterance_kib == 2048


def test_what_no_option_sets_may_still_come_from_the_environment(load: Load) -> None:
    assert load(DEFAULTS, {"STT_MQTT__ENGINE__BEAM_SIZE": "1"}).engine.beam_size == 1


# The schema of the manifest and the configuration agree ----------------------------------------


def options_of_type(pattern: str) -> list[tuple[str, re.Match[str]]]:
    found = [(option, re.fullmatch(pattern, element(option))) for option in SCHEMA]
    return [(option, match) for option, match in found if match is not None]


RANGES = [
    (option, int(match[1]), int(match[2]))
    for option, match in options_of_type(r"int\((\d+),(\d+)\)\??")
]
RANGES += [(option, 1, 65535) for option, _ in options_of_type(r"port\??")]
LENGTHS = [
    (option, int(match[1])) for option, match in options_of_type(r"match\(\^\.\{0,(\d+)\}\$\)\?")
]
CHOICES = {option: match[1].split("|") for option, match in options_of_type(r"list\(([^)]*)\)\??")}
PATTERNS = {option: match[1] for option, match in options_of_type(r"match\((.*)\)\??")}


def test_every_option_has_a_range_a_choice_or_two_values() -> None:
    ranged = {option for option, *_ in [*RANGES, *LENGTHS]}
    switches = {option for option, _ in options_of_type(r"bool\??")}
    assert ranged | switches | set(CHOICES) | set(PATTERNS) | {"mqtt_password", "devices"} == set(
        SCHEMA
    )


@pytest.mark.parametrize(("option", "low", "high"), RANGES)
def test_the_range_of_the_form_is_that_of_the_service(
    load: Load, option: str, low: int, high: int
) -> None:
    for value in (low, high):
        assert load({option: value}) != load({option: low + 1})
    assert problems(load, {option: low - 1}) == [
        f"{option}: {low - 1} is too small, at least {low}"
    ]
    assert problems(load, {option: high + 1}) == [
        f"{option}: {high + 1} is too large, at most {high}"
    ]


@pytest.mark.parametrize(("option", "longest"), LENGTHS)
def test_the_longest_text_of_the_form_is_that_of_the_service(
    load: Load, option: str, longest: int
) -> None:
    fits, too_long = ("a" * length for length in (longest, longest + 1))
    if isinstance(SCHEMA[option], list):
        assert load({option: [fits]}) != load({})
        found = problems(load, {option: [too_long]})
        assert found == [f"{option}[0]: is too long, at most {longest} characters"]
    else:
        assert load({option: fits}) != load({})
        found = problems(load, {option: too_long})
        assert found == [f"{option}: is too long, at most {longest} characters"]


def test_every_model_and_every_log_level_can_be_chosen(load: Load) -> None:
    assert CHOICES["model"] == list(CATALOGUE)
    assert CHOICES["log_level"] == [level.value for level in LogLevel]
    assert len(CHOICES) == 2
    for option, values in CHOICES.items():
        for value in values:
            load({option: value})


@pytest.mark.parametrize(
    ("option", "text", "accepted"),
    [
        *(("language", text, True) for text in ("en", "de", "yue", "pt-BR", "zh-Hans-CN")),
        *(("language", text, False) for text in ("e", "english", "de-", "en_US!", "de fr")),
        *(("base_topic", text, True) for text in ("stt", "home/stt", "a.b_c-d/9")),
        *(("base_topic", text, False) for text in ("/stt", "stt/", "stt/#", "a//b", "a b")),
    ],
)
def test_a_text_that_the_form_takes_is_one_that_the_service_takes(
    load: Load, option: str, text: str, accepted: bool
) -> None:
    assert bool(re.match(PATTERNS[option], text)) is accepted
    assert PATTERNS["languages"] == PATTERNS["language"]
    if accepted:
        load({option: text})
    else:
        assert [problem.partition(":")[0] for problem in problems(load, {option: text})] == [option]


@pytest.mark.parametrize(
    ("room", "accepted"),
    [
        *((room, True) for room in ("tablet", "phone_*", "[ab]?-1.x", "a" * 64)),
        *((room, False) for room in ("living room", "küche", "a" * 65, "a/b")),
    ],
)
def test_a_room_that_the_form_takes_is_one_that_the_service_takes(
    load: Load, room: str, accepted: bool
) -> None:
    assert bool(re.match(PATTERNS["rooms"], room)) is accepted
    if accepted:
        assert load({"rooms": [room]}).web.rooms == (room,)
    else:
        (problem,) = problems(load, {"rooms": [room]})
        assert problem.startswith("rooms[0]: a room is a device name of 1 to 64")


def test_an_optional_text_may_be_emptied_in_the_form() -> None:
    optional = ("language", "languages", "rooms")
    assert all(re.match(PATTERNS[option], "") for option in optional)


# The settings of single satellites --------------------------------------------------------------


DEVICE_EFFECTS: dict[str, tuple[Any, Any]] = {
    "enabled": (False, False),
    "language": ("de", "de"),
    "prompt": ("Zoë's timer: 5 % 🎉", "Zoë's timer: 5 % 🎉"),
    "area": ("Küche", "Küche"),
    "gap_timeout_ms": (1500, 1500),
    "codec": ("adpcm_ima", Codec.ADPCM_IMA),
    "rate": (8000, 8000),
}


@pytest.mark.parametrize("key", DEVICE_KEYS)
def test_every_setting_of_a_satellite_has_its_effect_there_alone(load: Load, key: str) -> None:
    value, expected = DEVICE_EFFECTS[key]
    config = load({**DEFAULTS, "devices": [{"name": "kitchen", key: value}]})
    assert getattr(config.device("kitchen"), key) == expected
    assert config.device("hall") == load(DEFAULTS).device("hall")


def test_a_name_alone_keeps_a_satellite_known_and_a_glob_is_for_several(load: Load) -> None:
    devices = [{"name": "kitchen"}, {"name": "*_[ab]", "rate": 8000}, {"name": "hall_b"}]
    config = load({"devices": devices})
    assert config.named_devices == ["kitchen", "hall_b"]
    assert config.device("hall_b").rate == 8000


@pytest.mark.parametrize("unset", [None, "", "null"])
def test_what_an_entry_leaves_empty_is_as_for_all(load: Load, unset: str | None) -> None:
    entry: dict[str, object] = {"name": "kitchen", **dict.fromkeys(DEVICE_KEYS, unset)}
    assert load({"devices": [entry]}) == load({"devices": [{"name": "kitchen"}]})


def test_what_is_wrong_in_an_entry_is_said_by_its_place_in_the_list(load: Load) -> None:
    wrong = [
        {"name": "kitchen", "gap_timeout_ms": 5, "codec": "speex"},
        {"name": "kids_[ab]", "language": "klingon!", "prompt": ["a"]},
        {"name": "kitchen"},
        {"language": "de"},
        {"name": "living room"},
        "hall",
        {"name": "bath", "volume": 5},
        {"name": "kids_["},
    ]
    assert sorted(problems(load, {"devices": wrong})) == [
        "devices[0].codec: 'speex' is not known; known are pcm_s16le, pcm_f32le, adpcm_ima, "
        "flac, opus, ogg, webm, wav",
        "devices[0].gap_timeout_ms: 5 is too small, at least 50",
        "devices[1].language: must be a language tag such as en or pt-BR",
        "devices[1].prompt: must be text",
        "devices[2].name: is the name of devices[0] too",
        "devices[3]: lacks its name",
        "devices[4].name: a device name has 1 to 64 of A-Z a-z 0-9 _ . - : (a glob also * ? [ ] !)",
        "devices[5]: must be a name with settings below it",
        "devices[6].volume: there is no such key; known are name, enabled, language, prompt, area, "
        "gap_timeout_ms, codec, rate",
        "devices[7]: no device can have such a name; a glob's [ needs its ]",
    ]
    assert problems(load, {"devices": {"kitchen": {}}}) == [
        "devices: must be a list, one entry for each device"
    ]


def test_no_satellite_has_the_name_of_the_service(load: Load) -> None:
    (problem,) = problems(load, {"devices": [{"name": "bridge"}]})
    assert problem.endswith("bridge is the name of the service itself")


def test_the_form_takes_for_a_satellite_what_the_service_takes(load: Load) -> None:
    assert (
        DEVICE_SCHEMA["codec"]
        == f"list({'|'.join(codec for codec in Codec if codec not in WHOLE_ONLY)})?"
    )
    assert DEVICE_SCHEMA["language"] == element("language")
    assert DEVICE_SCHEMA["gap_timeout_ms"] == element("gap_timeout_ms") + "?"
    for key, low, high in (("rate", 8000, 48_000), ("prompt", "", "a" * 1000)):
        for value in (low, high):
            load({"devices": [{"name": "kitchen", key: value}]})
    assert DEVICE_SCHEMA["rate"] == "int(8000,48000)?"
    assert DEVICE_SCHEMA["prompt"] == "match(^.{0,1000}$)?"
    for wrong in ({"rate": 7999}, {"rate": 48_001}, {"prompt": "a" * 1001}):
        assert problems(load, {"devices": [{"name": "kitchen", **wrong}]})
    name = DEVICE_SCHEMA["name"].removeprefix("match(").removesuffix(")")
    assert re.match(name, "kids_[ab]*")
    assert not re.match(name, "living room")


# What is wrong is said in the words of the form ------------------------------------------------


def test_all_that_is_wrong_is_said_at_once_by_the_name_of_the_option(load: Load) -> None:
    wrong = {
        "model": ["base"],
        "languages": ["en", "klingon!"],
        "hotwords": [{"a": 1}],
        "mqtt_port": "broker",
        "hermes": "maybe",
        "log_level": "loud",
        "modle": "base",
    }
    found = problems(load, wrong)
    assert found[0].startswith("modle: there is no such option; known are model, language, ")
    assert sorted(found[1:]) == [
        "hermes: must be true or false",
        "hotwords[0]: must be text",
        "languages[1]: must be a language tag such as en or pt-BR",
        "log_level: 'loud' is not known; known are debug, info, warning, error",
        "model: must be text",
        "mqtt_port: must be a whole number",
    ]


def test_a_problem_of_the_environment_keeps_its_own_name(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"environment STT_MQTT__MQTT__PORT: must be a whole"):
        load({}, {"STT_MQTT__MQTT__PORT": "broker"})


def test_a_password_without_a_user_is_refused_and_not_repeated(load: Load) -> None:
    assert problems(load, {"mqtt_password": "hunter2"}) == [
        "mqtt_password: needs mqtt_username beside it"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the options are not JSON"),
        (b"{", "the options are not JSON"),
        (b"\xff\xfe\xff", "the options are not JSON"),
        (b"[" * 100_000, "the options are not JSON"),
        (b"[]", "must be one JSON object"),
        (b'{"model": "' + b"x" * 2**20 + b'"}', "must be one JSON object, up to 1 MiB"),
    ],
    ids=["empty", "half", "no text", "nested", "list", "too large"],
)
def test_a_file_that_is_no_options_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "options.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        AddonSource(file, {}).load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"options\.json: the options cannot be read: No such"):
        AddonSource(tmp_path / "options.json", {}).load()


# Whose broker it is ----------------------------------------------------------------------------


def test_without_options_the_broker_is_the_supervisors(load: Load) -> None:
    mqtt = load(DEFAULTS, SUPERVISORS_BROKER).mqtt
    assert (mqtt.host, mqtt.port, mqtt.username) == ("core-mosquitto", 1883, "addons")
    assert resolve_password(mqtt) == "the-supervisors"


def test_a_broker_of_ones_own_is_never_told_the_supervisors_login(load: Load) -> None:
    tls = {"stt_mqtt__mqtt__tls__ca_file": "/etc/ssl/certs/ca-certificates.crt"}
    mqtt = load({"mqtt_host": "nas.lan"}, {**SUPERVISORS_BROKER, **tls}).mqtt
    assert (mqtt.host, mqtt.effective_port) == ("nas.lan", 1883)
    assert (mqtt.username, mqtt.password, mqtt.tls) == (None, None, None)


def test_a_login_replaces_the_supervisors_as_a_whole(load: Load) -> None:
    mqtt = load({"mqtt_username": "stt"}, SUPERVISORS_BROKER).mqtt
    assert (mqtt.host, mqtt.port) == ("core-mosquitto", 1883)
    assert (mqtt.username, mqtt.password) == ("stt", None)


def test_a_port_replaces_only_the_port(load: Load) -> None:
    mqtt = load({"mqtt_port": 1884}, SUPERVISORS_BROKER).mqtt
    assert (mqtt.host, mqtt.port, mqtt.username) == ("core-mosquitto", 1884, "addons")


def test_an_option_that_is_not_set_replaces_nothing(load: Load) -> None:
    unset = {"mqtt_host": "null", "mqtt_port": None, "mqtt_username": ""}
    assert load(unset, SUPERVISORS_BROKER) == load({}, SUPERVISORS_BROKER)


def test_the_environment_is_not_shown_with_the_source() -> None:
    assert "the-supervisors" not in repr(AddonSource(Path("options.json"), SUPERVISORS_BROKER))


# Whatever the file holds -----------------------------------------------------------------------


texts = st.text(max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(OPTIONS)) | texts, values, max_size=5))
def test_any_options_give_a_configuration_or_problems(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, object]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any-options.json"
    file.write_text(json.dumps(options), encoding="utf-8")
    found: list[str] = []
    try:
        AddonSource(file, {}).load()
    except ConfigError as error:
        found = error.problems
    assert all(problem.startswith(f"{file}: ") for problem in found)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64))
def test_any_text_arrives_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "any-text.json"
    file.write_text(json.dumps({"hotwords": [text]}), encoding="utf-8")
    heard = AddonSource(file, {}).load().device_defaults.hotwords
    assert heard == (() if text == "null" else (text,))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mqtt_host": "mqtt://nas.lan:1884"}, "mqtt_host: must be a name or an address alone"),
        (
            {"language": "de", "languages": ["de", "en"]},
            "languages: has no effect where the language is given (de)",
        ),
    ],
)
def test_an_option_that_has_no_effect_is_refused(
    load: Load, options: dict[str, object], sentence: str
) -> None:
    (problem,) = problems(load, options)
    assert problem.startswith(sentence)
