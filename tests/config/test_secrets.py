from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stt_mqtt.cli import _COMMANDS, _parser, main
from stt_mqtt.config import Config, MqttConfig, read_config, without_secrets
from stt_mqtt.errors import EXIT_CONFIG
from tests.config.problems import NO_ENVIRONMENT, attempt, problems

MARK = "Ж"
"""In every password here and nowhere else in the configuration or its messages."""

PASSWORDS = st.text(f"{MARK}a1 :,@%&*!#|>-'\"{{}}[]\\`~", max_size=12).map(lambda text: text + MARK)
LINES = st.sampled_from(
    [
        "mqtt:\n  password: {}\n",
        "mqtt:\n  username: a\n  password: {}\n",
        "mqtt:\n  password: {}\n  password_file: x\n  port: 0\n",
        "mqtt:\n  password:{}\n  host: a\n",
        "mqtt:\n  host: a\n  password:{}\n",
        "mqtt:\n  host: a\n  password:{}:\n",
        "mqtt: {{password: {}}}\n",
        "mqtt: {{password:{}}}\n",
        "mqtt: {{password: a,{}}}\n",
        "mqtt: {{password: a, b: {}}}\n",
        "mqtt:\n  pasword: {}\n",
        "mqqt:\n  password: {}\n",
        "mqtt:\n  password: [{}]\n",
        "mqtt:\n  password: {{{}}}\n",
        "password: {}\n",
        "mqtt:\n  password: a\n  password: {}\n",
        "mqtt:\n  password: '{}\n",
        'mqtt:\n  password: "{}\n',
    ]
)


def test_what_may_be_a_secret_in_the_place_of_a_key_is_not_shown() -> None:
    (spaceless,) = problems("mqtt:\n  password:hunter2: a\n")
    assert spaceless.endswith("unknown key 'password', a space is missing after its colon")
    comma = problems("mqtt: {password: my,hunter2}\n")
    assert comma[-1].endswith("a key without a value; quotes missing?")
    assert "hunter2" not in "".join([spaceless, *comma])


@given(LINES, PASSWORDS)
@example("mqtt:\n  password: {}\n", f"!{MARK}!x")
@example("mqtt: {{password: {}}}\n", f"my,{MARK}")
def test_no_message_and_no_repr_shows_a_password(line: str, password: str) -> None:
    found = attempt(line.format(password))
    assert MARK not in repr(found)
    if isinstance(found, Config):
        assert MARK not in json.dumps(without_secrets(found), ensure_ascii=False)


@given(PASSWORDS)
def test_no_message_shows_a_password_of_the_environment(password: str) -> None:
    environ = {
        "STT_MQTT__MQTT__USERNAME": "stt",
        "STT_MQTT__MQTT__PASSWORD": password,
        "STT_MQTT__MQTT__PASSWORDS": password,
    }
    (line,) = problems("", environ)
    assert line.endswith("unknown key 'passwords', did you mean 'password'?")


@pytest.mark.parametrize(
    "line",
    [
        "mqtt: {{host: 'mqtt://stt:{}@broker.lan'}}",
        "mqtt: {{host: 'stt:{}@broker.lan:1883'}}",
        "mqtt: {{host: '{}@'}}",
        "phrases: {{home_assistant: {{url: 'http://stt:{}@home:8123', token: t}}}}",
        "phrases: {{home_assistant: {{url: 'http://home:8123/?token={}', token: t}}}}",
        "phrases: {{home_assistant: {{tokens: {}}}}}",
        "phrases: {{home_assistant: {}}}",
        "wyoming: {{listen: ['tcp://stt:{}@0.0.0.0:10300']}}",
        "web: {{token: {}}}",
        "web: {}",
    ],
)
def test_a_login_in_an_address_is_not_shown(line: str) -> None:
    secret = f"{MARK}secret"
    assert secret not in "\n".join(problems(line.format(secret), NO_ENVIRONMENT))
    assert MARK not in repr(attempt(line.format(secret)))


@pytest.mark.parametrize("command", ["watch", "satellite --device kitchen"])
def test_a_login_in_the_address_of_a_command_is_not_shown(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--host", f"mqtt://stt:{MARK}@broker.lan"]) == EXIT_CONFIG
    shown = capsys.readouterr()
    assert "the login belongs under mqtt.username and mqtt.password" in shown.err
    assert MARK not in shown.out + shown.err


@pytest.mark.parametrize("command", sorted(_COMMANDS))
def test_no_command_takes_a_secret_as_an_argument(command: str) -> None:
    """Every user of the machine can see the arguments of a program."""
    parser = _parser([command])
    (subparsers,) = [one for one in parser._actions if isinstance(one.choices, dict)]
    assert isinstance(subparsers.choices, dict)
    options = [text for one in subparsers.choices[command]._actions for text in one.option_strings]
    assert options
    named = re.compile("pass|token|secret|login|credential|user", re.IGNORECASE)
    assert not [option for option in options if named.search(option)]


@given(st.text(), st.sampled_from(["password", "password_file", "username"]))
def test_what_everybody_may_see_has_no_credentials(text: str, field: str) -> None:
    private = MARK + text
    config = Config(mqtt=MqttConfig.model_validate({field: private[:200]}))
    public = without_secrets(config)
    assert MARK not in json.dumps(public, ensure_ascii=False)
    assert public == without_secrets(Config())


def test_what_everybody_may_see_is_the_rest_ready_for_json() -> None:
    config = read_config(
        "mqtt: {host: h, tls: {ca_file: c}}\ndevices: {kitchen: {rate: 8000}, cellar: }\n",
        "f",
        NO_ENVIRONMENT,
    )
    public = json.loads(json.dumps(without_secrets(config)))
    assert set(Config.model_fields) - set(public) == {"satellite"}
    assert set(MqttConfig.model_fields) - set(public["mqtt"]) == {
        "password",
        "password_file",
        "username",
    }
    assert public["mqtt"]["tls"] == {"ca_file": "c", "cert_file": None, "key_file": None}
    assert public["devices"] == {"kitchen": {"rate": 8000}, "cellar": {}}
    assert public["broker"]["mode"] == "external"
