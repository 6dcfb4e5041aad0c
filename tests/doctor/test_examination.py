from __future__ import annotations

import threading

import pytest

from stt_mqtt.doctor import examination
from stt_mqtt.doctor.examination import Check, examined, is_hanging
from stt_mqtt.doctor.report import Finding, Status, ok
from stt_mqtt.doctor.subject import Subject
from stt_mqtt.errors import ConfigError, MissingExtraError, ModelError
from tests.doctor.subjects import only, subject_of
from tools.brokers import eventually


def raising(error: BaseException) -> Check:
    def examine(_subject: Subject) -> list[Finding]:
        raise error

    return Check("faulty", examine)


def good(_subject: Subject) -> list[Finding]:
    return [ok("good", "all is well")]


@pytest.mark.parametrize(
    ("error", "detail", "temporary"),
    [
        (ModelError("gone; fetch it"), "gone", False),
        (MissingExtraError("hassil", "phrases"), "hassil is not installed", False),
        (RuntimeError("boom"), "the check failed unexpectedly: RuntimeError: boom", True),
        (KeyboardInterrupt(), "the check failed unexpectedly: KeyboardInterrupt: ", True),
        (MemoryError(), "there is not enough memory for this check", True),
    ],
)
def test_a_check_that_raises_fails_alone(
    error: BaseException, detail: str, temporary: bool
) -> None:
    findings = list(examined([raising(error), Check("good", good)], subject_of()))
    assert only(findings, "faulty") == Finding(
        "faulty", Status.FAIL, detail, only(findings, "faulty").what_to_do, temporary
    )
    assert only(findings, "good").status is Status.OK


def test_every_mistake_of_a_configuration_is_a_finding() -> None:
    findings = list(examined([raising(ConfigError(["f:1: a", "f:2: b"]))], subject_of()))
    assert [finding.detail for finding in findings] == ["f:1: a", "f:2: b"]


def test_a_check_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hang(_subject: Subject) -> list[Finding]:
        release.wait()
        return []

    checks = [Check("slow", hang, timeout_s=0.05), Check("good", good)]
    try:
        late, fine = examined(checks, subject_of())
        assert late.status is Status.FAIL
        assert late.temporary
        assert late.detail.startswith("no result within")
        assert fine.status is Status.OK
        assert is_hanging()
    finally:
        release.set()
    eventually(lambda: not is_hanging())


def test_all_checks_together_have_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "ALL_S", 0.0)
    (finding,) = examined([Check("good", good)], subject_of())
    assert finding.detail.startswith("not checked")
