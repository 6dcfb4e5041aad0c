"""The JSON that devices and people send."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.core.settings import UNCHANGED, SettingsChange
from stt_mqtt.doors.native.messages import (
    MAX_SHOWN_CHARACTERS,
    SatelliteInfo,
    parse_abort,
    parse_satellite,
    parse_sequence_number,
    parse_set,
    parse_start,
    parse_stop,
    transaction_of,
)
from stt_mqtt.errors import BadPayloadError
from stt_mqtt.mqtt.json import MAX_JSON_BYTES, parse_object
from stt_mqtt.satellite.control import SatelliteState
from stt_mqtt.types import AudioFormat, Codec, UtteranceStart

DEFAULT = AudioFormat(Codec.PCM_S16LE, 16_000, 1)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = [
    "id", "codec", "rate", "channels", "language", "prompt", "framing", "reply_to", "age_ms",
    "chunks", "enabled", "transaction",
]  # fmt: skip
requests = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), json_values, max_size=6)


def payload(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_an_empty_start_has_every_default() -> None:
    request = parse_start(b"", DEFAULT)
    assert request.start == UtteranceStart(format=DEFAULT)
    assert (request.reply_to, request.error) == (None, None)


@pytest.mark.parametrize("blank", [b" ", b"\n", b"\r\n", b" \t\r\n" * 100])
def test_a_payload_of_blanks_is_an_empty_one(blank: bytes) -> None:
    assert parse_object(blank) == {}
    assert parse_start(blank, DEFAULT).start == UtteranceStart(format=DEFAULT)
    assert parse_stop(blank) == parse_stop(b"")
    assert parse_abort(blank) is None
    assert parse_set(blank) == parse_set(b"{}")


def test_a_start_with_everything() -> None:
    request = parse_start(
        payload(
            id="a:1.b_C-d", codec="opus", rate=48_000, channels=2, language="en-US",
            prompt="lamp", framing="seq32", reply_to="stt/kitchen/reply/1", age_ms=1500,
            unknown=[1],
        ),
        DEFAULT,
    )  # fmt: skip
    assert request.error is None
    assert request.reply_to == "stt/kitchen/reply/1"
    assert request.start == UtteranceStart(
        id="a:1.b_C-d",
        format=AudioFormat(Codec.OPUS, 48_000, 2),
        language="en-US",
        prompt="lamp",
        sequenced=True,
        age_s=1.5,
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"codec": "speex"}, "unsupported_format"),
        ({"codec": 7}, "bad_payload"),
        ({"rate": 7999}, "unsupported_format"),
        ({"rate": "16000"}, "bad_payload"),
        ({"rate": True}, "bad_payload"),
        ({"channels": 3}, "unsupported_format"),
        ({"language": "x"}, "bad_payload"),
        ({"language": 5}, "bad_payload"),
        ({"prompt": "x" * 1001}, "bad_payload"),
        ({"framing": "seq16"}, "bad_payload"),
        ({"framing": []}, "bad_payload"),
        ({"reply_to": 5}, "bad_payload"),
        ({"age_ms": -1}, "bad_payload"),
        ({"age_ms": True}, "bad_payload"),
        ({"age_ms": "1"}, "bad_payload"),
    ],
)
def test_a_start_that_cannot_be_obeyed_is_answered_under_its_id(
    fields: dict[str, object], code: str
) -> None:
    request = parse_start(payload(id="a", **fields), DEFAULT)
    assert request.start.id == "a"
    assert request.error is not None
    assert request.error.code == code


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b'{"id": ""}',
        b'{"id": "a b"}',
        b'{"id": 5}',
        b'{"id": "%s"}' % (b"x" * 65),
        b'{"age_ms": NaN}',
        b'{"age_ms": 1e999}',
        b'{"prompt": "\\ud800"}',
        b'{"unknown": ["\\udfff"]}',
        b"[" * 100_000,
        b" " * (MAX_JSON_BYTES + 1),
        b'{"prompt": "%s"}' % (b"x" * MAX_JSON_BYTES),
        b'{"age_ms": 1%s}' % (b"0" * 10_000),
    ],
)
def test_what_is_no_request_is_refused_with_one_sentence(bad: bytes) -> None:
    with pytest.raises(BadPayloadError) as caught:
        parse_start(bad, DEFAULT)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_speech_older_than_a_day_is_as_old_as_a_day() -> None:
    assert parse_start(payload(age_ms=1e300), DEFAULT).start.age_s == 86_400


def test_a_refused_start_still_says_where_its_answer_goes() -> None:
    request = parse_start(payload(codec="speex", reply_to="stt/kitchen/reply/1"), DEFAULT)
    assert request.error is not None
    assert request.reply_to == "stt/kitchen/reply/1"


def test_a_stop_may_count_its_chunks() -> None:
    assert parse_stop(b"").chunks is None
    stop = parse_stop(payload(id="a", chunks=3))
    assert (stop.id, stop.chunks) == ("a", 3)


@pytest.mark.parametrize("chunks", [-1, 1.5, "3", True, 2**33, []])
def test_a_stop_counts_in_whole_numbers(chunks: object) -> None:
    with pytest.raises(BadPayloadError):
        parse_stop(payload(chunks=chunks))


def test_an_abort_may_name_an_id() -> None:
    assert parse_abort(b"") is None
    assert parse_abort(payload(id="a")) == "a"


def test_settings_distinguish_missing_from_null() -> None:
    assert parse_set(b"{}") == SettingsChange(UNCHANGED, UNCHANGED, UNCHANGED)
    assert parse_set(payload(enabled=None, language=None, prompt=None)) == SettingsChange(
        None, None, None
    )
    assert parse_set(payload(enabled=False, language="de", prompt="Licht")) == SettingsChange(
        False, "de", "Licht"
    )


@pytest.mark.parametrize("fields", [{"enabled": 1}, {"enabled": "no"}, {"prompt": 5}])
def test_settings_of_a_wrong_type_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BadPayloadError):
        parse_set(payload(**fields))


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("4294967295", 2**32 - 1), ("4294967296", None), ("-1", None), ("", None),
     ("1.0", None), ("٣", None), ("9" * 5000, None)],
)  # fmt: skip
def test_sequence_numbers_are_32_bit_decimals(text: str, number: int | None) -> None:
    assert parse_sequence_number(text) == number


@pytest.mark.parametrize(
    ("sent", "back"), [("a", "a"), (5, 5), (1.5, 1.5), ([], None), ({}, None), (None, None)]
)
def test_only_a_plain_transaction_comes_back(sent: object, back: object) -> None:
    assert transaction_of({"transaction": sent}) == back


@given(st.binary(max_size=200) | requests.map(lambda fields: json.dumps(fields).encode()))
def test_any_bytes_give_a_request_or_a_bad_payload_error(data: bytes) -> None:
    for parse in (parse_object, parse_stop, parse_abort, parse_set):
        with contextlib.suppress(BadPayloadError):
            parse(data)
    with contextlib.suppress(BadPayloadError):
        error = parse_start(data, DEFAULT).error
        assert error is None or error.code in {"bad_payload", "unsupported_format"}


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
    assert told(model=" Küche " + "x" * 200).model == "Küche " + "x" * (MAX_SHOWN_CHARACTERS - 6)
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
        assert text is None or (text.isprintable() and 0 < len(text) <= MAX_SHOWN_CHARACTERS)
