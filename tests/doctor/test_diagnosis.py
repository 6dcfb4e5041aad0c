from __future__ import annotations

from dataclasses import replace

import pytest

from stt_mqtt.config import Config
from stt_mqtt.doctor import diagnosis
from stt_mqtt.doctor.diagnosis import diagnosed, report_as_json
from stt_mqtt.doctor.examination import Check
from stt_mqtt.doctor.report import HIDDEN, Finding, ok
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.errors import ConfigError
from tests.doctor.subjects import NOVEMBER_2026, SOUND, Given, subject_of


def test_a_check_that_raises_with_a_secret_does_not_tell_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leak(subject: Subject) -> list[Finding]:
        assert subject.config.mqtt.password is not None
        secret = subject.config.mqtt.password.get_secret_value()
        raise RuntimeError(f"no route to mqtt://stt:{secret}@broker.lan, {secret}")

    monkeypatch.setattr(diagnosis, "CHECKS", (Check("leak", leak),))
    subject = subject_of(mqtt={"username": "stt", "password": "canary"})
    (finding,) = diagnosed(subject.source, SOUND)
    assert finding.detail.endswith(f"RuntimeError: no route to mqtt://broker.lan, {HIDDEN}")


def test_mistakes_keep_what_depends_on_the_configuration_from_being_checked() -> None:
    class Faulty(Given):
        def load(self) -> Config:
            raise ConfigError(["f:1:1: mqtt.hots: unknown key", "f:2:1: canary"])

    machine = replace(SOUND, environ={"STT_MQTT__MQTT__PASSWORD": "canary"})
    findings = list(diagnosed(Faulty(subject_of().config), machine))
    assert [finding.name for finding in findings] == [
        "configuration",
        "configuration",
        "clock",
        "cpu",
    ]
    assert findings[1].detail == f"f:2:1: {HIDDEN}"
    assert findings[0].what_to_do.startswith("correct it, then run this again")


def test_a_report_has_version_and_date() -> None:
    report = report_as_json([ok("clock", "right")], NOVEMBER_2026)
    assert report["date"] == "2026-11-18T11:06:40Z"
    assert report["checks"] == [
        {"name": "clock", "status": "ok", "detail": "right", "what_to_do": ""}
    ]
