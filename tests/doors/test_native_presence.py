"""What satellites tell of themselves, as it comes over the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.native.presence import MAX_CHARACTERS, SatelliteInfo, parse_satellite
from stt_mqtt.errors import BadPayloadError
from stt_mqtt.satellite.control import SatelliteState


def told(**fields: object) -> SatelliteInfo:
    return parse_satellite(json.dumps(fields).encode())


def test_the_model_and_the_version_are_told_and_that_it_can_be_muted() -> None:
    satellite = told(v=1, model="ESP32-S3-BOX", version="2.1", muted=True)
    assert satellite == SatelliteInfo("ESP32-S3-BOX", "2.1", can_mute=True)


def test_what_the_satellite_program_says_is_understood() -> None:
    satellite = parse_satellite(
        SatelliteState("always", "flac", False, False, True, None, 0).as_json()
    )
    assert satellite.can_mute
    assert satellite.version is not None


def test_nothing_is_told_by_a_topic_that_was_cleared() -> None:
    assert parse_satellite(b"") == SatelliteInfo()
    assert told() == SatelliteInfo()


@pytest.mark.parametrize(
    "value", [None, 1, True, ["a"], {"a": 1}, "", "  ", "a\nb", "a\0b", "\u202eevil", "\x1b[31m"]
)
def test_what_cannot_be_shown_is_not_told(value: object) -> None:
    assert told(model=value, version=value) == SatelliteInfo()


@pytest.mark.parametrize("value", [None, 0, 1, "false", []])
def test_only_who_tells_whether_it_is_muted_can_be_muted(value: object) -> None:
    assert not told(muted=value).can_mute


def test_long_names_are_cut() -> None:
    assert told(model=" Küche " + "x" * 200).model == "Küche " + "x" * (MAX_CHARACTERS - 6)
    assert told(version="1" * 63 + " beta").version == "1" * 63


@pytest.mark.parametrize("payload", [b"{", b"[]", b"null", b"\xff", b'"x"', b"[" * 5000])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(BadPayloadError):
        parse_satellite(payload)


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_whatever_comes_is_read_or_refused(payload: bytes) -> None:
    try:
        satellite = parse_satellite(payload)
    except BadPayloadError:
        return
    for text in (satellite.model, satellite.version):
        assert text is None or (text.isprintable() and 0 < len(text) <= MAX_CHARACTERS)
