"""The list of all checks, and the secrets that no report may have."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from stt_mqtt.app.sources import resolve_password, resolve_token, resolve_web_token
from stt_mqtt.config import Config
from stt_mqtt.doctor.broker import check_broker
from stt_mqtt.doctor.configuration import check_configuration
from stt_mqtt.doctor.disk import check_disk
from stt_mqtt.doctor.examination import Check
from stt_mqtt.doctor.extras import check_extras
from stt_mqtt.doctor.fleet import check_fleet
from stt_mqtt.doctor.machine import check_clock, check_cpu, check_memory
from stt_mqtt.doctor.model import check_models, check_sample
from stt_mqtt.doctor.phrases import check_phrases
from stt_mqtt.doctor.ports import check_ports
from stt_mqtt.errors import ConfigError

CHECKS = (
    Check("configuration", check_configuration),
    Check("extras", check_extras),
    Check("clock", check_clock),
    Check("disk", check_disk),
    Check("cpu", check_cpu),
    Check("broker", check_broker, timeout_s=20.0),
    Check("fleet", check_fleet, timeout_s=12.0),
    Check("ports", check_ports, timeout_s=5.0),
    Check("phrases", check_phrases, timeout_s=10.0),
    Check("model", check_models, timeout_s=15.0),
    Check("memory", check_memory),
    Check("sample", check_sample, timeout_s=20.0),
)
"""In the order in which they are made: what is quick and explains the others comes first."""

WITHOUT_CONFIG = tuple(check for check in CHECKS if check.name in {"clock", "cpu"})
"""Checks that tell the truth although the configuration cannot be read."""


def secrets_of(config: Config, environ: Mapping[str, str]) -> frozenset[str]:
    """All secrets of a configuration and of the environment."""
    found = {value for name, value in environ.items() if _is_secret(name.upper())}
    with suppress(ConfigError):
        found.add(resolve_password(config.mqtt) or "")
    if config.phrases.home_assistant is not None:
        with suppress(ConfigError):
            found.add(resolve_token(config.phrases.home_assistant))
    with suppress(ConfigError):
        found.add(resolve_web_token(config.web) or "")
    return frozenset(found - {""})


def _is_secret(variable: str) -> bool:
    """Whether the value of an environment variable is a secret of the service or the add-on."""
    ours = variable.startswith("STT_MQTT") or variable == "SUPERVISOR_TOKEN"
    return ours and variable.endswith(("PASSWORD", "TOKEN"))
