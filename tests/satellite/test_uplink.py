"""How utterances get to the broker, and what becomes of those that do not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Publication
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.spool import DroppedUtterances
from stt_mqtt.satellite.transmission import DeliveredUtterance, UplinkConfig
from stt_mqtt.satellite.uplink import ACKNOWLEDGE_TIMEOUT_S, Uplink
from stt_mqtt.types import Codec

KITCHEN = SatelliteTopics(Topics("stt"), "kitchen")
NOW = 1000.0
MAX_AGE_S = 30.0


def config(qos: int = 1, max_bytes: int = 100_000) -> UplinkConfig:
    return UplinkConfig(KITCHEN, Codec.OPUS, qos, MAX_AGE_S, max_bytes)


@dataclass
class Sent:
    """A transport that keeps what it is given; the broker answers when the test says so."""

    publications: list[Publication] = field(default_factory=list)

    def publish(self, publication: Publication) -> None:
        self.publications.append(publication)

    def take(self) -> list[Publication]:
        taken, self.publications = self.publications, []
        return taken

    def words(self) -> list[str]:
        """What came since the last call, in short: `start`, `0 audio`, `stop 1`, `abort`."""
        return [word_of(one) for one in self.take()]

    def confirm(self) -> None:
        """Answer everything."""
        for one in self.take():
            if one.receipt is not None:
                one.receipt()


def word_of(publication: Publication) -> str:
    verb = publication.topic.removeprefix("stt/kitchen/audio").removeprefix("/")
    if not verb:
        number = int.from_bytes(publication.payload[:4], "little")
        return f"{number} {publication.payload[4:].decode()}"
    chunks = json.loads(publication.payload).get("chunks")
    return verb if chunks is None else f"{verb} {chunks}"


def fields(publication: Publication) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(publication.payload)
    return found


def online(limits: UplinkConfig | None = None) -> tuple[Uplink, Sent]:
    uplink, sent = offline(limits)
    uplink.connected(1, NOW)
    return uplink, sent


def offline(limits: UplinkConfig | None = None) -> tuple[Uplink, Sent]:
    sent = Sent()
    return Uplink(limits or config(), sent.publish), sent


def say(uplink: Uplink, *chunks: bytes, now: float = NOW) -> str:
    """A whole utterance."""
    id = uplink.open()
    for chunk in chunks:
        uplink.audio(chunk)
    uplink.close(now)
    return id


def test_speech_is_sent_while_it_is_spoken() -> None:
    uplink, sent = online()
    uplink.open()
    assert sent.words() == ["start"]
    uplink.audio(b"one")
    assert sent.words() == ["0 one"]
    uplink.audio(b"two")
    assert sent.words() == ["1 two"]
    uplink.close(NOW)
    assert sent.words() == ["stop 2"]


def test_the_messages_are_those_of_the_wire_contract() -> None:
    uplink, sent = online()
    id = say(uplink, b"\x01\x02")
    start, chunk, stop = sent.take()
    assert (start.topic, fields(start)) == (
        "stt/kitchen/audio/start",
        {"id": id, "codec": "opus", "rate": 16000, "channels": 1, "framing": "seq32"},
    )
    assert (chunk.topic, chunk.payload) == ("stt/kitchen/audio", b"\x00\x00\x00\x00\x01\x02")
    assert (stop.topic, fields(stop)) == ("stt/kitchen/audio/stop", {"id": id, "chunks": 1})
    assert not any(one.retain for one in (start, chunk, stop))


def test_every_utterance_has_an_id_of_its_own_in_hexadecimal() -> None:
    uplink, _ = offline()
    ids = {say(uplink) for _ in range(3)}
    assert len(ids) == 3
    assert all(len(id) == 32 and int(id, 16) >= 0 for id in ids)


@pytest.mark.parametrize("qos", [0, 1])
def test_marks_and_audio_have_one_qos_and_belong_to_the_connection(qos: int) -> None:
    uplink, sent = offline(config(qos))
    uplink.connected(7, NOW)
    say(uplink, b"one")
    uplink.open()
    uplink.cancel()
    sent.confirm()
    uplink.open()
    uplink.cancel()
    assert {(one.qos, one.connection) for one in sent.take()} == {(qos, 7)}


def test_without_a_connection_nothing_is_sent() -> None:
    uplink, sent = offline()
    say(uplink, b"one")
    uplink.tick(NOW)
    uplink.open()
    uplink.cancel()
    assert sent.words() == []
    assert uplink.waiting == 1


def test_what_waited_is_sent_with_its_age_in_order_one_after_the_other() -> None:
    uplink, sent = offline()
    first = say(uplink, b"one", now=NOW)
    second = say(uplink, b"two", now=NOW + 5)
    uplink.connected(1, NOW + 10.25)
    start, *rest = sent.publications
    assert (fields(start)["id"], fields(start)["age_ms"]) == (first, 10_250)
    assert [word_of(one) for one in rest] == ["0 one", "stop 1"]
    uplink.tick(NOW + 11)
    assert len(sent.publications) == 3
    sent.confirm()
    uplink.tick(NOW + 12)
    start, *rest = sent.publications
    assert (fields(start)["id"], fields(start)["age_ms"]) == (second, 7_000)
    assert [word_of(one) for one in rest] == ["0 two", "stop 1"]


def test_what_is_still_being_spoken_when_the_broker_comes_back_has_no_age() -> None:
    uplink, sent = offline()
    uplink.open()
    uplink.audio(b"one")
    uplink.connected(1, NOW)
    assert "age_ms" not in fields(sent.publications[0])
    assert sent.words() == ["start", "0 one"]
    uplink.audio(b"two")
    assert sent.words() == ["1 two"]


def test_what_is_spoken_while_older_speech_is_under_way_waits_for_its_turn() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    assert sent.words() == ["start", "0 one", "stop 1"]
    uplink.open()
    uplink.audio(b"two")
    uplink.audio(b"three")
    uplink.tick(NOW)
    assert sent.words() == []


@pytest.mark.parametrize("by", ["tick", "audio", "open", "close"])
def test_the_next_utterance_begins_when_the_one_before_is_confirmed(by: str) -> None:
    uplink, sent = online()
    say(uplink, b"one")
    if by != "open":
        uplink.open()
        uplink.audio(b"two")
    sent.confirm()
    if by == "tick":
        uplink.tick(NOW)
    elif by == "audio":
        uplink.audio(b"three")
    elif by == "open":
        uplink.open()
    else:
        uplink.close(NOW)
    words = {"audio": ["0 two", "1 three"], "open": [], "close": ["0 two", "stop 1"]}
    assert sent.words() == ["start", *words.get(by, ["0 two"])]


def test_an_utterance_is_done_when_its_stop_is_confirmed_and_only_then() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    assert [one.receipt is not None for one in sent.publications] == [False, False, True]
    uplink.tick(NOW)
    assert uplink.waiting == 1
    sent.confirm()
    uplink.tick(NOW)
    assert uplink.waiting == 0
    uplink.connected(2, NOW)
    assert sent.words() == []


def test_what_is_not_confirmed_is_sent_again_whole_under_the_same_id() -> None:
    uplink, sent = online()
    first = say(uplink, b"one", b"two")
    sent.take()
    uplink.disconnected()
    uplink.connected(2, NOW + 3)
    assert fields(sent.publications[0])["id"] == first
    assert fields(sent.publications[0])["age_ms"] == 3000
    assert {one.connection for one in sent.publications} == {2}
    assert sent.words() == ["start", "0 one", "1 two", "stop 2"]


def test_an_utterance_that_a_break_cuts_in_two_begins_anew_on_the_next_connection() -> None:
    uplink, sent = online()
    uplink.open()
    uplink.audio(b"one")
    sent.take()
    uplink.disconnected()
    uplink.audio(b"two")
    assert sent.words() == []
    uplink.connected(2, NOW)
    assert sent.words() == ["start", "0 one", "1 two"]
    uplink.close(NOW)
    assert sent.words() == ["stop 2"]


def test_a_new_connection_without_word_of_the_end_of_the_old_one_is_a_new_one_all_the_same() -> (
    None
):
    uplink, sent = online()
    say(uplink, b"one")
    sent.take()
    uplink.connected(2, NOW)
    assert sent.words() == ["start", "0 one", "stop 1"]


def test_what_was_confirmed_just_before_the_break_is_not_sent_again() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    sent.confirm()
    uplink.disconnected()
    uplink.connected(2, NOW)
    assert sent.words() == []
    assert uplink.waiting == 0


def test_speech_that_is_too_old_is_never_sent_and_told_once() -> None:
    uplink, sent = offline()
    say(uplink, b"one", now=NOW)
    say(uplink, b"two", now=NOW + 10)
    assert uplink.tick(NOW + 29.9) is None
    assert uplink.tick(NOW + 30) == DroppedUtterances(old=1)
    assert uplink.tick(NOW + 30) is None
    uplink.connected(1, NOW + 31)
    assert sent.words() == ["start", "0 two", "stop 1"]
    assert uplink.dropped == 1


def test_a_connection_that_comes_too_late_sends_nothing_old() -> None:
    uplink, sent = offline()
    say(uplink, b"one", now=NOW)
    uplink.connected(1, NOW + 40)
    assert sent.words() == []
    assert uplink.tick(NOW + 40) == DroppedUtterances(old=1)


def test_an_utterance_does_not_become_old_while_it_is_being_spoken() -> None:
    uplink, sent = offline()
    uplink.open()
    assert uplink.tick(NOW + 1000) is None
    uplink.connected(1, NOW + 1000)
    assert sent.words() == ["start"]


def test_speech_that_gets_old_in_the_transport_expires_there_and_is_taken_back() -> None:
    uplink, sent = offline()
    id = say(uplink, b"one", now=NOW)
    uplink.connected(1, NOW + 29)
    assert [one.expires_at for one in sent.take()] == [NOW + MAX_AGE_S] * 3
    assert uplink.tick(NOW + 30) == DroppedUtterances(old=1)
    (abort,) = sent.take()
    assert (word_of(abort), fields(abort), abort.expires_at) == ("abort", {"id": id}, None)


def test_speech_that_was_on_its_way_when_it_got_old_is_not_sent_again() -> None:
    uplink, sent = online()
    say(uplink, b"one", now=NOW)
    sent.take()
    uplink.disconnected()
    assert uplink.tick(NOW + 30) == DroppedUtterances(old=1)
    uplink.connected(2, NOW + 31)
    assert sent.words() == []


def test_a_confirmation_in_the_last_moment_counts() -> None:
    uplink, sent = online()
    say(uplink, b"one", now=NOW)
    sent.confirm()
    assert uplink.tick(NOW + 30) is None
    assert sent.words() == []
    assert uplink.waiting == 0


def test_a_confirmation_of_what_was_dropped_confirms_nothing_else() -> None:
    uplink, sent = online()
    say(uplink, b"one", now=NOW)
    late = sent.take()[-1].receipt
    say(uplink, b"two", now=NOW + 10)
    uplink.tick(NOW + 30)
    assert late is not None
    late()
    uplink.tick(NOW + 30)
    assert uplink.waiting == 1
    assert sent.words() == ["abort", "start", "0 two", "stop 1"]


def test_when_there_is_no_more_room_the_oldest_utterances_are_dropped_and_told() -> None:
    uplink, sent = offline(config(max_bytes=4000))
    for _ in range(3):
        say(uplink, bytes(1000))
    assert uplink.tick(NOW) == DroppedUtterances(full=1)
    uplink.open()
    uplink.audio(bytes(3000))
    assert uplink.waiting == 1
    uplink.audio(b"more")
    assert uplink.tick(NOW) == DroppedUtterances(full=2)
    assert uplink.dropped == 3
    uplink.connected(1, NOW)
    assert len(sent.take()) == 3


def test_what_has_to_make_room_on_its_way_is_taken_back() -> None:
    uplink, sent = online(config(max_bytes=4000))
    id = say(uplink, bytes(1000))
    sent.take()
    uplink.open()
    uplink.audio(bytes(3000))
    abort, *rest = sent.take()
    assert (word_of(abort), fields(abort)) == ("abort", {"id": id})
    assert fields(rest[0])["id"] != id
    assert len(rest) == 2


def test_both_reasons_are_told_apart() -> None:
    uplink, _ = offline(config(max_bytes=4000))
    for _ in range(3):
        say(uplink, bytes(1000), now=NOW)
    assert uplink.tick(NOW + 30) == DroppedUtterances(old=2, full=1)


def test_an_utterance_that_is_taken_back_is_aborted_and_forgotten() -> None:
    uplink, sent = online()
    id = uplink.open()
    uplink.audio(b"one")
    sent.take()
    uplink.cancel()
    (abort,) = sent.take()
    assert (abort.topic, fields(abort)) == ("stt/kitchen/audio/abort", {"id": id})
    assert uplink.waiting == 0
    uplink.connected(2, NOW)
    assert sent.words() == []
    assert uplink.dropped == 0


def test_an_utterance_that_never_began_on_this_connection_is_taken_back_in_silence() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    sent.take()
    uplink.open()
    uplink.audio(b"two")
    uplink.cancel()
    assert sent.words() == []
    assert uplink.waiting == 1


def test_after_an_utterance_was_taken_back_the_next_one_begins_anew() -> None:
    uplink, sent = online()
    uplink.open()
    uplink.audio(b"one")
    uplink.cancel()
    sent.take()
    say(uplink, b"two")
    assert sent.words() == ["start", "0 two", "stop 1"]


def test_what_the_service_ends_needs_no_stop_and_is_done() -> None:
    uplink, sent = online()
    id = uplink.open()
    uplink.audio(b"one")
    assert sent.words() == ["start", "0 one"]
    uplink.end_by_service(NOW + 1)
    assert uplink.waiting == 0
    assert uplink.delivered() == [DeliveredUtterance(id, acknowledged=True)]
    uplink.open()
    uplink.audio(b"two")
    uplink.tick(NOW + 2)
    assert sent.words() == ["start", "0 two"]


def test_what_the_service_ended_and_did_not_answer_is_sent_again_whole_under_its_id() -> None:
    uplink, sent = online()
    id = uplink.open()
    uplink.audio(b"one")
    uplink.end_by_service(NOW)
    sent.take()
    uplink.disconnected()
    uplink.connected(2, NOW + 1)
    start, *_ = sent.publications
    assert fields(start)["id"] == id
    assert fields(start)["age_ms"] == 1000
    assert sent.words() == ["start", "0 one", "stop 1"]


def test_what_the_service_ended_and_answered_is_not_sent_again() -> None:
    uplink, sent = online()
    uplink.answered(uplink.open())
    uplink.end_by_service(NOW)
    uplink.disconnected()
    sent.take()
    uplink.connected(2, NOW + 1)
    assert sent.words() == []
    assert uplink.waiting == 0


def test_what_the_service_ended_on_another_connection_is_sent_whole() -> None:
    uplink, sent = online()
    uplink.open()
    uplink.audio(b"one")
    uplink.disconnected()
    sent.take()
    uplink.end_by_service(NOW)
    assert uplink.waiting == 1
    uplink.connected(2, NOW)
    assert sent.words() == ["start", "0 one", "stop 1"]


def test_what_is_taken_back_before_it_was_its_turn_never_begins() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    uplink.open()
    sent.confirm()
    uplink.cancel()
    uplink.tick(NOW)
    assert sent.words() == []
    assert uplink.waiting == 0


def test_taking_back_without_an_open_utterance_does_nothing() -> None:
    uplink, sent = online()
    uplink.cancel()
    say(uplink, b"one")
    uplink.cancel()
    assert sent.words() == ["start", "0 one", "stop 1"]
    assert uplink.waiting == 1


def test_marks_out_of_order_are_mistakes_of_the_caller() -> None:
    uplink, _ = online()
    with pytest.raises(ValueError, match="no utterance is open"):
        uplink.audio(b"one")
    with pytest.raises(ValueError, match="no utterance is open"):
        uplink.close(NOW)
    uplink.open()
    with pytest.raises(ValueError, match="still open"):
        uplink.open()


def test_what_nobody_heard_is_said_again_until_the_service_is_there() -> None:
    uplink, sent = online()
    uplink.service_seen()
    first = say(uplink, b"one")
    sent.confirm()
    uplink.tick(NOW + 0.1)
    uplink.tick(NOW + ACKNOWLEDGE_TIMEOUT_S)
    assert sent.words() == []
    uplink.tick(NOW + ACKNOWLEDGE_TIMEOUT_S + 0.1)
    start, *rest = sent.publications
    assert (fields(start)["id"], fields(start)["age_ms"]) == (
        first,
        round(ACKNOWLEDGE_TIMEOUT_S * 1000) + 100,
    )
    assert [word_of(one) for one in rest] == ["0 one", "stop 1"]
    uplink.service_listens()
    uplink.tick(NOW + 5)
    assert uplink.waiting == 1
    sent.confirm()
    uplink.tick(NOW + 5)
    assert uplink.waiting == 0


def test_a_service_that_comes_back_has_not_heard_what_was_said_before() -> None:
    uplink, sent = online()
    uplink.service_listens()
    say(uplink, b"one")
    sent.confirm()
    uplink.service_seen()
    uplink.answered("another")
    uplink.tick(NOW + 1)
    assert uplink.waiting == 1


def test_a_refusal_is_heard_too() -> None:
    uplink, sent = online()
    uplink.service_seen()
    id = say(uplink, b"one")
    uplink.answered(id)
    sent.confirm()
    uplink.tick(NOW + 1)
    assert uplink.waiting == 0


def test_what_the_service_has_only_a_part_of_is_sent_again_whole() -> None:
    uplink, sent = online()
    id = uplink.open()
    uplink.audio(b"one")
    assert sent.words() == ["start", "0 one"]
    uplink.resend(id)
    uplink.audio(b"two")
    assert sent.words() == ["start", "0 one", "1 two"]
    uplink.resend("another")
    uplink.close(NOW)
    assert sent.words() == ["stop 2"]


def test_what_nobody_heard_is_not_said_for_ever() -> None:
    uplink, sent = online()
    uplink.service_seen()
    say(uplink, b"one")
    for second in range(1, 30):
        sent.confirm()
        assert uplink.tick(NOW + second) is None
    assert uplink.waiting == 1
    assert uplink.tick(NOW + MAX_AGE_S) == DroppedUtterances(old=1)
    assert uplink.waiting == 0


def test_who_never_heard_the_service_trusts_the_broker() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    sent.confirm()
    assert uplink.tick(NOW + 10) is None
    assert sent.words() == []
    assert uplink.waiting == 0


def test_what_is_cleared_is_taken_back_and_what_is_being_said_goes_on() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    say(uplink, b"two")
    uplink.open()
    sent.take()
    uplink.clear()
    assert sent.words() == ["abort"]
    assert (uplink.waiting, uplink.dropped) == (1, 0)
    uplink.audio(b"three")
    uplink.close(NOW)
    assert sent.words() == ["start", "0 three", "stop 1"]


# What the service answers --------------------------------------------------------------------


def taken(uplink: Uplink, sent: Sent, now: float = NOW) -> str:
    """An utterance that the broker and the service have, of a service that answers."""
    uplink.answered("another")
    id = say(uplink, b"one", now=now)
    uplink.service_listens()
    sent.confirm()
    uplink.tick(now)
    return id


def test_what_was_taken_and_not_answered_is_sent_again_when_the_connection_is_back() -> None:
    uplink, sent = online()
    lost, answered = taken(uplink, sent), taken(uplink, sent)
    uplink.answered(answered)
    assert uplink.waiting == 0
    uplink.disconnected()
    uplink.connected(2, NOW + 5)
    start, *rest = sent.take()
    assert (fields(start)["id"], fields(start)["age_ms"]) == (lost, 5000)
    assert [word_of(one) for one in rest] == ["0 one", "stop 1"]
    uplink.answered(lost)
    uplink.tick(NOW + 5)
    assert (uplink.waiting, sent.words()) == (0, [])


def test_what_a_service_has_lost_is_sent_again_when_it_says_that_it_is_idle() -> None:
    uplink, sent = online()
    first, second = taken(uplink, sent), taken(uplink, sent)
    uplink.service_idle()
    uplink.tick(NOW + 1)
    assert uplink.waiting == 2
    assert fields(sent.publications[0])["id"] == first
    sent.confirm()
    uplink.service_listens()
    uplink.tick(NOW + 1)
    assert fields(sent.publications[0])["id"] == second
    uplink.answered(first)
    uplink.answered(second)
    uplink.service_idle()
    uplink.tick(NOW + 2)
    assert uplink.waiting == 0


def test_what_is_being_said_begins_anew_for_a_service_that_has_lost_its_beginning() -> None:
    uplink, sent = online()
    uplink.answered("another")
    uplink.open()
    uplink.audio(b"one")
    uplink.service_idle()
    uplink.audio(b"two")
    assert sent.words() == ["start", "0 one", "1 two"], "the service was idle before it heard it"
    uplink.service_listens()
    uplink.service_idle()
    uplink.audio(b"three")
    assert sent.words() == ["start", "0 one", "1 two", "2 three"]


def test_who_never_reads_an_answer_does_not_miss_one() -> None:
    uplink, sent = online()
    say(uplink, b"one")
    uplink.service_listens()
    sent.confirm()
    uplink.tick(NOW)
    uplink.service_idle()
    uplink.tick(NOW + 1)
    assert (uplink.waiting, sent.words()) == (0, [])


def test_what_is_sent_again_goes_before_the_rest_but_interrupts_nothing() -> None:
    uplink, sent = online()
    first = taken(uplink, sent)
    uplink.open()
    uplink.audio(b"two")
    assert sent.words() == ["start", "0 two"]
    uplink.resend(first)
    uplink.tick(NOW)
    uplink.audio(b"three")
    assert sent.words() == ["1 three"]
    uplink.close(NOW)
    assert sent.words() == ["stop 2"]
    assert uplink.waiting == 2
    uplink.service_listens()
    later = say(uplink, b"four")
    uplink.disconnected()
    uplink.connected(2, NOW)
    assert fields(sent.publications[0])["id"] == first
    assert later != first


def test_what_the_service_takes_for_all_of_it_gets_another_id() -> None:
    uplink, sent = online()
    old = taken(uplink, sent)
    new = uplink.resend_with_new_id(old, repeated=False)
    assert new not in {None, old}
    uplink.tick(NOW + 1)
    assert fields(sent.publications[0])["id"] == new
    assert uplink.resend_with_new_id(old, repeated=False) is None
    being_said, _ = online()
    open_id = being_said.open()
    being_said.service_listens()
    assert being_said.resend_with_new_id(open_id, repeated=False) not in {None, open_id}


def test_an_answer_to_an_earlier_attempt_changes_no_id_unless_it_is_repeated() -> None:
    uplink, _ = online()
    id = say(uplink, b"one")
    assert uplink.resend_with_new_id(id, repeated=False) is None
    assert uplink.resend_with_new_id(id, repeated=True) not in {None, id}


def test_what_a_service_leaves_behind_is_sent_when_it_may_be_back() -> None:
    uplink, sent = online()
    id = taken(uplink, sent)
    uplink.resend_later(id, NOW)
    uplink.tick(NOW + ACKNOWLEDGE_TIMEOUT_S - 0.1)
    uplink.open()
    uplink.audio(b"two")
    assert sent.words() == []
    uplink.tick(NOW + ACKNOWLEDGE_TIMEOUT_S)
    assert fields(sent.publications[0])["id"] == id
    uplink.resend_later("never-heard-of", NOW + ACKNOWLEDGE_TIMEOUT_S)
    assert sent.words() == ["start", "0 one", "stop 1"]


def test_it_is_sent_at_once_when_the_service_says_that_it_is_back() -> None:
    uplink, sent = online()
    uplink.resend_later(taken(uplink, sent), NOW)
    uplink.service_idle()
    uplink.tick(NOW + 0.1)
    assert sent.words() == ["start", "0 one", "stop 1"]


def test_what_was_refused_while_it_is_being_said_is_not_sent_any_further() -> None:
    uplink, sent = online()
    id = uplink.open()
    uplink.audio(b"one")
    sent.take()
    uplink.answered(id)
    uplink.audio(b"two")
    uplink.close(NOW)
    assert (uplink.waiting, sent.words()) == (0, [])


def test_who_gets_an_utterance_and_when_is_told_once() -> None:
    uplink, sent = online()
    uplink.service_seen()
    id = say(uplink, b"one")
    sent.confirm()
    uplink.tick(NOW)
    assert uplink.delivered() == [DeliveredUtterance(id, acknowledged=False)]
    uplink.service_listens()
    uplink.tick(NOW + 1)
    assert uplink.delivered() == [DeliveredUtterance(id, acknowledged=True)]
    assert uplink.delivered() == []


def test_what_waits_for_an_answer_is_bounded_in_age_and_in_bytes() -> None:
    uplink, sent = online(config(max_bytes=4000))
    for _ in range(9):
        taken(uplink, sent)
    uplink.disconnected()
    uplink.connected(2, NOW + 1)
    assert uplink.waiting <= 4000 // 512
    assert uplink.tick(NOW + MAX_AGE_S) == DroppedUtterances(old=uplink.dropped)
    assert uplink.waiting == 0
    quiet, heard = online(config(max_bytes=4000))
    taken(quiet, heard)
    assert quiet.tick(NOW + MAX_AGE_S) is None, "it was sent, so it is not lost"


def test_what_has_to_be_sent_again_and_finds_no_room_is_dropped_and_told() -> None:
    uplink, sent = online(config(max_bytes=4000))
    id = taken(uplink, sent)
    uplink.resend(id)
    uplink.disconnected()
    uplink.open()
    uplink.audio(bytes(3500))
    dropped = uplink.tick(NOW)
    assert dropped == DroppedUtterances(full=1)
    assert dropped.ids == (id,)


def test_what_is_cleared_is_not_sent_again_either() -> None:
    uplink, sent = online()
    id = taken(uplink, sent)
    uplink.resend(id)
    assert uplink.clear() == [id]
    uplink.tick(NOW)
    assert (uplink.waiting, sent.words()) == (0, [])
