"""Finds keys that are set but have no effect because of other keys.

Two cases are allowed: a key below a switch that is explicitly off (`enabled: false`), because
people turn things off temporarily, and a key with the value that applies anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from stt_mqtt.config.audio import KeepAudioConfig
from stt_mqtt.config.devices import DeviceConfig, is_glob, settings_for
from stt_mqtt.config.network import (
    BrokerConfig,
    BrokerMode,
    ListenAddress,
    MqttConfig,
    Protocol,
    Scheme,
)
from stt_mqtt.config.phrases import PhrasesConfig
from stt_mqtt.config.root import Config
from stt_mqtt.config.satellite import ListenMode, SatelliteCodec, SatelliteConfig
from stt_mqtt.config.section import Section
from stt_mqtt.config.service import LimitsConfig
from stt_mqtt.config.web import WebConfig

Path = tuple[str, ...]

_IN_VAIN = {
    "host": "; remove it",
    "port": "; the port of that one is broker.port",
    "tls": ", which has no TLS",
}
"""Keys of `mqtt` that have no effect with an embedded broker, and the end of the message."""
_CLASS_OF_CHARACTERS = re.compile(r"\[!?\]?[^\]]*\]")


@dataclass(frozen=True, slots=True)
class IneffectiveKey:
    """A key without effect, the key that is the reason, and a message."""

    key: Path
    because: Path
    message: str


def without_effect(config: Config) -> Iterator[IneffectiveKey]:
    """All keys of the configuration that are set and have no effect."""
    yield from _of_the_broker(config.broker, config.mqtt)
    yield from _of_the_login(config.mqtt)
    yield from _of_the_announcement(config)
    yield from _of_the_pages(config.web)
    yield from _of_the_ladder(config)
    yield from _of_the_limits(config.limits)
    yield from _of_the_phrases(config.phrases)
    yield from _of_the_recordings(config.keep_audio)
    yield from _of_the_names(config.devices)
    yield from _of_the_languages(config.device_defaults, config.devices)
    yield from _of_the_satellite(config.satellite)


def _written(section: Section, *keys: str) -> list[str]:
    """Those of the keys that are set."""
    return [
        key for key in keys if key in section.model_fields_set and getattr(section, key) is not None
    ]


def _of_the_broker(broker: BrokerConfig, mqtt: MqttConfig) -> Iterator[IneffectiveKey]:
    mode = ("broker", "mode")
    if broker.mode is BrokerMode.EXTERNAL:
        for key, other in (("listen", "mqtt.host"), ("port", "mqtt.port")):
            if _written(broker, key):
                yield IneffectiveKey(
                    ("broker", key),
                    mode,
                    f"has no effect without mode: embedded; your own broker is told by {other}",
                )
        return
    in_force: dict[str, set[object]] = {
        "host": {"localhost", "127.0.0.1", "::1", broker.listen},
        "port": {broker.port},
        "tls": set(),
    }
    for key in _written(mqtt, *_IN_VAIN):
        if getattr(mqtt, key) not in in_force[key]:
            message = f"has no effect beside broker: embedded{_IN_VAIN[key]}"
            yield IneffectiveKey(("mqtt", key), mode, message)
    if mqtt.protocol is Protocol.V5:
        message = "has no effect beside broker: embedded, which speaks 3.1.1 only"
        yield IneffectiveKey(("mqtt", "protocol"), mode, message)


def _of_the_login(mqtt: MqttConfig) -> Iterator[IneffectiveKey]:
    if mqtt.username is None:
        for key in _written(mqtt, "password", "password_file"):
            yield IneffectiveKey(
                ("mqtt", key), ("mqtt", "username"), "needs mqtt.username beside it"
            )


def _of_the_announcement(config: Config) -> Iterator[IneffectiveKey]:
    wyoming = config.wyoming
    if not wyoming.enabled or not (_written(wyoming, "zeroconf") and wyoming.zeroconf):
        return
    if all(map(_is_for_this_machine_only, wyoming.addresses)):
        yield IneffectiveKey(
            ("wyoming", "zeroconf"),
            ("wyoming", "listen"),
            "has no effect where only this machine can reach wyoming.listen; "
            "tcp://0.0.0.0:10300 lets the network in",
        )


def _is_for_this_machine_only(address: ListenAddress) -> bool:
    if address.scheme is not Scheme.TCP:
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost"


def _of_the_pages(web: WebConfig) -> Iterator[IneffectiveKey]:
    if web.enabled and web.ingress and web.is_loopback:
        yield IneffectiveKey(
            ("web", "ingress"),
            ("web", "host"),
            "has no effect where only this machine can reach web.host; 0.0.0.0 lets Home "
            "Assistant in",
        )


def _of_the_ladder(config: Config) -> Iterator[IneffectiveKey]:
    if len(config.ladder.rungs) < 2:
        for key in _written(config.ladder, "promised_wait_ms", "min_stay_s"):
            message = "has no effect without two rungs or more in ladder.rungs"
            yield IneffectiveKey(("ladder", key), ("ladder", "rungs"), message)


def _of_the_limits(limits: LimitsConfig) -> Iterator[IneffectiveKey]:
    utterance_mib = limits.max_utterance_kib / 1024
    for key, value, other, room, remedy in (
        (
            "max_utterance_s",
            limits.max_utterance_s,
            "max_queued_audio_s",
            limits.max_queued_audio_s,
            "no longer one can wait for its turn",
        ),
        (
            "max_utterance_kib",
            utterance_mib,
            "max_buffered_mib",
            limits.max_buffered_mib,
            "all devices together have no more",
        ),
        (
            "max_queue_age_s",
            limits.max_queue_age_s,
            "max_age_s",
            limits.max_age_s,
            "speech is too old before",
        ),
    ):
        if _written(limits, key) and value > room:
            message = f"has no effect above limits.{other} ({room:g}): {remedy}"
            yield IneffectiveKey(("limits", key), ("limits", other), message)


def _of_the_phrases(phrases: PhrasesConfig) -> Iterator[IneffectiveKey]:
    if not phrases.has_book:
        for key in _written(phrases, "names", "home_assistant"):
            if getattr(phrases, key) != {}:
                message = "has no effect without sentences: phrases.builtin: true, or phrases.paths"
                yield IneffectiveKey(("phrases", key), ("phrases", "builtin"), message)
    source = phrases.home_assistant
    if source is not None and source.ca_file is not None and not source.is_encrypted:
        place = ("phrases", "home_assistant")
        message = "has no effect without TLS: the url begins with http:"
        yield IneffectiveKey((*place, "ca_file"), (*place, "url"), message)


def _of_the_recordings(keep_audio: KeepAudioConfig) -> Iterator[IneffectiveKey]:
    if "enabled" not in keep_audio.model_fields_set:
        for key in _written(keep_audio, "folder", "max_age_days", "max_mib"):
            message = "has no effect without enabled: true"
            yield IneffectiveKey(("keep_audio", key), ("keep_audio", "enabled"), message)


def _of_the_names(names: Iterable[str]) -> Iterator[IneffectiveKey]:
    for name in names:
        if re.search(r"[\[\]!]", _CLASS_OF_CHARACTERS.sub("", name)):
            key = ("devices", name)
            yield IneffectiveKey(key, key, "no device can have such a name; a glob's [ needs its ]")


def _of_the_languages(
    defaults: DeviceConfig, devices: Mapping[str, DeviceConfig]
) -> Iterator[IneffectiveKey]:
    """`languages` has an effect only if `language` is null."""
    is_detected = any(
        "language" in entry.model_fields_set and entry.language is None
        for entry in devices.values()
    )
    message = "has no effect where the language is given ({}); with language: null it is detected"
    if defaults.languages and defaults.language is not None and not is_detected:
        yield IneffectiveKey(
            ("device_defaults", "languages"),
            ("device_defaults", "language"),
            message.format(defaults.language),
        )
    for name, entry in devices.items():
        if "languages" not in entry.model_fields_set or not entry.languages:
            continue
        own = "language" in entry.model_fields_set
        language = entry.language if own else defaults.language
        if not is_glob(name):
            language = settings_for(name, defaults, devices).language
        elif is_detected:
            continue
        if language is not None:
            because = ("devices", name) if own else ("device_defaults",)
            yield IneffectiveKey(
                ("devices", name, "languages"), (*because, "language"), message.format(language)
            )


def _of_the_satellite(satellite: SatelliteConfig) -> Iterator[IneffectiveKey]:
    if satellite.mode is not ListenMode.WAKE:
        for key in _written(satellite, "wake_topic", "listen_timeout_s"):
            message = f"has no effect with mode: {satellite.mode.value}; it is for mode: wake"
            yield IneffectiveKey(("satellite", key), ("satellite", "mode"), message)
    if satellite.codec is not SatelliteCodec.OPUS and _written(satellite, "opus_kbps"):
        message = f"has no effect with codec: {satellite.codec.value}; it is for codec: opus"
        yield IneffectiveKey(("satellite", "opus_kbps"), ("satellite", "codec"), message)
    cleanup = satellite.cleanup
    switched_off = _written(cleanup, "auto_gain")
    if not cleanup.auto_gain and not switched_off and _written(cleanup, "max_gain_db"):
        yield IneffectiveKey(
            ("satellite", "cleanup", "max_gain_db"),
            ("satellite", "cleanup", "auto_gain"),
            "has no effect without auto_gain: true",
        )
