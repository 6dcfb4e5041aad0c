"""A key that has no effect beside the others is a mistake, said with its place."""

from __future__ import annotations

import pytest

from stt_mqtt.config import Config, read_config
from tests.config.problems import NO_ENVIRONMENT, problems

TWO_RUNGS = "rungs: [{name: a, model: tiny}, {name: b, model: base}]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # The broker.
        (
            "broker: embedded\nmqtt:\n  port: 18899",
            "f:3:3: mqtt.port: has no effect beside broker: embedded; the port of that one is "
            "broker.port",
        ),
        (
            "broker: embedded\nmqtt: {host: broker.lan}",
            "f:2:8: mqtt.host: has no effect beside broker: embedded; remove it",
        ),
        (
            "broker: embedded\nmqtt:\n  tls:",
            "f:3:3: mqtt.tls: has no effect beside broker: embedded, which has no TLS",
        ),
        (
            "broker: {mode: embedded}\nmqtt: {protocol: '5'}",
            "f:2:8: mqtt.protocol: has no effect beside broker: embedded, which speaks 3.1.1 only",
        ),
        (
            "broker: {port: 1884}",
            "f:1:10: broker.port: has no effect without mode: embedded; your own broker is told "
            "by mqtt.port",
        ),
        (
            "broker: {mode: external, listen: 0.0.0.0}",
            "f:1:26: broker.listen: has no effect without mode: embedded; your own broker is told "
            "by mqtt.host",
        ),
        ("mqtt: {password: a}", "f:1:8: mqtt.password: needs mqtt.username beside it"),
        (
            "broker: embedded\nmqtt: {password_file: /a}",
            "f:2:8: mqtt.password_file: needs mqtt.username beside it",
        ),
        # The doors.
        (
            "wyoming: {zeroconf: true}",
            "f:1:11: wyoming.zeroconf: has no effect where only this machine can reach "
            "wyoming.listen; tcp://0.0.0.0:10300 lets the network in",
        ),
        (
            "wyoming: {zeroconf: true, listen: ['stdio://', 'tcp://[::1]:5', 'tcp://localhost:6']}",
            "f:1:11: wyoming.zeroconf: has no effect where only this machine can reach "
            "wyoming.listen; tcp://0.0.0.0:10300 lets the network in",
        ),
        (
            "web: {ingress: true}",
            "f:1:7: web.ingress: has no effect where only this machine can reach web.host; "
            "0.0.0.0 lets Home Assistant in",
        ),
        # Recordings.
        (
            "keep_audio: {max_mib: 5}",
            "f:1:14: keep_audio.max_mib: has no effect without enabled: true",
        ),
        # The ladder.
        (
            "ladder: {min_stay_s: 5}",
            "f:1:10: ladder.min_stay_s: has no effect without two rungs or more in ladder.rungs",
        ),
        (
            "ladder: {promised_wait_ms: 500, rungs: [{name: a, model: tiny}]}",
            "f:1:10: ladder.promised_wait_ms: has no effect without two rungs or more in "
            "ladder.rungs",
        ),
        # The limits.
        (
            "limits: {max_utterance_s: 400, max_queued_audio_s: 300}",
            "f:1:10: limits.max_utterance_s: has no effect above limits.max_queued_audio_s (300): "
            "no longer one can wait for its turn",
        ),
        (
            "limits: {max_utterance_kib: 4096, max_buffered_mib: 2}",
            "f:1:10: limits.max_utterance_kib: has no effect above limits.max_buffered_mib (2): "
            "all devices together have no more",
        ),
        (
            "limits: {max_queue_age_s: 40, max_age_s: 20}",
            "f:1:10: limits.max_queue_age_s: has no effect above limits.max_age_s (20): "
            "speech is too old before",
        ),
        # Languages.
        (
            "device_defaults: {language: de, languages: [de, en]}",
            "f:1:33: device_defaults.languages: has no effect where the language is given (de); "
            "with language: null it is detected",
        ),
        (
            "device_defaults: {language: de}\ndevices: {hall: {languages: [de, en]}}",
            "f:2:18: devices.hall.languages: has no effect where the language is given (de); "
            "with language: null it is detected",
        ),
        (
            "devices: {'k*': {language: de}, kids: {languages: [en]}}",
            "f:1:40: devices.kids.languages: has no effect where the language is given (de); "
            "with language: null it is detected",
        ),
        (
            "devices: {'k*': {language: de, languages: [en]}}",
            "f:1:32: devices.k*.languages: has no effect where the language is given (de); "
            "with language: null it is detected",
        ),
        # Names.
        (
            "devices: {'hall!': {}}",
            "f:1:11: devices.hall!: no device can have such a name; a glob's [ needs its ]",
        ),
        (
            "devices: {'kids_[': {}}",
            "f:1:11: devices.kids_[: no device can have such a name; a glob's [ needs its ]",
        ),
        # The satellite.
        (
            "satellite: {wake_topic: a/wake}",
            "f:1:13: satellite.wake_topic: has no effect with mode: always; it is for mode: wake",
        ),
        (
            "satellite: {mode: push_to_talk, listen_timeout_s: 5}",
            "f:1:33: satellite.listen_timeout_s: has no effect with mode: push_to_talk; it is for "
            "mode: wake",
        ),
        (
            "satellite: {codec: flac, opus_kbps: 24}",
            "f:1:26: satellite.opus_kbps: has no effect with codec: flac; it is for codec: opus",
        ),
        (
            "satellite: {cleanup: {max_gain_db: 20}}",
            "f:1:23: satellite.cleanup.max_gain_db: has no effect without auto_gain: true",
        ),
    ],
)
def test_a_key_without_effect_is_reported_at_its_place(text: str, line: str) -> None:
    assert problems(text) == [line]


@pytest.mark.parametrize(
    "text",
    [
        "",
        # It says what is so anyway.
        "broker: {mode: embedded, port: 1884}\nmqtt: {host: 127.0.0.1, port: 1884}",
        "broker: embedded\nmqtt: {host: localhost, port: 1883, tls: null, protocol: 3.1.1}",
        "broker: {mode: embedded, listen: 192.168.1.5}\nmqtt: {host: 192.168.1.5}",
        "mqtt: {port: null, password: null}\nladder: {rungs: }",
        # It is used.
        "broker: embedded\nmqtt: {username: a, password: b, keepalive_s: 60, client_id: c}",
        "wyoming: {zeroconf: true, listen: ['tcp://0.0.0.0:10300']}",
        "wyoming: {zeroconf: true, listen: ['tcp://stt.lan:10300', 'stdio://']}",
        "wyoming: {zeroconf: false}",
        "web: {ingress: true, host: 0.0.0.0}",
        f"ladder: {{min_stay_s: 5, promised_wait_ms: 500, {TWO_RUNGS}}}",
        "ladder: {rung: auto}",
        "limits: {max_age_s: 5}",
        "limits: {max_buffered_mib: 1}",
        "limits: {max_queued_audio_s: 10}",
        "satellite: {mode: wake, wake_topic: a/wake, listen_timeout_s: 5}",
        "satellite: {opus_kbps: 24, cleanup: {auto_gain: true, max_gain_db: 20}}",
        "device_defaults: {languages: [de, en]}\ndevices: {hall: {language: de}}",
        "device_defaults: {language: de, languages: [de, en]}\ndevices: {hall: {language: }}",
        "device_defaults: {language: de}\ndevices: {hall: {language: , languages: [de, en]}}",
        "device_defaults: {language: de}\n"
        "devices: {'k*': {languages: [de, en]}, kids: {language: null}}",
        "devices: {hall: {language: de, languages: []}}",
        "devices: {'kids_[ab]': {}, '[!x]*': {}, '[]a]': {}}",
        # It waits for a door that is switched off for a while.
        "wyoming: {enabled: false, listen: ['unix:///run/a'], zeroconf: true}",
        "homeassistant: {enabled: false, discovery_prefix: ha}",
        "web: {enabled: false, ingress: true}",
        "keep_audio: {enabled: false, max_mib: 5}",
        "keep_audio: {enabled: true, folder: /a, max_age_days: 1, max_mib: 5}",
        "gate: {enabled: false, aggressiveness: 3}",
        "devices: {hall: {enabled: false, rate: 8000}}",
        "satellite: {cleanup: {auto_gain: false, max_gain_db: 20}}",
    ],
)
def test_a_key_with_an_effect_or_behind_a_switch_that_is_off_is_fine(text: str) -> None:
    assert isinstance(read_config(text, "f", NO_ENVIRONMENT), Config)


def test_all_of_them_are_reported_at_once_with_the_other_mistakes() -> None:
    text = """\
broker: embedded
mqtt:
  port: 18899
  host: nas
gate:
  margin_ms: long
satellite:
  wake_topic: a
"""
    assert [line.partition(" has")[0] for line in problems(text)] == [
        "f:3:3: mqtt.port:",
        "f:4:3: mqtt.host:",
        "f:6:14: gate.margin_ms: must be a whole number",
        "f:8:3: satellite.wake_topic:",
    ]


def test_what_follows_from_a_wrong_value_is_not_reported() -> None:
    assert len(problems("broker: {mode: inside, port: 1884}")) == 1
    assert len(problems("satellite: {mode: wakeup, wake_topic: a}")) == 1
    assert len(problems("limits: {max_utterance_s: long, max_queue_age_s: never}")) == 2


def test_the_environment_may_make_a_key_of_the_file_useless() -> None:
    text = "broker: {mode: embedded, port: 1884}"
    environ = {"STT_MQTT__BROKER__MODE": "external", "STT_MQTT__MQTT__HOST": "nas"}
    assert read_config(text, "f", environ).mqtt.host == "nas"
    satellite = {"STT_MQTT__SATELLITE__MODE": "always"}
    assert read_config("satellite: {mode: wake, wake_topic: a}", "f", satellite)


def test_a_variable_without_effect_is_reported_by_its_name() -> None:
    assert problems("broker: embedded", {"STT_MQTT__MQTT__HOST": "nas"}) == [
        "environment STT_MQTT__MQTT__HOST: has no effect beside broker: embedded; remove it"
    ]
    both = {"STT_MQTT__BROKER": "external", "STT_MQTT__BROKER__PORT": "1884"}
    (line,) = problems("broker: {listen: 0.0.0.0}", both)
    assert line.startswith("environment STT_MQTT__BROKER__PORT: has no effect without")
