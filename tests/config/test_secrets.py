from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from stt_mqtt.config import Config, MqttConfig, read_config, without_secrets
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
