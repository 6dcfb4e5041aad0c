from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import BrokerMode, Config, Protocol, read_config
from stt_mqtt.config.diagnostics import MAX_SHOWN, PATTERNS
from stt_mqtt.config.root import type_at
from stt_mqtt.config.yaml_nodes import CONFIGURATION
from stt_mqtt.errors import EXIT_CONFIG, ConfigError
from tests.config.problems import NO_ENVIRONMENT, attempt, problems


def read(text: str) -> Config:
    return read_config(text, "f", NO_ENVIRONMENT)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "~", "{}", "\ufeff{}"])
def test_an_empty_file_is_the_default_configuration(text: str) -> None:
    assert read(text) == Config()


def test_values_of_every_kind_arrive_in_their_fields() -> None:
    config = read(
        "mqtt:\n  host: broker.lan\n  port: 8883\n  tls: {ca_file: ca.pem}\n"
        "gate:\n  enabled: FALSE\n  floor_dbfs: -50\n"
        "limits:\n  max_utterance_s: 12.5\n"
        "device_defaults:\n  codec: flac\n  prompt: null\n"
    )
    assert (config.mqtt.host, config.mqtt.port) == ("broker.lan", 8883)
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca_file == "ca.pem"
    assert config.gate.enabled is False
    assert config.gate.floor_dbfs == -50.0
    assert config.limits.max_utterance_s == 12.5
    assert config.device_defaults.codec.value == "flac"
    assert config.device_defaults.prompt is None


@pytest.mark.parametrize("language", ["no", "on", "NO", '"no"'])
def test_no_is_norwegian_where_a_text_is_asked_for(language: str) -> None:
    config = read(f"device_defaults:\n  language: {language}\n")
    assert config.device_defaults.language == language.strip('"')


@pytest.mark.parametrize(
    ("written", "meant"), [("true", True), ("True", True), ("FALSE", False), ("no", False)]
)
def test_truth_is_read_by_the_field(written: str, meant: bool) -> None:
    assert read(f"gate:\n  enabled: {written}\n").gate.enabled is meant


@pytest.mark.parametrize("password", ["0123", "1e3", "true", "12:30:45", "2024-01-01", "0x1F"])
def test_a_password_that_looks_like_something_else_stays_as_written(password: str) -> None:
    secret = read(f"mqtt:\n  username: u\n  password: {password}\n").mqtt.password
    assert secret is not None
    assert secret.get_secret_value() == password


def test_protocol_5_needs_no_quotes() -> None:
    assert read("mqtt:\n  protocol: 5\n").mqtt.protocol is Protocol.V5


def test_a_number_with_leading_zeros_is_decimal() -> None:
    assert read("mqtt:\n  port: 01883\n").mqtt.port == 1883


@pytest.mark.parametrize("value", ["embedded", '"embedded"', "{mode: embedded}"])
def test_broker_has_a_short_form(value: str) -> None:
    assert read(f"broker: {value}\n").broker.mode is BrokerMode.EMBEDDED


def test_sections_with_all_keys_commented_out_are_empty() -> None:
    text = "mqtt:\n  #host: a\nlog: ~\ndevices:\n"
    assert read(text) == Config()
    assert read("devices:\n  kitchen:\n").devices["kitchen"].model_fields_set == set()


def test_tls_is_on_when_its_section_is_there_and_off_when_it_is_null() -> None:
    assert read("mqtt:\n  tls:\n").mqtt.effective_port == 8883
    assert read("mqtt:\n  tls: {}\n").mqtt.effective_port == 8883
    assert read("mqtt:\n  tls: null\n").mqtt.effective_port == 1883


def test_device_names_that_look_like_numbers_or_truth_are_names() -> None:
    assert list(read("devices:\n  1: {}\n  007:\n  yes: {}\n").devices) == ["1", "007", "yes"]


def test_defaults_then_globs_in_file_order_then_the_exact_name() -> None:
    config = read(
        "device_defaults: {gap_timeout_ms: 100, idle_timeout_ms: 200, rate: 8000, channels: 2}\n"
        "devices:\n"
        "  kitchen: {gap_timeout_ms: 101}\n"
        '  "kit*": {gap_timeout_ms: 102, idle_timeout_ms: 202, rate: 11025}\n'
        '  "?itchen": {gap_timeout_ms: 103, idle_timeout_ms: 203}\n'
        '  "hall*": {channels: 1}\n'
    )
    kitchen = config.device("kitchen")
    assert (kitchen.gap_timeout_ms, kitchen.idle_timeout_ms) == (101, 203)
    assert (kitchen.rate, kitchen.channels) == (11025, 2)
    assert config.device("hallway").channels == 1
    assert config.device("cellar") == config.device_defaults


def test_an_entry_can_take_a_default_back_with_null_or_the_builtin_value() -> None:
    config = read(
        "device_defaults: {language: en, rate: 8000}\n"
        "devices:\n  a: {language: null, rate: 16000}\n"
    )
    assert (config.device("a").language, config.device("a").rate) == (None, 16000)


@given(
    st.lists(st.sampled_from(["*", "k*", "?itchen", "kitchen", "[k]itchen", "hall"]), unique=True)
)
def test_the_last_glob_wins_unless_the_device_has_its_own_entry(names: list[str]) -> None:
    entries = "".join(f'  "{name}": {{rate: {8000 + n}}}\n' for n, name in enumerate(names))
    config = read(f"devices:\n{entries}")
    matching = [name for name in names if name != "hall"]
    winner = "kitchen" if "kitchen" in names else matching[-1] if matching else None
    expected = 16_000 if winner is None else 8000 + names.index(winner)
    assert config.device("kitchen").rate == expected


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = """\
mqtt:
  hots: broker.lan
  port: 99999
  password: a
  password_file: b
engine:
  beam_size: 11
  model:
  aggressiveness: 1
host: x
devices:
  kitchen: {rate: 5.5, language: english}
  a b: {}
  kitchen: {}
gate: 3
"""
    assert problems(text) == [
        "f:2:3: mqtt.hots: unknown key 'hots', did you mean 'host'?",
        "f:3:9: mqtt.port: 99999 is too large, at most 65535",
        "f:5:18: mqtt.password_file: give password or password_file, not both",
        "f:7:14: engine.beam_size: 11 is too large, at most 10",
        "f:8:9: engine.model: is empty, must be text",
        "f:9:3: engine.aggressiveness: unknown key 'aggressiveness', it belongs under 'gate'",
        "f:10:1: host: unknown key 'host', it belongs under 'mqtt' or 'web'",
        "f:12:19: devices.kitchen.rate: must be a whole number",
        "f:12:34: devices.kitchen.language: must be a language tag such as en or pt-BR",
        "f:13:3: devices.a b: a device name has 1 to 64 of A-Z a-z 0-9 _ . - : "
        "(a glob also * ? [ ] !)",
        "f:14:3: devices.kitchen: is given twice, first in line 12",
        "f:15:7: gate: must be a section with keys below it",
    ]


def test_a_rule_is_not_reported_when_a_wrong_value_may_be_why() -> None:
    assert problems("mqtt:\n  tls: {key_file: a, cert_file: []}\n") == [
        "f:2:33: mqtt.tls.cert_file: must be text"
    ]
    assert problems("mqtt:\n  tls: {key_file: a}\n  port: 0\n") == [
        "f:2:19: mqtt.tls.key_file: key_file needs cert_file beside it",
        "f:3:9: mqtt.port: 0 is too small, at least 1",
    ]


def test_a_rule_between_sections_is_reported_at_the_last_one() -> None:
    for text, position in (
        ("limits: {max_devices: 1}\ndevices: {a: , b: , 'c*': }", "f:2:10: devices"),
        ("devices: {a: , b: }\nlimits: {max_devices: 1}", "f:2:23: limits.max_devices"),
    ):
        assert problems(text) == [
            f"{position}: devices has more names than limits.max_devices has places"
        ]
    assert read("limits: {max_devices: 1}\ndevices: {a: , 'b*': , 'c*': }").limits.max_devices == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate: {enabled: maybe}", "gate.enabled: must be true or false"),
        ("gate: {floor_dbfs: low}", "gate.floor_dbfs: must be a number"),
        ("gate: {floor_dbfs: -97.5}", "gate.floor_dbfs: -97.5 is too small, at least -96"),
        ("gate: {margin_ms: true}", "gate.margin_ms: must be a whole number"),
        ("gate: {margin_ms: 1.5}", "gate.margin_ms: must be a whole number"),
        ("gate: {margin_ms: }", "gate.margin_ms: is empty, must be a whole number"),
        ("gate: {margin_ms: {a: 1}}", "gate.margin_ms: must be a whole number"),
        ("limits: {max_queue_age_s: 0}", "limits.max_queue_age_s: 0 is too small, at least 0.1"),
        ("limits: {max_age_s: 0.5}", "limits.max_age_s: 0.5 is too small, at least 1"),
        (
            "limits: {devices_forget_after_days: 0}",
            "limits.devices_forget_after_days: 0 is too small, at least 0.01",
        ),
        (
            "limits: {devices_forget_after_days: 4000}",
            "limits.devices_forget_after_days: 4000 is too large, at most 3650",
        ),
        ("mqtt: {takeover: maybe}", "mqtt.takeover: must be true or false"),
        (
            "limits: {max_devices: 200000}",
            "limits.max_devices: 200000 is too large, at most 100000",
        ),
        ("mqtt: {host: [a]}", "mqtt.host: must be text"),
        ("mqtt: {host: ''}", "mqtt.host: must not be empty"),
        ("mqtt: {base_topic: 'a/#'}", f"mqtt.base_topic: {PATTERNS['base_topic']}"),
        ("engine: {compute_type: INT8}", f"engine.compute_type: {PATTERNS['compute_type']}"),
        ("log: {level: wrning}", "log.level: 'wrning' is not known, did you mean 'warning'?"),
        ("log: {format: xml}", "log.format: 'xml' is not known; known are text, json"),
        ("log: {format: []}", "log.format: must be text"),
        ("log: {format: }", "log.format: is empty, must be text"),
        ("broker: embeded", "broker: 'embeded' is not known, did you mean 'embedded'?"),
        ("mqtt: [a]", "mqtt: must be a section with keys below it"),
        ("mqtt: {tls: on}", "mqtt.tls: must be a section with keys below it"),
        ("devices: kitchen", "devices: must be a section with keys below it"),
        ("devices: {a: 1}", "devices.a: must be a section with keys below it"),
        ("mqtt: {Host: a}", "mqtt.Host: unknown key 'Host', did you mean 'host'?"),
        (
            "mqtt: {client-id: a}",
            "mqtt.client-id: unknown key 'client-id', did you mean 'client_id'?",
        ),
        ("mqtt: {log: a}", "mqtt.log: unknown key 'log', it belongs at the top level"),
        (
            "log: {port: 1}",
            "log.port: unknown key 'port', it belongs under 'broker' or 'mqtt' or 'web'",
        ),
        ("log: {zzz: 1}", "log.zzz: unknown key 'zzz'; known are level, format"),
        (
            "mqtt: {tls: {host: a}}",
            "mqtt.tls.host: unknown key 'host', it belongs under 'mqtt' or 'web'",
        ),
        ("log: {<<: 1}", "log.<<: unknown key '<<'; known are level, format"),
        ('log: {"a\\nb": 1}', "log.a\\nb: unknown key 'a\\nb'; known are level, format"),
        ("? [a]\n: b", "a key must be a plain word"),
        ("- a", "the file must consist of sections such as `mqtt:`"),
        ("hello", "the file must consist of sections such as `mqtt:`"),
        ('mqtt: {host: "\\ud800"}', "mqtt.host: has characters that are not valid Unicode"),
    ],
)
def test_each_kind_of_mistake_has_its_sentence(text: str, message: str) -> None:
    (line,) = problems(text)
    assert line.split(": ", 1)[1] == message


def test_too_long_texts_and_too_many_devices_are_named_without_repeating_them() -> None:
    assert problems(f"mqtt: {{host: {'a' * 254}}}") == [
        "f:1:14: mqtt.host: is too long, at most 253 characters"
    ]
    (line,) = problems(f"log: {{{'k' * 500}: 1}}")
    assert "k" * MAX_SHOWN not in line


def test_every_pattern_of_the_models_has_a_sentence() -> None:
    keys: set[str] = set()

    def walk(node: object, key: str) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("pattern"), str):
                keys.add(key)
            for name, below in node.items():
                walk(below, key if name in ("anyOf", "items") else name)
        elif isinstance(node, list):
            for below in node:
                walk(below, key)

    walk(Config.model_json_schema(), "")
    assert keys | {"devices[key]", "names[key]", "fleet.name"} == set(PATTERNS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("devices:\n  *: {}", "f:2:4: a name or value that begins with * must be in quotes"),
        ("devices:\n  *_a: {}", "f:2:3: a name or value that begins with * must be in quotes"),
        ("mqtt:\n  password: &abc", "f:2:13: a value that begins with & must be in quotes"),
        ("mqtt:\n  password: !abc", "f:2:13: a value that begins with ! must be in quotes"),
        ("mqtt:\n  password: !a!b", "f:2:13: a value that begins with ! must be in quotes"),
        ("mqtt:\n  port: !!int 5", "f:2:9: a value that begins with ! must be in quotes"),
        (
            "mqtt:\n  password: @abc",
            "f:2:13: a value that begins with @, `, % or , must be in quotes",
        ),
        ("mqtt:\n\thost: a", "f:2:1: a tab; YAML wants spaces"),
        (
            "mqtt:\n  host: 'a\nlog: {}\n",
            "f:2:9: a quote that is not closed, or a backslash that needs single quotes",
        ),
        (
            'mqtt: {host: "\\d"}',
            "f:1:16: a quote that is not closed, or a backslash that needs single quotes",
        ),
        ("mqtt:\n  host: a\n  port 1\n", "f:3:3: a line without a colon and a space after its key"),
        (
            "mqtt:\n  host: a\n   port: 1",
            "f:3:8: a colon where none can be; is a quote or a space after a colon missing?",
        ),
        ("mqtt: {host: a\n", "f:1:7: a { that is not closed, or a comma missing"),
        ("a: 1\n---\nb: 1", "f:2:1: a second document; only one is allowed"),
        ("%YAML 2.0\n---\n", "f:1:1: this is not valid YAML"),
        (
            "mqtt: {}\n%b",
            "f:2:3: text that belongs to nothing above it; is a quote missing?",
        ),
        ("a: |x", "f:1:5: text after | or > where none can be; quotes missing?"),
        ('a: "\\UFFFFFFFF"', "f:1:7: an escape or number that YAML does not allow"),
        (
            "a: \x07",
            "f:1:4: a character that YAML does not allow; write it as \\x.. in double quotes",
        ),
        (
            "a:\n - \x00",
            "f:2:4: a character that YAML does not allow; write it as \\x.. in double quotes",
        ),
    ],
)
def test_text_that_is_not_yaml_is_one_clear_line(text: str, line: str) -> None:
    assert problems(text) == [line]


def test_the_size_the_nodes_and_the_depth_of_a_file_are_bounded() -> None:
    fitting = "#" * (CONFIGURATION.mib << 20)
    assert read(fitting) == Config()
    assert problems(fitting + "#") == ["f:1:1: the file is larger than 1 MiB"]

    devices = "limits: {max_devices: 5000}\ndevices:\n" + "".join(
        f"  d{n}:\n" for n in range((CONFIGURATION.nodes - 7) // 2)
    )
    assert len(read(devices).devices) == (CONFIGURATION.nodes - 7) // 2
    (line,) = problems(devices + "  x:\n  y:\n")
    assert line.endswith(f"the file has more than {CONFIGURATION.nodes} keys and values")

    assert (
        "list"
        not in problems(
            "mqtt: " + "[" * (CONFIGURATION.depth - 2) + "]" * (CONFIGURATION.depth - 2)
        )[0]
    )
    for bomb in ("[" * 100_000, "- " * 100_000, "{a: " * 100_000):
        (line,) = problems(bomb)
        assert line.endswith(f"more than {CONFIGURATION.depth} levels inside each other")


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [1]\n" + "".join(f"{n}: &{n} [*a, *a]\n" for n in range(100))
    assert problems(bomb) == ["f:1:4: a value that begins with & must be in quotes"]


def test_the_error_ends_a_command_with_the_configuration_status() -> None:
    with pytest.raises(ConfigError, match=r"^f:1:1: a: unknown key") as caught:
        read("a: 1")
    assert caught.value.exit_code == EXIT_CONFIG


WORDS = st.one_of(
    st.sampled_from(["mqtt", "host", "devices", "tls", "broker", "log", "rate", "*", "5", "null"]),
    st.sampled_from([": ", "\n", "\n  ", "- ", "? ", "&a ", "*a", "!!int ", "\n---\n", "\u2028"]),
    st.sampled_from(" :-{}[],'\"!%@|>#\t\\\ufeff"),
)


@given(st.one_of(st.text(), st.text(st.characters(codec=None)), st.lists(WORDS).map("".join)))
def test_any_text_is_a_configuration_or_a_configuration_error(text: str) -> None:
    found = attempt(text)
    if isinstance(found, Config):
        return
    assert found
    for line in found:
        assert line.isprintable()
        source, row, column, message = line.split(":", 3)
        assert source == "f"
        assert 1 <= int(row) <= len(text.splitlines()) + 1
        assert int(column) >= 1
        assert message.strip()


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([[], [1], ["en", [1]], [{"name": "auto", "model": [], "zzz": {}}], {"a": [1]}]),
)


@given(st.data())
def test_no_value_brings_out_words_of_pydantic(data: st.DataObject) -> None:
    section = data.draw(
        st.sampled_from([name for name in Config.model_fields if name != "devices"])
    )
    fields = type_at((section,)).keys
    keys = data.draw(st.lists(st.sampled_from(fields), unique=True))
    values = [data.draw(st.one_of(SCALARS, st.integers(-2, 20))) for _ in keys]
    text = f"{section}:\n" + "".join(
        f"  {key}: {_flow(value)}\n" for key, value in zip(keys, values, strict=True)
    )
    found = attempt(text)
    for line in found if isinstance(found, list) else []:
        _, _, _, key, message = line.split(":", 4)
        assert key.strip().startswith(section)
        assert "nput" not in message
        assert "cannot be used here" not in message


def _flow(value: object) -> str:
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
    return "null" if value is None else str(value)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["rate", "zzz", "codec"])),
        min_size=1,
        max_size=8,
    )
)
def test_every_mistake_is_reported_on_its_own_line_and_column(
    mistakes: list[tuple[int, str]],
) -> None:
    lines, expected = ["devices:"], []
    for number, (blank, key) in enumerate(mistakes):
        lines += ["# a comment"] * blank + [f"  d{number}:", f"    {key}: bad"]
        column = 5 if key == "zzz" else 5 + len(key) + 2
        expected.append(f"f:{len(lines)}:{column}: devices.d{number}.{key}")
    found = problems("\n".join(lines) + "\n")
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected
