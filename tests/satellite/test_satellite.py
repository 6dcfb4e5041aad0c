from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from stt_mqtt.audio.decode import decode
from stt_mqtt.config import SatelliteConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.doors.native.topics import Topics
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.satellite.control import SatelliteTopics
from stt_mqtt.satellite.satellite import Satellite
from stt_mqtt.satellite.segmenter import FRAME_BYTES, FRAME_S, ListenState
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio

TOPICS = SatelliteTopics(Topics("stt"), "kitchen")


def room(seconds: float, spoken: bytes = b"") -> bytes:
    """So much of a quiet room, with what is spoken in it from its beginning."""
    noise = np.random.default_rng(2).normal(size=int(seconds * 16_000)) * 30
    noise[: len(spoken) // 2] += np.frombuffer(spoken, "<i2")
    return np.rint(noise).clip(-32768, 32767).astype("<i2").tobytes()


SPOKEN = SAMPLES[0].pcm()
COMMAND = room(len(SPOKEN) / 32_000, SPOKEN)
LAST_WORD_S = 2.72
"""When the last word of `COMMAND` ends."""
SENTENCE = COMMAND[: 32 * round(1000 * LAST_WORD_S)]


@dataclass
class Bench:
    """A satellite in a quiet room, and a broker that takes everything at once."""

    config: SatelliteConfig = field(default_factory=SatelliteConfig)
    now: float = 1000.0
    sent: list[Publication] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.satellite = Satellite(self.config, TOPICS, self.take)

    def take(self, publication: Publication) -> None:
        self.sent.append(publication)
        if publication.receipt is not None:
            publication.receipt()

    def connect(self, connection: int = 1) -> None:
        self.satellite.connected(connection, lambda: None)
        self.satellite.announced(connection, self.now)

    def hear(self, pcm: bytes) -> None:
        for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            self.satellite.process(pcm[at : at + FRAME_BYTES], self.now)
            self.now += FRAME_S

    def told(self, name: str, fields: dict[str, Any], retain: bool = False) -> None:
        topic = name if "/" in name[:5] else f"stt/kitchen/{name}"
        self.satellite.receive(Inbound(topic, json.dumps(fields).encode(), retain=retain), self.now)

    def acts_upon(self, fields: dict[str, Any]) -> bool:
        """Whether this result may be acted upon."""
        message = Inbound("stt/kitchen/result", json.dumps(fields).encode())
        answer = self.satellite.receive(message, self.now)
        return answer is not None and answer.act_until is not None

    def told_state(self, state: str, retain: bool = False) -> None:
        self.satellite.receive(
            Inbound("stt/kitchen/state", state.encode(), retain=retain), self.now
        )

    def of(self, name: str) -> list[bytes]:
        return [item.payload for item in self.sent if item.topic == f"stt/kitchen/{name}"]

    @property
    def marks(self) -> list[str]:
        names = {"audio/start": "start", "audio/stop": "stop", "audio/abort": "abort"}
        return [
            names[item.topic.removeprefix("stt/kitchen/")]
            for item in self.sent
            if item.topic.removeprefix("stt/kitchen/") in names
        ]

    @property
    def states(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.of("satellite/state")]


@pytest.mark.parametrize("codec", ["opus", "flac", "pcm_s16le"])
def test_a_command_in_a_quiet_room_is_one_utterance_with_all_its_words(codec: str) -> None:
    bench = Bench(SatelliteConfig.model_validate({"codec": codec}))
    bench.connect()
    bench.hear(room(4) + COMMAND + room(2))
    assert bench.marks == ["start", "stop"]
    (start,), (stop,) = bench.of("audio/start"), bench.of("audio/stop")
    chunks = bench.of("audio")
    assert [int.from_bytes(chunk[:4], "little") for chunk in chunks] == list(range(len(chunks)))
    assert json.loads(stop) == {"id": json.loads(start)["id"], "chunks": len(chunks)}
    assert json.loads(start)["codec"] == codec
    data = b"".join(chunk[4:] for chunk in chunks)
    heard = decode(EncodedAudio(AudioFormat(Codec(codec)), data), 30).samples
    spoken = np.frombuffer(COMMAND, "<i2") / 32768
    loud = np.flatnonzero(np.abs(spoken) > 0.05)
    assert len(heard) >= loud[-1] - loud[0]
    assert np.sum(np.square(heard)) == pytest.approx(np.sum(np.square(spoken)), rel=0.2)


def test_silence_is_not_sent() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(30))
    assert {item.topic for item in bench.sent} == {
        "stt/kitchen/availability",
        "stt/kitchen/satellite/state",
    }


def test_it_says_who_it_is_at_each_connection() -> None:
    bench = Bench()
    bench.connect()
    bench.satellite.disconnected()
    bench.connect(2)
    assert bench.of("availability") == [b"online", b"online"]
    assert len(bench.states) == 2
    assert bench.states[0] == bench.states[1]
    assert bench.states[0]["listening"] is True
    assert all(item.retain for item in bench.sent)
    *_, last = bench.satellite.farewell("stopped", bench.now)
    assert (last.topic, last.payload) == ("stt/kitchen/availability", b"offline")


def test_mute_takes_back_what_is_being_said_and_hears_nothing_more() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND[:48_000])
    bench.told("satellite/set", {"muted": True})
    bench.hear(COMMAND)
    assert bench.marks == ["start", "abort"]
    assert bench.satellite.listen_state is ListenState.OFF
    assert [state["muted"] for state in bench.states] == [False, True]
    bench.told("satellite/set", {"muted": False})
    bench.hear(room(2) + COMMAND + room(2))
    assert bench.marks == ["start", "abort", "start", "stop"]


def test_a_retained_mute_is_heeded_before_anything_is_sent() -> None:
    bench = Bench()
    bench.hear(room(4) + COMMAND + room(2))
    bench.satellite.connected(1, lambda: None)
    bench.satellite.tick(bench.now)
    bench.told("satellite/set", {"muted": True}, retain=True)
    bench.satellite.announced(1, bench.now)
    bench.hear(COMMAND)
    assert bench.marks == []
    assert bench.satellite.uplink.waiting == 0


def test_while_a_sound_plays_nothing_is_heard_and_what_was_said_before_is_kept() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND[:48_000])
    bench.told("satellite/set", {"playing": True})
    bench.hear(COMMAND + COMMAND)
    assert bench.marks == ["start", "stop"]
    assert bench.states[-1]["playing"] is True
    bench.told("satellite/set", {"playing": False})
    bench.hear(room(2) + COMMAND + room(2))
    assert bench.marks == ["start", "stop"] * 2


def test_a_wake_up_is_good_for_one_utterance() -> None:
    bench = Bench(
        SatelliteConfig.model_validate({"mode": "wake", "wake_topic": "hermes/hotword/+/detected"})
    )
    assert "hermes/hotword/+/detected" in bench.satellite.filters
    bench.connect()
    bench.hear(room(4) + COMMAND + room(2))
    assert bench.marks == []
    bench.told("hermes/hotword/kitchen/detected", {"siteId": "kitchen"})
    bench.hear(room(1) + COMMAND + room(2) + COMMAND + room(2))
    assert bench.marks == ["start", "stop"]
    bench.told("satellite/set", {"listen": True})
    bench.hear(room(1) + COMMAND + room(2))
    assert bench.marks == ["start", "stop"] * 2


def test_a_wake_up_of_yesterday_wakes_nobody() -> None:
    bench = Bench(SatelliteConfig.model_validate({"mode": "wake", "wake_topic": "wake/up"}))
    bench.connect()
    bench.told("wake/up", {}, retain=True)
    bench.told("satellite/set", {"listen": True}, retain=True)
    bench.hear(room(1) + COMMAND + room(2))
    assert bench.marks == []


def test_push_to_talk_lasts_from_the_press_to_the_release() -> None:
    bench = Bench(SatelliteConfig.model_validate({"mode": "push_to_talk"}))
    bench.connect()
    bench.hear(room(4))
    bench.told("satellite/set", {"listen": True})
    bench.hear(COMMAND + room(3) + COMMAND)
    assert bench.marks == ["start"]
    bench.told("satellite/set", {"listen": False})
    assert bench.marks == ["start", "stop"]
    bench.hear(COMMAND)
    assert bench.marks == ["start", "stop"]


def test_a_silent_press_sends_nothing() -> None:
    bench = Bench(SatelliteConfig.model_validate({"mode": "push_to_talk"}))
    bench.connect()
    bench.told("satellite/set", {"listen": True})
    bench.hear(room(4))
    bench.told("satellite/set", {"listen": False})
    assert bench.marks == []


def test_a_result_is_the_answer_to_what_was_said() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND + room(2))
    (start,) = bench.of("audio/start")
    result = {
        "id": json.loads(start)["id"],
        "outcome": "transcript",
        "text": "Hello.",
        "end": "stop",
    }
    topic = "stt/kitchen/result"
    answer = bench.satellite.receive(Inbound(topic, json.dumps(result).encode()), bench.now)
    assert answer is not None
    assert (answer.text, answer.ours, answer.late) == ("Hello.", True, False)
    assert bench.satellite.answers.outstanding == 0


def test_what_is_said_while_the_broker_is_away_is_sent_when_it_is_back_with_its_age() -> None:
    bench = Bench()
    bench.hear(room(4) + COMMAND + room(20))
    assert bench.sent == []
    bench.connect()
    (start,) = bench.of("audio/start")
    assert 18_000 < json.loads(start)["age_ms"] < 21_000
    assert bench.marks == ["start", "stop"]


def test_what_is_too_old_is_never_sent_and_said() -> None:
    bench = Bench()
    bench.hear(room(4) + COMMAND + room(31))
    bench.connect()
    dropped = bench.satellite.tick(bench.now)
    assert dropped is not None
    assert dropped.old == 1
    assert bench.marks == []
    assert bench.satellite.uplink.dropped == 1


def test_the_end_of_a_recording_ends_what_is_being_said() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND[:-30_000])
    bench.satellite.finish(bench.now)
    assert bench.marks == ["start", "stop"]


def test_a_greeting_of_a_connection_that_is_gone_starts_nothing() -> None:
    bench = Bench()
    bench.hear(room(4) + COMMAND + room(2))
    bench.satellite.connected(1, lambda: None)
    bench.satellite.disconnected()
    bench.satellite.announced(1, bench.now)
    assert not bench.satellite.online
    assert bench.marks == []


def test_a_live_mute_is_not_lifted_by_an_older_retained_message() -> None:
    bench = Bench()
    bench.connect()
    bench.told("satellite/set", {"muted": True})
    bench.told("satellite/set", {"muted": False}, retain=True)
    assert bench.satellite.policy.muted
    bench.told("satellite/set", {"muted": False})
    assert not bench.satellite.policy.muted


def test_an_utterance_ends_when_the_source_stops_in_it() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND[:48_000])
    bench.now += 1.9
    bench.satellite.tick(bench.now)
    assert bench.marks == ["start"]
    bench.now += 0.2
    bench.satellite.tick(bench.now)
    assert bench.marks == ["start", "stop"]


def test_who_stood_still_itself_does_not_take_the_source_for_stopped() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND[:32_000])
    bench.satellite.tick(bench.now)
    bench.now += 60
    bench.satellite.tick(bench.now)
    assert bench.satellite.speaking
    for _ in range(25):
        bench.now += 0.1
        bench.satellite.tick(bench.now)
    assert not bench.satellite.speaking
    assert bench.marks == ["start", "stop"]


def test_a_source_that_is_lost_is_told_with_its_reason_and_again_when_it_is_back() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND[:48_000])
    bench.satellite.source_lost("no microphone: unplugged", bench.now)
    assert bench.marks == ["start", "stop"], "what was said before is not lost"
    told = bench.states[-1]
    assert (told["listening"], told["reason"]) == (False, "no microphone: unplugged")
    bench.satellite.disconnected()
    bench.connect(2)
    assert bench.states[-1] == told
    bench.hear(room(0.1))
    assert (bench.states[-1]["listening"], bench.states[-1]["reason"]) == (True, None)


def test_a_source_that_gives_nothing_is_told_and_one_that_has_to_wait_is_not() -> None:
    bench = Bench()
    bench.connect()
    bench.satellite.source_opened(bench.now)
    bench.satellite.source_waits()
    bench.now += 10
    bench.satellite.tick(bench.now)
    assert bench.states[-1]["listening"] is True
    bench.satellite.source_opened(bench.now)
    for _ in range(3):
        bench.now += 0.7
        bench.satellite.tick(bench.now)
    assert (bench.states[-1]["listening"], bench.states[-1]["reason"]) == (
        False,
        "no audio came in for 2 s",
    )


def test_what_it_says_at_the_end_is_true_afterwards() -> None:
    bench = Bench()
    bench.connect()
    bench.told("satellite/set", {"playing": True})
    state, availability = bench.satellite.farewell("stopped", bench.now)
    assert state.retain
    fields = json.loads(state.payload)
    assert (fields["listening"], fields["playing"], fields["reason"]) == (False, False, "stopped")
    assert availability.payload == b"offline"


def test_nothing_of_before_the_machine_slept_is_sent_or_waited_for() -> None:
    bench = Bench()
    bench.hear(room(4) + COMMAND + room(2) + COMMAND[:48_000])
    assert bench.satellite.speaking
    bench.satellite.slept(bench.now)
    bench.connect()
    bench.hear(room(2))
    assert bench.marks == []
    assert bench.satellite.answers.outstanding == 0


def test_the_wait_for_an_answer_does_not_count_what_was_spent_in_the_spool() -> None:
    bench = Bench()
    bench.hear(room(4) + COMMAND + room(20))
    bench.connect()
    bench.satellite.tick(bench.now)
    assert bench.satellite.answers.waiting_since == bench.now


def test_the_wait_for_an_answer_does_not_count_an_outage_of_the_service() -> None:
    bench = Bench()
    bench.connect()
    bench.told_state("idle", retain=True)
    bench.hear(room(4) + COMMAND + room(1))
    bench.satellite.tick(bench.now)
    away_since = bench.satellite.answers.waiting_since
    assert away_since == pytest.approx(bench.now, abs=1), "nobody answers, which may be told"
    for _ in range(20):
        bench.now += 1
        bench.satellite.tick(bench.now)
    assert bench.satellite.answers.waiting_since == away_since
    bench.told_state("listening")
    bench.satellite.tick(bench.now)
    assert bench.satellite.answers.waiting_since == bench.now


def test_an_utterance_whose_answer_was_lost_in_an_outage_is_obeyed_by_the_repeated_one() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND + room(1))
    bench.told_state("listening")
    bench.satellite.tick(bench.now)
    bench.satellite.disconnected()
    bench.connect(2)
    assert bench.marks == ["start", "stop"] * 2
    first, second = (json.loads(payload) for payload in bench.of("audio/start"))
    assert first["id"] == second["id"]
    result = {"id": first["id"], "outcome": "transcript", "text": "Hello.", "end": "stop"}
    acted = [
        bench.acts_upon({**result, "repeated": repeated, "incomplete": False})
        for repeated in (True, False, True)
    ]
    assert acted == [True, False, False]


def test_a_part_that_the_service_calls_incomplete_is_sent_again_whole_under_its_id() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND + room(1))
    bench.told_state("listening")
    bench.satellite.tick(bench.now)
    (start,) = (json.loads(payload) for payload in bench.of("audio/start"))
    half = {"id": start["id"], "outcome": "transcript", "text": "How", "end": "disconnect"}
    bench.told("result", {**half, "incomplete": True})
    bench.satellite.tick(bench.now)
    assert bench.marks == ["start", "stop"] * 2
    assert json.loads(bench.of("audio/start")[-1])["id"] == start["id"]


def test_a_part_that_the_service_takes_for_all_of_it_is_sent_again_whole_under_another_id() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND[:48_000])
    (old,) = (json.loads(payload)["id"] for payload in bench.of("audio/start"))
    bench.told_state("listening")
    assert not bench.acts_upon({"id": old, "outcome": "transcript", "text": "How", "end": "gap"})
    bench.hear(COMMAND[48_000:] + room(2))
    assert bench.marks == ["start", "start", "stop"]
    numbers = [int.from_bytes(chunk[:4], "little") for chunk in bench.of("audio")]
    assert numbers[-1] + 1 == json.loads(bench.of("audio/stop")[0])["chunks"]
    assert numbers.count(0) == 2
    new = json.loads(bench.of("audio/start")[-1])["id"]
    assert new != old
    assert bench.acts_upon({"id": new, "outcome": "transcript", "text": "Hi.", "end": "stop"})


def test_what_a_service_leaves_behind_waits_for_the_next_one() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + COMMAND + room(1))
    (id,) = (json.loads(payload)["id"] for payload in bench.of("audio/start"))
    error = {"code": "shutting_down", "detail": "the service stops"}
    bench.told("result", {"id": id, "outcome": "error", "text": "", "error": error})
    bench.satellite.tick(bench.now)
    assert bench.marks == ["start", "stop"]
    bench.told_state("idle")
    bench.satellite.tick(bench.now)
    assert bench.marks == ["start", "stop"] * 2


def test_a_source_that_never_gave_anything_but_zeros_is_told_until_it_gives_something() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(bytes(FRAME_BYTES) * 333)
    assert bench.states[-1]["listening"] is True
    bench.hear(bytes(FRAME_BYTES))
    assert bench.states[-1]["listening"] is False
    assert "nothing but zeros" in bench.states[-1]["reason"]
    bench.hear(room(0.1))
    bench.hear(bytes(FRAME_BYTES) * 1000)
    assert bench.states[-1]["listening"] is True, "some give that between words"


def id_of_newest(bench: Bench) -> str:
    id = json.loads(bench.of("audio/start")[-1])["id"]
    assert isinstance(id, str)
    return id


def ended_in_its_pause(mode: str = "always") -> Bench:
    """A satellite whose utterance the service has just ended, 0.3 s after its last word."""
    bench = Bench(SatelliteConfig.model_validate({"mode": mode}))
    bench.connect()
    bench.hear(room(4))
    bench.told("satellite/set", {"listen": True})
    bench.hear(SENTENCE + room(0.3))
    assert bench.marks == ["start"]
    bench.told("satellite/set", {"ended": id_of_newest(bench)})
    return bench


@pytest.mark.parametrize("mode", ["always", "wake", "push_to_talk"])
def test_what_the_service_has_ended_is_not_sent_any_further_and_needs_no_stop(mode: str) -> None:
    bench = ended_in_its_pause(mode)
    sent = len(bench.of("audio"))
    bench.hear(room(3))
    assert bench.marks == ["start"]
    assert len(bench.of("audio")) == sent
    assert not bench.satellite.speaking
    assert bench.satellite.uplink.waiting == 0
    assert bench.states[-1]["listening"] is (mode == "always")


def test_the_answer_to_what_the_service_has_ended_may_be_acted_upon() -> None:
    bench = ended_in_its_pause()
    result = {"id": id_of_newest(bench), "outcome": "transcript", "text": "Yes.", "end": "endpoint"}
    assert bench.satellite.answers.outstanding == 1
    assert bench.acts_upon(result)
    assert bench.satellite.answers.outstanding == 0
    assert not bench.acts_upon({**result, "repeated": True})


def test_who_goes_on_to_speak_after_that_is_heard_as_another_utterance() -> None:
    bench = ended_in_its_pause()
    first = id_of_newest(bench)
    bench.hear(COMMAND + room(2))
    assert bench.marks == ["start", "start", "stop"]
    assert id_of_newest(bench) != first
    (stop,) = bench.of("audio/stop")
    assert json.loads(stop)["id"] == id_of_newest(bench)


def test_the_rest_of_a_press_is_not_sent_and_its_release_ends_nothing() -> None:
    bench = ended_in_its_pause("push_to_talk")
    bench.hear(COMMAND)
    assert bench.satellite.listen_state is ListenState.WAITING
    bench.told("satellite/set", {"listen": False})
    assert bench.marks == ["start"]
    bench.told("satellite/set", {"listen": True})
    bench.hear(room(1) + COMMAND)
    assert bench.marks == ["start", "start"]


def test_a_wake_up_is_used_up_by_an_utterance_that_the_service_has_ended() -> None:
    bench = ended_in_its_pause("wake")
    bench.hear(COMMAND + room(2))
    assert bench.marks == ["start"]


def test_the_end_of_another_utterance_ends_nothing() -> None:
    bench = Bench()
    bench.connect()
    bench.told("satellite/set", {"ended": "never-seen"})
    bench.hear(room(4) + COMMAND + room(2))
    earlier = id_of_newest(bench)
    bench.told("satellite/set", {"ended": earlier})
    bench.hear(COMMAND[:48_000])
    bench.told("satellite/set", {"ended": earlier})
    bench.told("satellite/set", {"ended": id_of_newest(bench)}, retain=True)
    assert bench.satellite.speaking
    bench.hear(COMMAND[48_000:] + room(2))
    assert bench.marks == ["start", "stop"] * 2


def test_the_end_of_what_is_only_in_the_spool_loses_nothing_and_repeats_nothing() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + SENTENCE + room(0.3))
    id = id_of_newest(bench)
    bench.satellite.disconnected()
    bench.told("satellite/set", {"ended": id})
    bench.hear(room(2))
    bench.sent.clear()
    bench.connect(2)
    assert bench.marks == ["start", "stop"]
    assert id_of_newest(bench) == id
    result = {"id": id, "outcome": "transcript", "text": "Yes.", "end": "endpoint"}
    assert bench.acts_upon({**result, "repeated": True})
    assert bench.satellite.uplink.waiting == 0


def test_the_result_of_an_open_utterance_that_the_service_has_ended_ends_it_too() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + SENTENCE + room(0.3))
    id = id_of_newest(bench)
    assert bench.acts_upon({"id": id, "outcome": "transcript", "text": "Yes.", "end": "endpoint"})
    assert not bench.satellite.speaking
    bench.told("satellite/set", {"ended": id})
    bench.hear(room(2))
    assert bench.marks == ["start"]


def test_other_keys_of_the_message_count_as_well() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + SENTENCE + room(0.3))
    bench.told("satellite/set", {"ended": id_of_newest(bench), "muted": True})
    assert bench.marks == ["start"]
    assert bench.satellite.policy.muted


def test_the_last_word_is_sent_before_the_pause_is_over() -> None:
    bench = Bench(SatelliteConfig.model_validate({"codec": "pcm_s16le"}))
    bench.connect()
    bench.hear(room(4) + SENTENCE + room(0.3))
    early = sum(len(chunk) - 4 for chunk in bench.of("audio"))
    bench.hear(room(2))
    assert bench.marks == ["start", "stop"]
    assert early == sum(len(chunk) - 4 for chunk in bench.of("audio"))


def pausing(fields: Callable[[Bench], dict[str, Any]]) -> Bench:
    """A satellite that is told something in a pause of 0.9 s, 0.3 s after its last word."""
    bench = Bench(SatelliteConfig.model_validate({"codec": "pcm_s16le"}))
    bench.connect()
    bench.hear(room(4) + SENTENCE + room(0.3))
    bench.told("satellite/set", fields(bench))
    bench.hear(room(0.6))
    return bench


def open_phrase(bench: Bench) -> dict[str, Any]:
    return {"open": id_of_newest(bench)}


def test_who_pauses_in_an_open_phrase_is_waited_for_and_heard_without_a_hole() -> None:
    bench = pausing(open_phrase)
    assert bench.marks == ["start"]
    bench.hear(SENTENCE + room(0.5))
    assert bench.marks == ["start"], "the next pause is as long as usual"
    bench.hear(room(1))
    assert bench.marks == ["start", "stop"]
    chunks = bench.of("audio")
    assert [int.from_bytes(chunk[:4], "little") for chunk in chunks] == list(range(len(chunks)))
    heard_s = sum(len(chunk) - 4 for chunk in chunks) / 32_000
    both_s = 2 * len(SENTENCE) / 32_000 + 0.9
    assert both_s - 0.5 <= heard_s <= both_s + 0.5


def test_who_says_no_more_is_not_waited_for_any_longer_than_that() -> None:
    bench = pausing(open_phrase)
    bench.hear(room(0.9))
    assert bench.marks == ["start", "stop"]


@pytest.mark.parametrize(
    "fields",
    [
        lambda bench: {},
        lambda bench: {"open": "never-seen"},
        lambda bench: {"open": id_of_newest(bench), "ended": 7},
        lambda bench: {"open": True},
    ],
)
def test_what_is_not_about_the_open_utterance_prolongs_no_pause(
    fields: Callable[[Bench], dict[str, Any]],
) -> None:
    assert pausing(fields).marks == ["start", "stop"]


def test_an_open_phrase_that_is_told_too_late_opens_nothing_and_prolongs_nothing() -> None:
    bench = pausing(lambda bench: {})
    bench.told("satellite/set", open_phrase(bench))
    assert not bench.satellite.speaking
    bench.hear(COMMAND + room(0.9))
    assert bench.marks == ["start", "stop"] * 2


def test_from_a_retained_message_no_pause_is_prolonged() -> None:
    bench = Bench()
    bench.connect()
    bench.hear(room(4) + SENTENCE + room(0.3))
    bench.told("satellite/set", open_phrase(bench), retain=True)
    bench.hear(room(0.9))
    assert bench.marks == ["start", "stop"]
