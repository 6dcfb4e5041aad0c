from __future__ import annotations

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.doors.hermes.messages import (
    FILTERS,
    MAX_SESSION,
    MAX_SITE,
    AudioFrameTopic,
    Request,
    Route,
    SessionAddress,
    StartListening,
    StopListening,
    Toggle,
    VoiceActivityTopic,
    address_of,
    audio_captured_topic,
    parse_start,
    parse_stop,
    parse_toggle,
    parse_topic,
)
from stt_mqtt.errors import BadPayloadError
from tools.program import overlap


@pytest.mark.parametrize(
    ("topic", "route"),
    [
        ("hermes/asr/startListening", Request.START),
        ("hermes/asr/stopListening", Request.STOP),
        ("hermes/asr/toggleOn", Request.TOGGLE_ON),
        ("hermes/asr/toggleOff", Request.TOGGLE_OFF),
        ("hermes/audioServer/kitchen/audioFrame", AudioFrameTopic("kitchen", None)),
        ("hermes/audioServer/Küche 2/audioFrame", AudioFrameTopic("Küche 2", None)),
        ("hermes/audioServer/kitchen/a-1/audioSessionFrame", AudioFrameTopic("kitchen", "a-1")),
        ("hermes/audioServer/kitchen//audioSessionFrame", AudioFrameTopic("kitchen", "")),
        ("hermes/voiceActivity/kitchen/vadUp", VoiceActivityTopic("kitchen", True)),
        ("hermes/voiceActivity/kitchen/vadDown", VoiceActivityTopic("kitchen", False)),
    ],
)
def test_every_topic_of_the_contract_is_known_and_subscribed_once(topic: str, route: Route) -> None:
    assert parse_topic(topic) == route
    assert sum(overlap(subscription, topic) for subscription in FILTERS) == 1


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "hermes/asr/textCaptured",
        "hermes/asr/startListening/x",
        "hermes/audioServer/audioFrame",
        "hermes/audioServer//audioFrame",
        "hermes/audioServer/kitchen/a/audioFrame",
        "hermes/audioServer/kitchen/audioSessionFrame",
        "hermes/audioServer/kitchen/a/b/audioSessionFrame",
        "hermes/audioServer/kitchen/playBytes/1",
        "hermes/audioServer/kit\0chen/audioFrame",
        "hermes/audioServer/kit\nchen/audioFrame",
        "hermes/audioServer/" + "k" * (MAX_SITE + 1) + "/audioFrame",
        "hermes/audioServer/k/" + "s" * (MAX_SESSION + 1) + "/audioSessionFrame",
        "hermes/audioServer/" + "k" * 1000 + "/audioFrame",
        "hermes/voiceActivity/kitchen/vadSideways",
        "hermes/voiceActivity//vadUp",
        "hermes/voiceActivity/kitchen",
    ],
)
def test_what_is_none_of_ours_or_names_nobody_is_none(topic: str) -> None:
    assert parse_topic(topic) is None


def test_the_longest_names_are_taken() -> None:
    site, session = "k" * MAX_SITE, "s" * MAX_SESSION
    assert parse_topic(f"hermes/audioServer/{site}/{session}/audioSessionFrame") == AudioFrameTopic(
        site, session
    )


def test_no_two_filters_overlap() -> None:
    assert not [pair for pair in combinations(FILTERS, 2) if overlap(*pair)]


def test_the_audio_of_a_session_without_an_id_is_published_where_rhasspy_does() -> None:
    assert audio_captured_topic("kitchen", "a") == "rhasspy/asr/kitchen/a/audioCaptured"
    assert audio_captured_topic("kitchen", "") == "rhasspy/asr/kitchen/None/audioCaptured"


@given(st.text(max_size=300), st.sampled_from(["", "/audioFrame", "/audioSessionFrame", "/vadUp"]))
def test_no_topic_raises(middle: str, ending: str) -> None:
    for head in ("hermes/audioServer/", "hermes/voiceActivity/", "hermes/asr/", ""):
        parse_topic(head + middle + ending)


# Requests -------------------------------------------------------------------------------------


FULL = StartListening(
    SessionAddress("kitchen", "s-1"),
    language="en-US",
    stop_on_silence=False,
    send_audio_captured=True,
    wakeword="porcupine",
)


@pytest.mark.parametrize(
    "fields",
    [
        {
            "siteId": "kitchen", "sessionId": "s-1", "lang": "en-US", "stopOnSilence": False,
            "sendAudioCaptured": True, "wakewordId": "porcupine", "intentFilter": ["a"], "x": {},
        },
        {
            "site_id": "kitchen", "session_id": "s-1", "lang": "en-US", "stop_on_silence": False,
            "send_audio_captured": True, "wakeword_id": "porcupine",
        },
        {
            "siteId": "kitchen", "site_id": "bath", "sessionId": "s-1", "session_id": None,
            "lang": "en-US", "stopOnSilence": False, "stop_on_silence": True,
            "sendAudioCaptured": True, "wakewordId": "porcupine",
        },
    ],
)  # fmt: skip
def test_keys_may_be_in_camel_or_in_snake_case_and_camel_wins(fields: dict[str, object]) -> None:
    assert parse_start(json.dumps(fields).encode()) == FULL


@pytest.mark.parametrize("id", ["", ',"sessionId":""', ',"sessionId":null'])
def test_no_session_id_an_empty_one_and_null_are_the_same(id: str) -> None:
    assert parse_start(b'{"siteId":"k"%s}' % id.encode()).address == SessionAddress("k", "")


def test_what_is_missing_or_null_has_its_default() -> None:
    expected = StartListening(SessionAddress("default", ""), None, True, False, None)
    assert parse_start(b"{}") == expected
    nothing = {"siteId", "sessionId", "lang", "stopOnSilence", "sendAudioCaptured", "wakewordId"}
    assert parse_start(json.dumps(dict.fromkeys(nothing)).encode()) == expected


@pytest.mark.parametrize(
    "decoration",
    [
        {"lang": 5}, {"lang": "English, please"}, {"wakewordId": ["a"]}, {"wakewordId": "a" * 300},
        {"stopOnSilence": "maybe"}, {"sendAudioCaptured": "yes"}, {"intentFilter": 5},
    ],
)  # fmt: skip
def test_what_only_decorates_a_start_never_refuses_it(decoration: dict[str, object]) -> None:
    assert parse_start(json.dumps(decoration).encode()) == parse_start(b"{}")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"siteId":"k","sessionId":"s"}', StopListening("k", "s")),
        (b'{"siteId":"k"}', StopListening("k", "")),
        (b'{"sessionId":"s"}', StopListening(None, "s")),
        (b'{"sessionId":""}', StopListening("default", "")),
        (b"{}", StopListening("default", "")),
    ],
)
def test_a_stop_without_a_site_means_its_session_on_any_site(
    payload: bytes, expected: StopListening
) -> None:
    assert parse_stop(payload) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", Toggle(None, "")),
        (b" \n", Toggle(None, "")),
        (b"{}", Toggle("default", "")),
        (b'{"siteId":"k"}', Toggle("k", "")),
        (b'{"site_id":"k","reason":"ttsSay"}', Toggle("k", "ttsSay")),
        (b'{"siteId":"k","reason":null}', Toggle("k", "")),
    ],
)
def test_only_an_empty_toggle_means_all_sites(payload: bytes, expected: Toggle) -> None:
    assert parse_toggle(payload) == expected


@pytest.mark.parametrize("payload", [b"5", b"{", b'"kitchen"', b"\xff", b"[" * 50_000])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    for parse in (parse_start, parse_stop, parse_toggle):
        with pytest.raises(BadPayloadError):
            parse(payload)


@pytest.mark.parametrize("empty", [b"", b" \r\n"])
def test_only_a_toggle_may_be_empty(empty: bytes) -> None:
    for parse in (parse_start, parse_stop):
        with pytest.raises(BadPayloadError, match="empty"):
            parse(empty)


ILLEGAL_SITES = ["", "a/b", "a+", "#", "a\0", "a\n", "k" * 65, 5, True, ["k"]]


@pytest.mark.parametrize("site", ILLEGAL_SITES)
def test_an_illegal_site_is_refused(site: object) -> None:
    for parse in (parse_start, parse_stop, parse_toggle):
        with pytest.raises(BadPayloadError, match="siteId"):
            parse(json.dumps({"siteId": site}).encode())


@pytest.mark.parametrize("session", ["a/b", "a+", "#", "a\0", "s" * 257, 5, ["s"]])
def test_an_illegal_session_is_refused(session: object) -> None:
    for parse in (parse_start, parse_stop):
        with pytest.raises(BadPayloadError, match="sessionId"):
            parse(json.dumps({"sessionId": session}).encode())


@pytest.mark.parametrize("reason", [5, "r" * 65])
def test_an_illegal_reason_is_refused(reason: object) -> None:
    with pytest.raises(BadPayloadError, match="reason"):
        parse_toggle(json.dumps({"reason": reason}).encode())


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"{", SessionAddress()),
        (b'{"siteId":"k","sessionId":"a/b"}', SessionAddress("k", "")),
        (b'{"siteId":"a/b","session_id":"s"}', SessionAddress("default", "s")),
        (b'{"siteId":5,"sessionId":5}', SessionAddress()),
    ],
)
def test_a_refusal_names_whom_it_is_about_as_far_as_can_be_told(
    payload: bytes, expected: SessionAddress
) -> None:
    assert address_of(payload) == expected


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
names = st.sampled_from(
    ["siteId", "site_id", "sessionId", "session_id", "lang", "reason", "stopOnSilence", "x"]
)


@given(
    st.binary(max_size=60) | st.dictionaries(names, anything).map(lambda f: json.dumps(f).encode())
)
def test_any_payload_is_a_request_or_a_bad_payload(payload: bytes) -> None:
    for parse in (parse_start, parse_stop, parse_toggle, address_of):
        try:
            parse(payload)
        except BadPayloadError:
            assert parse is not address_of
