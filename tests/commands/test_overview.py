from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_mqtt.commands import overview
from stt_mqtt.commands.overview import (
    DeviceRow,
    Overview,
    ServiceStatus,
    WatchedUtterance,
    ago,
    printable,
    utterance_line,
)
from stt_mqtt.doors.native.topics import Topics

RESULT = {"id": "1", "outcome": "transcript", "text": "Lights on.", "latency_s": 0.4, "error": None}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def result(**changes: Any) -> bytes:
    return json.dumps({**RESULT, **changes}).encode()


@pytest.fixture
def watched() -> Overview:
    return Overview(Topics("stt"))


def only_row(watched: Overview) -> DeviceRow:
    (row,) = watched.rows(10)
    return row


def test_a_result_becomes_the_last_words_of_its_device(watched: Overview) -> None:
    utterance = watched.take("stt/kitchen/result", result(), 5.0)
    assert utterance == WatchedUtterance("kitchen", "transcript", "Lights on.", 0.4, 5.0)
    assert only_row(watched) == DeviceRow("kitchen", 5.0, "", utterance)


def test_an_error_shows_its_code(watched: Overview) -> None:
    error = {"code": "overloaded", "detail": "the queue is full"}
    utterance = watched.take("stt/k/result", result(outcome="error", text="", error=error), 0.0)
    assert utterance is not None
    assert utterance.outcome == "overloaded"


@pytest.mark.parametrize("error", [None, 5, {}, {"code": None}, {"code": 7}])
def test_an_error_without_a_code_is_an_error(watched: Overview, error: object) -> None:
    utterance = watched.take("stt/k/result", result(outcome="error", error=error), 0.0)
    assert utterance is not None
    assert utterance.outcome == "error"


def test_the_state_is_that_of_the_last_message_and_the_words_stay(watched: Overview) -> None:
    watched.take("stt/k/result", result(), 1.0)
    for now, state in enumerate(("listening", "transcribing", "idle"), 2):
        assert watched.take("stt/k/state", state.encode(), now) is None
        row = only_row(watched)
        assert (row.state, row.seen_at) == (state, now)
        assert row.last is not None


@pytest.mark.parametrize("payload", [b"bold red", b"\xff\xfe", b"idle\0", b"idle " * 1000])
def test_a_state_that_there_is_not_is_ignored(watched: Overview, payload: bytes) -> None:
    watched.take("stt/k/state", payload, 1.0)
    assert watched.rows(10) == []


def test_a_cleared_state_removes_the_device(watched: Overview) -> None:
    watched.take("stt/k/state", b"idle", 1.0)
    watched.take("stt/k/state", b"", 2.0)
    watched.take("stt/never-there/state", b"", 3.0)
    assert watched.rows(10) == []


@pytest.mark.parametrize(
    "topic",
    [
        *("other/k/result", "stt/k/result/more", "stt//result", "stt/a b/result"),
        *("stt/[red]/result", "stt/k/text", "stt", "sttx/k/result", "stt/bridge/result"),
        f"stt/{'k' * 65}/result",
    ],
)
def test_other_topics_and_names_that_no_device_has_are_ignored(
    watched: Overview, topic: str
) -> None:
    assert watched.take(topic, result(), 1.0) is None
    assert watched.rows(10) == []


def test_a_base_topic_of_several_levels_is_understood() -> None:
    deep = Overview(Topics("home/voice"))
    assert deep.filters == (
        "home/voice/+/state",
        "home/voice/+/result",
        "home/voice/bridge/info",
        "home/voice/bridge/health",
    )
    assert deep.take("home/voice/k/result", result(), 1.0) is not None
    deep.take("home/voice/bridge/state", b"online", 1.0)
    assert deep.service.online


def test_the_service_is_what_it_says_of_itself(watched: Overview) -> None:
    info = {"v": 1, "version": "0.1.0", "models": ["tiny.en"]}
    health = {"queue": {"jobs": 3}, "load": {"cpu": 0.25, "rtf": None}, "rss_mb": 231.5}
    watched.take("stt/bridge/info", json.dumps(info).encode(), 0.0)
    watched.take("stt/bridge/health", json.dumps(health).encode(), 0.0)
    watched.take("stt/bridge/state", b"online", 0.0)
    assert watched.service == ServiceStatus(True, "0.1.0", "tiny.en", 3, 0.25, 231.5)
    watched.take("stt/bridge/state", b"offline", 0.0)
    assert watched.service.online is False
    watched.take("stt/bridge/state", b"maybe", 0.0)
    assert watched.service.online is False


def test_a_new_connection_forgets_what_is_not_told_again_but_keeps_the_words(
    watched: Overview,
) -> None:
    watched.take("stt/bridge/state", b"online", 0.0)
    watched.take("stt/k/state", b"listening", 0.0)
    watched.take("stt/k/result", result(), 0.0)
    watched.forget_service()
    assert watched.service == ServiceStatus()
    row = only_row(watched)
    assert row.state == ""
    assert row.last is not None


def test_of_many_devices_the_latest_are_shown_by_name(watched: Overview) -> None:
    for now, name in enumerate(("d", "a", "c", "b")):
        watched.take(f"stt/{name}/state", b"idle", float(now))
    watched.take("stt/d/state", b"listening", 9.0)
    assert [row.device for row in watched.rows(3)] == ["b", "c", "d"]
    assert watched.devices == 4


def test_the_device_not_seen_for_longest_makes_room(
    watched: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MAX_DEVICES", 2)
    for now, name in enumerate(("a", "b", "a", "c")):
        watched.take(f"stt/{name}/state", b"idle", float(now))
    assert [row.device for row in watched.rows(10)] == ["a", "c"]


def test_a_huge_payload_is_not_even_parsed(
    watched: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MAX_PAYLOAD_BYTES", len(result()))
    assert watched.take("stt/k/result", result(), 0.0) is not None
    assert watched.take("stt/k/result", result() + b" ", 0.0) is None


@pytest.mark.parametrize(
    "number", ["1e400", "-1", "NaN", "1e300", "true", '"1"', "null", "[1]", "9" * 4000]
)
def test_a_latency_that_cannot_be_is_not_shown(watched: Overview, number: str) -> None:
    payload = f'{{"outcome":"transcript","text":"x","latency_s":{number}}}'.encode()
    utterance = watched.take("stt/k/result", payload, 0.0)
    assert utterance is not None
    assert utterance.latency_s is None


@given(
    topic=st.sampled_from(["k/result", "k/state", "bridge/info", "bridge/health", "bridge/state"]),
    payload=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_nothing_that_anybody_publishes_breaks_it(topic: str, payload: bytes) -> None:
    watched = Overview(Topics("stt"))
    watched.take(f"stt/{topic}", payload, 0.0)
    assert len(watched.rows(10)) <= 1


FIELDS = ["outcome", "text", "latency_s", "error", "version", "models", "queue", "load", "rss_mb"]


@given(fields=st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_whatever_the_fields_hold_all_that_is_kept_can_be_printed(
    fields: dict[str, object],
) -> None:
    watched = Overview(Topics("stt"))
    payload = json.dumps(fields).encode()
    for name in ("info", "health"):
        watched.take(f"stt/bridge/{name}", payload, 0.0)
    utterance = watched.take("stt/k/result", payload, 0.0)
    if utterance is not None:
        assert (utterance.outcome + utterance.text + utterance_line(utterance)).isprintable()
    assert (watched.service.version + watched.service.model).isprintable()


def test_deeply_nested_json_is_ignored(watched: Overview) -> None:
    assert watched.take("stt/k/result", b"[" * 200_000, 0.0) is None
    assert watched.take("stt/k/result", b'{"outcome":' * 100_000, 0.0) is None


def test_control_characters_are_written_out_and_breaks_become_blanks() -> None:
    assert printable("a\x1b[31mb\x07") == "a\\x1b[31mb\\x07"
    assert printable("a\nb\tc\u00a0d\u2028e") == "a b c d e"
    assert printable("\ud800\u202ex") == "\\ud800\\u202ex"
    assert printable("Grüße, 日本") == "Grüße, 日本"


@given(st.text())
def test_what_is_printable_is_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


def test_a_long_text_is_cut_visibly() -> None:
    shown = printable("x" * 10_000)
    assert shown == "x" * overview.MAX_TEXT + "…"


def test_a_line_has_the_words_or_what_became_of_them() -> None:
    assert (
        utterance_line(WatchedUtterance("k", "transcript", "Lights on.", 0.416, 0.0))
        == "k: Lights on.  [0.42 s]"
    )
    assert utterance_line(WatchedUtterance("k", "no_speech", "", None, 0.0)) == "k: (no_speech)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "now"),
        (0.99, "now"),
        (1.0, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (86_399, "23 h ago"),
        (86_400, "1 d ago"),
    ],
)
def test_how_long_ago_is_said_as_people_do(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_a_hint_stands_behind_the_words() -> None:
    watched = Overview(Topics("stt"))
    payload = json.dumps({**RESULT, "hint": "Lower the gain."}).encode()
    utterance = watched.take("stt/kitchen/result", payload, 5.0)
    assert utterance is not None
    assert utterance_line(utterance) == "kitchen: Lights on.  [0.40 s]  Lower the gain."
