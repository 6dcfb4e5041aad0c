from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.config import Changes, Config, compare, merge, read_config
from stt_mqtt.errors import ConfigError
from tests.config.problems import NO_ENVIRONMENT


def read(text: str) -> Config:
    return read_config(text, "f", NO_ENVIRONMENT)


@pytest.mark.parametrize(
    ("old", "new", "applied", "needs_restart"),
    [
        ("", "", (), ()),
        ("", "gate: {enabled: true}", (), ()),
        ("", "log: {level: debug}\nmqtt: {port: 1}", ("log.level",), ("mqtt.port",)),
        (
            "",
            "broker: embedded\nlimits: {max_devices: 5}",
            (),
            ("broker.mode", "limits.max_devices"),
        ),
        (
            "mqtt: {username: u, password: a}",
            "mqtt: {username: u, password: b}",
            (),
            ("mqtt.password",),
        ),
        (
            "",
            "mqtt: {takeover: true}\nlimits: {max_age_s: 60, devices_forget_after_days: 90}",
            (),
            ("mqtt.takeover", "limits.devices_forget_after_days", "limits.max_age_s"),
        ),
        (
            "mqtt: {username: u, password: a}",
            "",
            (),
            ("mqtt.username", "mqtt.password"),
        ),
        ("", "mqtt: {tls: {ca_file: a}}", (), ("mqtt.tls",)),
        ("mqtt: {tls: {ca_file: a}}", "mqtt: {tls: {}}", (), ("mqtt.tls.ca_file",)),
        ("", "device_defaults: {rate: 8000}", ("device_defaults.rate",), ()),
        (
            "ladder: {rungs: [{name: a, model: m}, {name: b, model: m}]}",
            "ladder: {rungs: [{name: a, model: m}, {name: b, model: n, beam_size: 1}]}",
            (),
            ("ladder.rungs[1].model", "ladder.rungs[1].beam_size"),
        ),
        (
            "ladder: {rungs: [{name: a, model: m}]}",
            "ladder: {rungs: [{name: a, model: m}, {name: b, model: m}]}",
            (),
            ("ladder.rungs",),
        ),
        (
            "device_defaults: {languages: [en, de], hotwords: [a]}",
            "device_defaults: {languages: [en, fr], hotwords: [a]}",
            ("device_defaults.languages",),
            (),
        ),
        ("devices: {a: {}}", "devices: {a: {languages: }}", ("devices.a.languages",), ()),
        ("devices: {a: {}}", "devices: {b: {}}", ("devices.a", "devices.b"), ()),
        (
            "devices: {a: {rate: 8000, channels: 2}}",
            "devices: {a: {rate: 16000, channels: 2}}",
            ("devices.a.rate",),
            (),
        ),
        ("devices: {a: {}}", "devices: {a: {rate: 16000}}", ("devices.a.rate",), ()),
        ("devices: {'a*': {}, 'b*': {}}", "devices: {'b*': {}, 'a*': {}}", ("devices",), ()),
        ("devices: {a: {}, b: {}}", "devices: {b: {}, a: {}}", (), ()),
    ],
)
def test_changes_are_named_by_key(
    old: str, new: str, applied: tuple[str, ...], needs_restart: tuple[str, ...]
) -> None:
    assert compare(read(old), read(new)) == Changes(applied, needs_restart)


SNIPPETS = {
    "broker": "broker: embedded\n",
    "mqtt": "mqtt: {host: localhost, username: a, password: b}\n",
    "hermes": "hermes: {enabled: false}\n",
    "wyoming": "wyoming: {listen: ['unix:///run/a', 'stdio://']}\n",
    "homeassistant": "homeassistant: {discovery_prefix: ha}\n",
    "web": "web: {port: 8080}\n",
    "audio": "audio: {isolate: true}\n",
    "engine": "engine: {workers: 1}\n",
    "ladder": "ladder: {rungs: [{name: a, model: b}, {name: c, model: b}], min_stay_s: 5}\n",
    "limits": "limits: {max_devices: 5}\n",
    "gate": "gate: {enabled: false}\n",
    "phrases": "phrases: {builtin: true, names: {drink: [tea]}}\n",
    "keep_audio": "keep_audio: {enabled: true, max_mib: 5}\n",
    "fleet": "fleet: {role: worker}\n",
    "device_defaults": "device_defaults: {rate: 8000}\n",
    "devices": "devices: {a: {rate: 8000}}\n",
    "satellite": "satellite: {codec: flac, vad: {hangover_ms: 700}}\n",
    "log": "log: {level: debug}\n",
    "service": "service: {shutdown_grace_s: 1}\n",
}
CONFIGS = st.lists(st.sampled_from(sorted(SNIPPETS)), unique=True).map(
    lambda sections: read("".join(SNIPPETS[section] for section in sections))
)


def test_the_snippets_cover_every_section() -> None:
    assert set(SNIPPETS) == set(Config.model_fields)


@given(CONFIGS, CONFIGS)
def test_after_a_reload_the_live_sections_are_new_and_the_others_still_to_restart(
    old: Config, new: Config
) -> None:
    changes = compare(old, new)
    merged = merge(old, new)
    assert compare(merged, new) == Changes((), changes.needs_restart)
    assert compare(old, merged) == Changes(changes.applied, ())
    for section in Config.model_fields:
        source = old if section in Config.RESTART_SECTIONS else new
        assert getattr(merged, section) == getattr(source, section)


def test_devices_for_which_only_the_new_limits_have_room_wait_for_the_restart() -> None:
    old = read("limits: {max_devices: 1}\ndevices: {a: {}}")
    new = read("limits: {max_devices: 2}\ndevices: {a: {}, b: {}}")
    with pytest.raises(ConfigError) as caught:
        merge(old, new)
    assert caught.value.problems == [
        "devices has more names than limits.max_devices has places "
        "before the restart that the change needs"
    ]
    assert caught.value.__context__ is None
