"""The names of the home on the retained topic."""

from __future__ import annotations

import pytest

from stt_mqtt.phrases.names import HomeNames, NameList
from tests.doors.native.peers import Wire

DRINKS = HomeNames(lists=(NameList("drink", ("tea", "coffee")),))


@pytest.mark.parametrize("retain", [True, False])
def test_names_are_handed_on_whether_retained_or_new(retain: bool) -> None:
    wire = Wire()
    wire.send("stt/bridge/names", b'{"drink": ["tea", "coffee"]}', retain=retain)
    assert wire.names == [DRINKS]
    assert not wire.published


def test_an_empty_message_clears_them() -> None:
    wire = Wire()
    wire.send("stt/bridge/names", b"")
    assert wire.names == [HomeNames()]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"SECRET", "it is not JSON"),
        (b'["SECRET"]', "it is not a JSON object"),
        (b'{"SECRET": "SECRET"}', "lists are needed"),
        (b"x" * (256 * 1024 + 1), "262145 bytes, at most 262144 are taken"),
    ],
)
def test_bad_names_are_counted_and_reported_once_and_the_previous_ones_stay(
    payload: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire()
    for _ in range(3):
        wire.send("stt/bridge/names", payload)
    assert wire.names == []
    assert wire.service.metrics.dropped["bad_names"] == 3
    (record,) = caplog.records
    assert record.getMessage().startswith(f"stt/bridge/names: {reason}")
    assert "SECRET" not in caplog.text

    wire.send("stt/bridge/names", b"{}")
    wire.send("stt/bridge/names", payload)
    assert len(caplog.records) == 2


def test_values_that_are_left_out_are_reported_as_a_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire()
    wire.send("stt/bridge/names", b'{"drink": ["tea", 5, "coffee", ""]}')
    assert wire.names == [DRINKS]
    assert "stt/bridge/names: values left out, too many, too long or no text: 2" in caplog.text
    assert wire.service.metrics.dropped == {}
