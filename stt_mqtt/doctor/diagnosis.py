"""The way in: everything that can be said about a configuration on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from stt_mqtt import __version__
from stt_mqtt.app.sources import ConfigLoader
from stt_mqtt.config import Config
from stt_mqtt.doctor.checks import CHECKS, WITHOUT_CONFIG, secrets_of
from stt_mqtt.doctor.configuration import NAME as CONFIGURATION
from stt_mqtt.doctor.examination import examined
from stt_mqtt.doctor.report import Finding, Redactor, fail
from stt_mqtt.doctor.subject import Machine, Subject
from stt_mqtt.errors import ConfigError

FIRST_THIS = "correct it, then run this again: what depends on it was not checked"


def diagnosed(source: ConfigLoader, machine: Machine) -> Iterator[Finding]:
    """The findings about a configuration and this machine, without secrets. Does not raise."""
    try:
        config = source.load()
    except ConfigError as error:
        redactor = Redactor(secrets_of(Config(), machine.environ))
        findings = [fail(CONFIGURATION, problem, FIRST_THIS) for problem in error.problems]
        yield from map(redactor.clean, findings)
        subject = Subject(source, Config(), machine)
        yield from map(redactor.clean, examined(WITHOUT_CONFIG, subject))
        return
    yield from examined_subject(Subject(source, config, machine))


def examined_subject(subject: Subject) -> Iterator[Finding]:
    """The findings of all checks, without secrets. Does not raise."""
    redactor = Redactor(secrets_of(subject.config, subject.machine.environ))
    yield from map(redactor.clean, examined(CHECKS, subject))


def report_as_json(findings: Iterable[Finding], epoch: float) -> dict[str, object]:
    """The whole report: version, date and checks."""
    return {
        "version": __version__,
        "date": f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "checks": [finding.as_json() for finding in findings],
    }
