from __future__ import annotations

import pytest

from stt_mqtt.doctor.report import (
    HIDDEN,
    MAX_TEXT,
    Finding,
    Redactor,
    exit_status,
    fail,
    failed,
    ok,
    summary,
    warn,
)
from stt_mqtt.errors import BrokerError, ModelError

GOOD = ok("clock", "right")
DOUBTFUL = warn("disk", "nearly full", "make room")
PASSING = fail("broker", "away", "wait", temporary=True)
LASTING = fail("model", "missing", "fetch it")


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([GOOD], 0),
        ([GOOD, DOUBTFUL], 0),
        ([GOOD, PASSING], 75),
        ([LASTING, DOUBTFUL], 78),
        ([PASSING, LASTING], 78),
    ],
)
def test_the_exit_status_says_whether_waiting_helps(findings: list[Finding], status: int) -> None:
    assert exit_status(findings) == status


def test_the_summary_counts_results() -> None:
    assert summary([GOOD, DOUBTFUL, PASSING, LASTING]) == "1 ok, 1 warning, 2 failures"


def test_an_error_tells_what_is_wrong_and_what_to_do() -> None:
    error = ModelError("model base is not on this machine; get it with: stt-mqtt models fetch base")
    finding = failed("model", error)
    assert finding.detail == "model base is not on this machine"
    assert finding.what_to_do == "get it with: stt-mqtt models fetch base"
    assert not finding.temporary
    assert failed("broker", BrokerError("away")).temporary


def test_secrets_and_logins_in_urls_are_hidden() -> None:
    redactor = Redactor(frozenset({"hunter2", "hunter2-and-more"}))
    finding = redactor.clean(
        fail("x", "it said hunter2-and-more", "see http://me:hunter3@home.lan:8123/x and hunter2")
    )
    assert finding.detail == f"it said {HIDDEN}"
    assert finding.what_to_do == f"see http://home.lan:8123/x and {HIDDEN}"


def test_a_text_is_one_short_line_without_control_characters() -> None:
    text = Redactor().text("a\n  b\x1b[31m\t" + "c" * 2000)
    assert text.startswith("a b\\x1b[31m ccc")
    assert len(text) == MAX_TEXT
