"""The service tells a satellite that it has ended the utterance, or that a phrase is open."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stt_mqtt.doors.native.answers import MAX_ENDED_AGE_S, MAX_OPEN_AGE_S
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.types import Completion, DeviceKey, Endpointing, TurnEnd, UtteranceStart, Verdict
from tests.core.speech import BYTES_PER_S, CHUNK_BYTES, WORDS, chunks_of, found, quiet
from tests.doors.native.peers import Wire
from tests.fakes import RecordingOutlet, heard

SET = "stt/kitchen/satellite/set"


def say(wire: Wire, pcm: bytes) -> None:
    for chunk in chunks_of(pcm):
        wire.clock.advance(len(chunk) / BYTES_PER_S)
        wire.service.tick()
        wire.send("stt/kitchen/audio", chunk)


def told(wire: Wire) -> list[dict[str, str]]:
    return [json.loads(payload) for payload in wire.on(SET)]


def ended(completion: Completion = Completion.COMPLETE, start: bytes = b'{"id":"a"}') -> Wire:
    """A wire where somebody said so much of a phrase, and then was silent."""
    wire = Wire()
    wire.send("stt/kitchen/audio/start", start)
    say(wire, WORDS + quiet(0.36))
    wire.pool.answer(wire.service, found(completion))
    return wire


def answer(wire: Wire, verdict: Verdict | None = None) -> None:
    wire.pool.answer(wire.service, verdict or heard())


def test_a_satellite_is_told_once_that_its_utterance_has_ended() -> None:
    wire = ended()
    answer(wire)
    say(wire, WORDS)
    wire.send("stt/kitchen/audio/stop", b'{"id":"a"}')
    assert told(wire) == [{"ended": "a"}]
    assert [(one["id"], one["end"]) for one in wire.results()] == [("a", "endpoint")]
    assert wire.on("stt/kitchen/text") == [b"Turn on the light."]


def test_it_is_told_so_at_once_even_if_the_answer_takes_long() -> None:
    wire = ended()
    assert told(wire) == [{"ended": "a"}]
    say(wire, WORDS)
    assert wire.results() == []
    answer(wire)
    topics = [item.topic.removeprefix("stt/kitchen/") for item in wire.published]
    assert topics[topics.index("satellite/set") :] == [
        "satellite/set",
        "state",
        "text",
        "result",
        "state",
    ]


def test_it_is_told_so_by_a_message_that_is_not_kept() -> None:
    assert_fleeting(ended(), MAX_ENDED_AGE_S)


def assert_fleeting(wire: Wire, max_age_s: float) -> None:
    (message,) = [item for item in wire.published if item.topic == SET]
    assert (message.qos, message.retain) == (1, False)
    assert message.expires_at == pytest.approx(wire.clock.now() + max_age_s)


def test_it_is_told_so_also_if_the_transcription_failed() -> None:
    wire = ended()
    answer(wire, InferenceFailedError("no memory"))
    assert told(wire) == [{"ended": "a"}]


def test_a_device_without_ids_is_told_the_id_of_the_service() -> None:
    wire = Wire()
    say(wire, WORDS + quiet(0.36))
    wire.pool.answer(wire.service, found())
    answer(wire)
    assert told(wire) == [{"ended": wire.results()[0]["id"]}]


def test_what_the_device_ends_itself_is_not_told() -> None:
    wire = ended(Completion.EXTENDABLE)
    wire.send("stt/kitchen/audio/stop")
    answer(wire)
    assert [one["end"] for one in wire.results()] == ["stop"]
    assert told(wire) == []


def test_a_repeated_result_does_not_tell_it_again() -> None:
    wire = ended()
    answer(wire)
    wire.send("stt/kitchen/audio/start", b'{"id":"a"}')
    assert [one["repeated"] for one in wire.results()] == [False, True]
    assert told(wire) == [{"ended": "a"}]


def test_what_other_doors_end_is_not_told() -> None:
    wire = Wire()
    outlet = RecordingOutlet()
    wire.service.attach("other", outlet)
    key = DeviceKey("other", "kitchen")
    turn_end = TurnEnd(Endpointing.PHRASES, pause_s=0.5)
    wire.service.start(key, UtteranceStart(id="a", turn_end=turn_end))
    wire.service.chunk(key, WORDS + quiet(0.9), None, None)
    answer(wire, replace(heard()))
    assert [outcome.end for outcome in outlet.outcomes] == ["endpoint"]
    assert told(wire) == []


def test_a_device_with_endpointing_by_silence_ends_its_utterances_itself() -> None:
    wire = Wire(devices={"kitchen": {"endpointing": "silence"}})
    wire.send("stt/kitchen/audio/start", b'{"id":"a"}')
    say(wire, WORDS + quiet(0.36))
    wire.pool.answer(wire.service, found())
    say(wire, quiet(CHUNK_BYTES / BYTES_PER_S * 20))
    assert wire.pool.submitted == []
    assert told(wire) == []


# An open phrase ----------------------------------------------------------------------------------


def test_a_satellite_is_told_in_each_pause_that_the_phrase_is_open() -> None:
    wire = ended(Completion.OPEN)
    assert told(wire) == [{"open": "a"}]
    assert_fleeting(wire, MAX_OPEN_AGE_S)
    say(wire, WORDS + quiet(0.36))
    wire.pool.answer(wire.service, found(Completion.OPEN))
    say(wire, WORDS + quiet(0.36))
    wire.pool.answer(wire.service, found())
    answer(wire)
    assert told(wire) == [{"open": "a"}, {"open": "a"}, {"ended": "a"}]
    assert [one["end"] for one in wire.results()] == ["endpoint"]


def test_a_satellite_that_sends_no_start_is_not_told_to_wait() -> None:
    wire = Wire()
    say(wire, WORDS + quiet(0.36))
    wire.pool.answer(wire.service, found(Completion.OPEN))
    assert told(wire) == []


def test_a_device_with_endpointing_by_silence_is_not_told_to_wait() -> None:
    wire = Wire(devices={"kitchen": {"endpointing": "silence"}})
    wire.send("stt/kitchen/audio/start", b'{"id":"a"}')
    say(wire, WORDS + quiet(0.36))
    wire.pool.answer(wire.service, found(Completion.OPEN))
    assert told(wire) == []
