"""Checks the secrets that the configuration names, and whether the service runs with its file."""

from __future__ import annotations

from stt_mqtt.app.sources import (
    resolve_authorities,
    resolve_certificate,
    resolve_password,
    resolve_token,
    resolve_web_token,
)
from stt_mqtt.config import compare
from stt_mqtt.doctor.report import Finding, ok, warn
from stt_mqtt.doctor.subject import Subject

NAME = "configuration"


def check_configuration(subject: Subject) -> list[Finding]:
    """The file was read before. Raises `ConfigError` if a file that it names cannot be read."""
    config = subject.config if subject.service is None else subject.source.load()
    if config.has_doors:
        resolve_password(config.mqtt)
    if config.has_doors and config.web.enabled:
        resolve_web_token(config.web)
        resolve_certificate(config.web)
    if config.phrases.home_assistant is not None:
        resolve_token(config.phrases.home_assistant)
        resolve_authorities(config.phrases.home_assistant)
    changes = compare(subject.config, config)
    if changes.needs_restart:
        keys = ", ".join(changes.needs_restart)
        return [warn(NAME, f"the service does not use the new {keys}", "restart the service")]
    if changes.applied:
        keys = ", ".join(changes.applied)
        return [warn(NAME, f"the service does not use the new {keys}", "reload the configuration")]
    return [ok(NAME, "no mistakes")]
