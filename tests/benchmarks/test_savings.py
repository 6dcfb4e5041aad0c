"""What the benchmark of the savings makes of what it measured is right."""

from __future__ import annotations

import json

import paho.mqtt.client as paho
import pytest

from benchmarks.household import Room, Spoken
from benchmarks.savings import BEFORE, OURS, Text, judge, segments, text_came_s

LAMP = Spoken("turn on the lamp", 1.0, 2.5)
TIMER = Spoken("set a timer", 8.0, 9.0)
SAID = (LAMP, TIMER)


def test_a_text_counts_from_the_first_buffer_that_holds_the_whole_utterance() -> None:
    told = [Text(4.0, 0, 2.0, "turn"), Text(7.0, 0, 3.0, "turn on the lamp"), Text(9.5, 0, 4.0, "")]
    assert [text_came_s(BEFORE, one, told) for one in SAID] == [7.0, None]


def test_an_utterance_in_two_segments_has_its_text_with_the_second() -> None:
    found = [
        Text(2.0, 0.8, 1.6, "turn on"),
        Text(3.5, 1.7, 2.7, "the lamp"),
        Text(10.0, 7.8, 9.2, "set a timer"),
    ]
    assert [text_came_s(OURS, one, found) for one in SAID] == [3.5, 10.0]
    assert text_came_s(OURS, TIMER, found[:2]) is None


def test_a_segment_is_where_its_end_mark_puts_it() -> None:
    result = {"text": "turn on the lamp", "audio_s": 2.0, "latency_s": 0.2}
    (found,) = segments([(103.3, result)], began_s=100.0)
    assert (found.start_s, found.end_s) == pytest.approx((0.7, 2.7))
    assert found.at_s == pytest.approx(3.3)
    assert found.touches(LAMP)
    assert not found.touches(TIMER)


def message(at_s: float, topic: str, **body: object) -> paho.MQTTMessage:
    made = paho.MQTTMessage(topic=topic.encode())
    made.timestamp, made.payload = at_s, json.dumps(body).encode()
    return made


def test_of_the_naive_server_the_longest_buffer_counts() -> None:
    room = Room("kitchen", bytes(14 * 32_000), SAID, ())
    told = [
        message(107.0, "naive/kitchen/text", text="turn on a lamp", chunks=7),
        message(107.5, "naive/bedroom/text", text="no", chunks=9),
    ]
    found = judge(BEFORE, told, [room], 100.0, 14.0)
    assert (found["utterances"], found["within_the_run"]) == (2, 1)
    assert found["latency_s"] == {"p50": 5.0, "p95": 5.0, "max": 5.0}
    assert (found["wer"], found["wer_so_far"]) == pytest.approx((4 / 7, 1 / 4))
    assert found["behind_s"] == 7


def test_of_stt_mqtt_every_result_counts() -> None:
    room = Room("kitchen", bytes(14 * 32_000), SAID, ())
    result = {"audio_s": 2.0, "latency_s": 0.4, "outcome": "transcript", "error": None}
    told = [message(103.5, "stt/kitchen/result", text="turn on the lamp", **result)]
    found = judge(OURS, told, [room], 100.0, 14.0)
    assert (found["utterances"], found["within_the_run"]) == (2, 1)
    assert found["latency_s"]["max"] == 5.0
    assert found["wer"] == pytest.approx(3 / 7)
    assert found["outcomes"] == {"transcript": 1}
    assert judge(OURS, told, [room], 100.0, 8.5)["utterances"] == 1
