"""The native door between a scripted wire and the real service, with fakes for time and threads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_mqtt.audio.decode import decode
from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.doors.native.topics import Verb
from stt_mqtt.errors import OverloadedError, TooLongError
from stt_mqtt.hints import Hint
from stt_mqtt.types import AudioFormat, Codec, EncodedAudio, Phrase, Transcript
from tests.audio.synth import container, is_tone, s16, tone
from tests.doors.native.peers import Wire
from tests.fakes import heard, nothing_heard
from tests.thorough import examples

RESULT_KEYS = [
    "v", "id", "device", "ts", "outcome", "text", "language", "confidence", "no_speech_prob",
    "audio_s", "end", "truncated", "lost_chunks", "model", "rung", "wait_s", "infer_s",
    "latency_s", "error", "age_s", "incomplete", "repeated", "heard", "phrase",
    "hint",
]  # fmt: skip
CODES = {
    "bad_payload", "payload_too_large", "unsupported_format", "unsupported_language",
    "corrupt_audio", "too_short", "too_long", "disabled", "overloaded", "expired",
    "too_many_devices", "model_unavailable", "inference_failed", "inference_timeout",
    "shutting_down",
}  # fmt: skip


def test_a_result_has_all_its_keys_and_the_text_goes_out_bare_before_it() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", b'{"id":"a"}')
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send("stt/kitchen/audio/stop")
    wire.answer()
    topics = [item.topic for item in wire.published]
    assert topics == [
        "stt/kitchen/settings", "stt/kitchen/state", "stt/kitchen/state",
        "stt/kitchen/text", "stt/kitchen/result", "stt/kitchen/state",
    ]  # fmt: skip
    assert wire.on("stt/kitchen/state") == [b"listening", b"transcribing", b"idle"]
    assert wire.on("stt/kitchen/text") == [b"Turn on the light."]
    (result,) = wire.results()
    assert list(result) == RESULT_KEYS
    assert (result["v"], result["id"], result["outcome"], result["end"]) == (
        1, "a", "transcript", "stop",
    )  # fmt: skip
    assert result["error"] is None
    qualities = {item.topic: (item.qos, item.retain) for item in wire.published}
    assert qualities == {
        "stt/kitchen/settings": (1, True),
        "stt/kitchen/state": (1, True),
        "stt/kitchen/text": (1, False),
        "stt/kitchen/result": (1, False),
    }


def test_a_result_without_a_phrase_has_what_was_heard_and_no_phrase() -> None:
    wire = Wire()
    wire.send("stt/kitchen/utterance", bytes(32_000))
    wire.answer()
    (result,) = wire.results()
    assert (result["heard"], result["phrase"]) == ("Turn on the light.", None)
    wire.send("stt/kitchen/utterance", bytes(32_000))
    wire.answer("")
    assert (wire.results()[1]["heard"], wire.results()[1]["phrase"]) == ("", None)


def test_a_phrase_is_the_text_of_a_result_beside_what_was_heard() -> None:
    wire = Wire()
    wire.send("stt/kitchen/utterance", bytes(32_000))
    phrase = Phrase("HassTurnOn", {"name": "Mood"}, {"name": "light.mood"}, -0.74321, None)
    transcript = Transcript("Turn on Mood.", "en", 0.9, 0.01, "Turn on food.", phrase)
    wire.pool.answer(wire.service, replace(heard(), transcript=transcript))
    (result,) = wire.results()
    assert (result["text"], result["heard"]) == ("Turn on Mood.", "Turn on food.")
    assert wire.on("stt/kitchen/text") == [b"Turn on Mood."]
    assert result["phrase"] == {
        "id": "HassTurnOn",
        "slots": {"name": "Mood"},
        "entities": {"name": "light.mood"},
        "score": -0.7432,
        "margin": None,
    }


@pytest.mark.parametrize(
    ("name", "payload", "end"),
    [("availability", b"offline", "disconnect"), ("audio/start", b'{"id":"b"}', "restart")],
)
def test_a_part_is_told_as_such_and_leaves_no_text(name: str, payload: bytes, end: str) -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", b'{"id":"a"}')
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send(f"stt/kitchen/{name}", payload)
    wire.answer("Turn on the")
    (result,) = wire.results()
    assert (result["id"], result["end"], result["incomplete"]) == ("a", end, True)
    assert result["text"] == "Turn on the"
    assert wire.on("stt/kitchen/text") == []


def test_an_utterance_that_is_sent_again_gets_the_same_result_and_no_second_text() -> None:
    wire = Wire()
    for reply in ("first", "second"):
        wire.send(
            "stt/kitchen/audio/start",
            b'{"id":"a"}',
            response_topic=f"stt/kitchen/reply/{reply}",
        )
        wire.send("stt/kitchen/audio", bytes(3200))
        wire.send("stt/kitchen/audio/stop")
        if wire.pool.submitted:
            wire.answer("Turn on the light.")
            states = len(wire.on("stt/kitchen/state"))
    first, again = wire.results()
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert {**again, "repeated": False} == first
    assert wire.on("stt/kitchen/text") == [b"Turn on the light."]
    assert len(wire.on("stt/kitchen/state")) == states
    assert [json.loads(payload) for payload in wire.on("stt/kitchen/reply/second")] == [again]
    wire.send("stt/kitchen/audio/start", b'{"id":"b"}')
    assert wire.service.metrics.dropped["repeated"] == 1
    assert wire.on("stt/kitchen/state")[-1] == b"listening"


def test_the_time_of_a_result_is_when_the_speech_ended() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", b'{"age_ms":25000}')
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send("stt/kitchen/audio/stop")
    wire.clock.advance(2.0)
    wire.answer()
    (result,) = wire.results()
    assert result["age_s"] == 25.0
    assert result["ts"] == round(wire.clock.epoch() - 2.0 - 25.0, 3)


def test_a_number_that_is_none_leaves_the_result_readable() -> None:
    wire = Wire()
    wire.send("stt/kitchen/utterance", bytes(3200))
    spoken = heard()
    assert spoken.transcript is not None
    nan = replace(spoken.transcript, confidence=float("nan"), no_speech_prob=float("inf"))
    wire.pool.answer(wire.service, replace(spoken, transcript=nan))
    (result,) = wire.results()
    assert (result["confidence"], result["no_speech_prob"]) == (None, None)
    assert wire.on("stt/kitchen/text") == [b"Turn on the light."]


def test_without_words_there_is_no_text_message() -> None:
    wire = Wire()
    wire.send("stt/kitchen/utterance", bytes(3200))
    wire.answer("")
    (result,) = wire.results()
    assert (result["outcome"], result["text"], result["end"]) == ("no_speech", "", "single")
    assert [result[key] for key in ("language", "confidence", "model", "infer_s")] == [None] * 4
    assert wire.on("stt/kitchen/text") == []


def test_retained_audio_is_ignored_and_retained_settings_are_not() -> None:
    wire = Wire()
    for name in ("audio", "audio/start", "audio/stop", "utterance"):
        wire.send(f"stt/kitchen/{name}", b"{}", retain=True)
    wire.send("stt/kitchen/set", b'{"enabled":false}', retain=True)
    assert wire.service.metrics.dropped["retained"] == 4
    assert json.loads(wire.on("stt/kitchen/settings")[-1])["enabled"] is False
    assert wire.results() == []


def test_bad_start_json_is_answered_without_an_id_and_ends_the_open_utterance() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send("stt/kitchen/audio/start", b"{")
    wire.answer()
    bad, good = wire.results()
    assert (bad["id"], bad["error"]["code"]) == (None, "bad_payload")
    assert (good["outcome"], good["end"]) == ("transcript", "restart")


def test_a_format_that_is_not_supported_is_answered_under_its_id_and_its_chunks_dropped() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", b'{"id":"a","codec":"speex"}')
    wire.send("stt/kitchen/audio", bytes(3200))
    (result,) = wire.results()
    assert (result["id"], result["error"]["code"]) == ("a", "unsupported_format")
    assert not any(device.listening for device in wire.service.registry)


@pytest.mark.parametrize("name", ["audio", "utterance", "audio/start"])
def test_a_payload_over_the_limit_is_refused(name: str) -> None:
    wire = Wire(mqtt={"max_payload_kib": 16})
    wire.send(f"stt/kitchen/{name}", bytes(16 * 1024 + 1))
    (result,) = wire.results()
    assert result["error"]["code"] == "payload_too_large"
    assert result["end"] == ("single" if name == "utterance" else None)
    assert wire.service.metrics.dropped["payload_too_large"] == 1


@pytest.mark.parametrize("payload", [b"OFF", b" OFF\n"])
def test_the_switch_of_home_assistant_changes_enabled_alone(payload: bytes) -> None:
    wire = Wire()
    wire.send("stt/kitchen/set", b'{"language":"en","prompt":"lamp"}')
    wire.send("stt/kitchen/enabled/set", payload)
    assert json.loads(wire.on("stt/kitchen/settings")[-1]) == {
        "enabled": False, "language": "en", "prompt": "lamp",
    }  # fmt: skip
    wire.send("stt/kitchen/enabled/set", b"ON")
    assert json.loads(wire.on("stt/kitchen/settings")[-1])["enabled"] is True
    wire.send("stt/kitchen/enabled/set", b"OFF", retain=True)
    assert json.loads(wire.on("stt/kitchen/settings")[-1])["enabled"] is True
    wire.send("stt/kitchen/enabled/set", b"false")
    (answer,) = wire.results()
    assert answer["error"] == {"code": "bad_payload", "detail": "enabled/set: ON or OFF is needed"}


@pytest.mark.parametrize(("switched", "enabled"), [(b"OFF", False), (b"ON", True)])
def test_a_retained_set_does_not_undo_what_was_switched_since(
    switched: bytes, enabled: bool
) -> None:
    wire = Wire()
    wire.send("stt/kitchen/enabled/set", switched)
    retained = {"enabled": not enabled, "prompt": "lamp"}
    wire.send("stt/kitchen/set", json.dumps(retained).encode(), retain=True)
    assert json.loads(wire.on("stt/kitchen/settings")[-1]) == {
        "enabled": enabled, "language": None, "prompt": "lamp",
    }  # fmt: skip
    wire.send("stt/kitchen/set", json.dumps(retained).encode())
    assert json.loads(wire.on("stt/kitchen/settings")[-1])["enabled"] is not enabled


def test_a_retained_set_that_comes_again_does_not_undo_what_was_set_since() -> None:
    wire = Wire()
    retained = b'{"language":"de","prompt":"Lampe"}'
    wire.send("stt/kitchen/set", retained, retain=True)
    wire.send("stt/kitchen/set", b'{"prompt":"Licht"}')
    wire.send("stt/kitchen/set", retained, retain=True)
    assert json.loads(wire.on("stt/kitchen/settings")[-1]) == {
        "enabled": True, "language": "de", "prompt": "Licht",
    }  # fmt: skip
    wire.send("stt/kitchen/set", b'{"prompt":null}')
    wire.send("stt/kitchen/set", retained, retain=True)
    assert json.loads(wire.on("stt/kitchen/settings")[-1])["prompt"] is None


def test_who_was_silent_for_long_is_forgotten_unless_it_says_that_it_is_there() -> None:
    wire = Wire(devices={"hall": {}})
    wire.door.devices.register_configured()
    for name in ("kitchen", "bath", "attic"):
        wire.send(f"stt/{name}/set", b"{}")
    wire.send("stt/bath/availability", b"online")
    wire.clock.advance(100.0)
    wire.send("stt/attic/set", b"{}")
    wire.door.devices.forget_silent(wire.clock.epoch() - 50)
    assert {device.key.name for device in wire.service.registry} == {"hall", "bath", "attic"}
    assert wire.on("stt/kitchen/settings")[-1] == b""


def test_a_stop_of_blanks_is_a_stop() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", b"\n")
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send("stt/kitchen/audio/stop", b" \n")
    assert not any(device.listening for device in wire.service.registry)
    assert wire.results() == []


def test_an_empty_settings_message_changes_nothing() -> None:
    wire = Wire()
    wire.send("stt/kitchen/set", b"", retain=True)
    assert wire.published == []


@pytest.mark.parametrize("name", ["set", "audio/stop", "audio/abort", "availability"])
def test_other_messages_that_make_no_sense_are_answered_without_an_id(name: str) -> None:
    wire = Wire()
    wire.send(f"stt/kitchen/{name}", b'{"enabled":5,"chunks":-1,"id":""')
    (result,) = wire.results()
    assert (result["id"], result["error"]["code"]) == (None, "bad_payload")


def test_offline_ends_the_open_utterance_and_online_does_nothing() -> None:
    wire = Wire()
    wire.send("stt/kitchen/availability", b"online", retain=True)
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send("stt/kitchen/availability", b"online")
    wire.send("stt/kitchen/availability", b"offline")
    wire.answer()
    (result,) = wire.results()
    assert result["end"] == "disconnect"


def test_the_reply_goes_to_the_devices_own_topic_with_its_correlation() -> None:
    wire = Wire()
    wire.send(
        "stt/kitchen/utterance",
        bytes(3200),
        response_topic="stt/kitchen/reply/1",
        correlation=b"\x01\x02",
    )
    wire.answer()
    reply = wire.published[-2]
    assert (reply.topic, reply.correlation, reply.qos, reply.retain) == (
        "stt/kitchen/reply/1", b"\x01\x02", 1, False,
    )  # fmt: skip
    assert json.loads(reply.payload) == wire.results()[0]


def test_the_mqtt_5_response_topic_wins_over_reply_to() -> None:
    wire = Wire()
    start = b'{"reply_to":"stt/kitchen/reply/json"}'
    wire.send("stt/kitchen/audio/start", start, response_topic="stt/kitchen/reply/five")
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send("stt/kitchen/audio/stop")
    wire.answer()
    assert wire.on("stt/kitchen/reply/json") == []
    assert len(wire.on("stt/kitchen/reply/five")) == 1


def test_a_device_cannot_make_the_service_publish_elsewhere() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", b'{"reply_to":"homeassistant/status"}')
    wire.send("stt/kitchen/audio", bytes(3200))
    wire.send("stt/kitchen/audio/stop")
    wire.answer()
    assert wire.on("homeassistant/status") == []
    assert wire.service.metrics.dropped["bad_reply_to"] == 1
    assert len(wire.results()) == 1


def test_the_content_type_of_the_first_chunk_names_the_format() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio", bytes(160), content_type="pcm_s16le;rate=8000;channels=1")
    wire.send("stt/kitchen/audio", bytes(160), content_type="nonsense")
    wire.send("stt/kitchen/audio/stop")
    (utterance,) = wire.pool.utterances
    assert utterance.audio.format is not None
    assert utterance.audio.format.rate == 8000


def test_an_unknown_content_type_of_the_first_chunk_refuses_until_a_pause() -> None:
    wire = Wire()
    for _ in range(3):
        wire.send("stt/kitchen/audio", bytes(160), content_type="audio/unheard-of")
    (result,) = wire.results()
    assert result["error"]["code"] == "unsupported_format"


def test_a_start_with_a_bad_content_type_is_answered_under_its_id_and_on_its_reply_topic() -> None:
    wire = Wire()
    start = b'{"id":"a","reply_to":"stt/kitchen/reply/x"}'
    wire.send("stt/kitchen/audio/start", start, content_type="audio/unheard-of")
    (result,) = wire.results()
    assert (result["id"], result["error"]["code"]) == ("a", "unsupported_format")
    assert len(wire.on("stt/kitchen/reply/x")) == 1


def test_the_chunks_of_a_disabled_device_are_dropped_unparsed() -> None:
    wire = Wire(devices={"kitchen": {"enabled": False}})
    for _ in range(3):
        wire.send("stt/kitchen/audio", bytes(160), content_type="audio/unheard-of")
    assert wire.results() == []


@pytest.mark.parametrize("content_type", [None, "application/json", "pcm_s16le;rate=44100"])
def test_a_file_of_another_kind_is_answered_by_its_name_and_reaches_no_model(
    content_type: str | None,
) -> None:
    wire = Wire()
    aiff = container("aiff", "pcm_s16be", tone())
    wire.send("stt/kitchen/utterance", aiff, content_type=content_type)
    (result,) = wire.results()
    assert (result["outcome"], result["end"]) == ("error", "single")
    assert result["error"]["code"] == "unsupported_format"
    assert "AIFF" in result["error"]["detail"]
    assert not wire.pool.submitted
    assert not wire.on("stt/kitchen/text")


@pytest.mark.parametrize("flags", ["", "empty_moov+default_base_moof"])
def test_what_a_phone_or_a_browser_records_is_taken_whole(flags: str) -> None:
    wire = Wire()
    recording = container("mp4", "aac", tone(rate=44_100), 44_100, flags=flags)
    wire.send("stt/phone/utterance", recording, content_type="audio/mp4")
    (utterance,) = wire.pool.utterances
    assert utterance.audio == EncodedAudio(AudioFormat(Codec.MP4), recording)
    assert is_tone(decode(utterance.audio, 30.0).samples[1_000:16_000])
    wire.answer()
    (result,) = wire.results("phone")
    assert result["outcome"] == "transcript"


def test_a_wav_file_in_each_chunk_is_one_utterance() -> None:
    wire = Wire()
    sound = s16(tone())
    for start in range(0, len(sound), 1_024):
        wire.send("stt/kitchen/audio", wav_bytes(sound[start : start + 1_024], 16_000))
    wire.send("stt/kitchen/audio/stop")
    (utterance,) = wire.pool.utterances
    assert utterance.audio == EncodedAudio(AudioFormat(), sound)
    assert utterance.seconds == 1.0


def test_magic_bytes_win_over_the_content_type_of_a_whole_utterance() -> None:
    wire = Wire()
    wire.send("stt/kitchen/utterance", b"fLaC" + bytes(100), content_type="audio/mpeg")
    (utterance,) = wire.pool.utterances
    assert utterance.audio.format is not None
    assert utterance.audio.format.codec == "flac"
    wire.send("stt/bath/utterance", bytes(100), content_type="audio/unheard-of")
    assert wire.results("bath")[0]["error"]["code"] == "unsupported_format"


@pytest.mark.parametrize("start", [b'{"codec":"speex"}', b"{"])
def test_a_refusal_is_sent_where_the_answer_was_asked_for_too(start: bytes) -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", start, response_topic="stt/kitchen/reply/1")
    assert wire.on("stt/kitchen/reply/1") == wire.on("stt/kitchen/result")
    assert len(wire.results()) == 1


def test_what_the_model_gives_is_told_also_without_words() -> None:
    wire = Wire()
    wire.send("stt/kitchen/utterance", bytes(3200))
    wordless = Transcript("", "en", confidence=0.4, no_speech_prob=0.7)
    wire.pool.answer(wire.service, replace(heard(), transcript=wordless))
    (result,) = wire.results()
    assert (result["outcome"], result["text"], result["model"]) == ("no_speech", "", "tiny.en")
    assert (result["no_speech_prob"], result["confidence"]) == (0.7, 0.4)
    assert wire.on("stt/kitchen/text") == []


def test_json_as_the_content_type_of_a_start_names_no_format() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio/start", b"{}", content_type="application/json")
    assert wire.results() == []


def test_a_sequence_number_may_come_as_a_user_property() -> None:
    wire = Wire()
    wire.send("stt/kitchen/audio", b"bb", user=(("other", "x"), ("seq", "1")))
    wire.send("stt/kitchen/audio", b"aa", user=(("seq", "0"),))
    wire.send("stt/kitchen/audio", b"xx", user=(("seq", "minus one"),))
    wire.send("stt/kitchen/audio/stop")
    (utterance,) = wire.pool.utterances
    assert utterance.audio.data == b"aabb"
    assert wire.service.metrics.dropped["bad_sequence"] == 1


def test_what_the_inbox_had_to_drop_is_answered() -> None:
    wire = Wire()
    wire.door.subscriptions.dropped("stt/kitchen/utterance", OverloadedError("full"))
    (result,) = wire.results()
    assert (result["error"]["code"], result["end"]) == ("overloaded", "single")


@pytest.mark.parametrize("dropped", ["shed", "too large"])
def test_a_start_that_could_not_be_taken_ends_the_open_utterance(dropped: str) -> None:
    wire = Wire(mqtt={"max_payload_kib": 16})
    wire.send("stt/kitchen/audio/start", b'{"id":"open"}')
    wire.send("stt/kitchen/audio", bytes(320))
    if dropped == "shed":
        wire.door.subscriptions.dropped("stt/kitchen/audio/start", OverloadedError("full"))
    else:
        wire.send("stt/kitchen/audio/start", bytes(17 * 1024))
    wire.send("stt/kitchen/audio", bytes(320))
    (utterance,) = wire.pool.utterances
    assert (utterance.id, len(utterance.audio.data)) == ("open", 320)
    assert not any(device.listening for device in wire.service.registry)


def test_a_device_that_leaves_has_its_retained_topics_cleared() -> None:
    wire = Wire(limits={"max_devices": 1})
    wire.send("stt/kitchen/utterance", bytes(3200))
    wire.answer()
    wire.send("stt/bedroom/audio", bytes(320))
    assert wire.on("stt/kitchen/state")[-1] == b""
    assert wire.on("stt/kitchen/settings")[-1] == b""


def test_configured_devices_are_known_before_they_speak() -> None:
    wire = Wire(devices={"bath": {"enabled": False}, "bed*": {}})
    wire.door.devices.register_configured()
    assert wire.on("stt/bath/state") == [b"idle"]
    assert json.loads(wire.on("stt/bath/settings")[0])["enabled"] is False
    assert [device.key.name for device in wire.service.registry] == ["bath"]


def test_the_services_own_output_is_not_taken_for_input() -> None:
    wire = Wire()
    wire.send("stt/kitchen/state", b"idle", retain=True)
    wire.send("stt/kitchen/settings", b"{}", retain=True)
    assert wire.published == []
    assert len(wire.service.registry) == 0


def test_a_hint_is_a_sentence_of_the_result_and_is_counted() -> None:
    wire = Wire()
    for verdict in (heard(), replace(nothing_heard(), hint=Hint.BYTE_ORDER)):
        wire.send("stt/kitchen/utterance", bytes(3200))
        wire.pool.answer(wire.service, verdict)
    hints = [json.loads(payload)["hint"] for payload in wire.on("stt/kitchen/result")]
    assert hints == [None, Hint.BYTE_ORDER.sentence]
    wire.bridge.publish_health()
    assert json.loads(wire.on("stt/bridge/health")[0])["counters"]["hints"] == {"byte_order": 1}


def test_an_error_that_comes_of_a_wrong_format_has_the_hint_twice() -> None:
    wire = Wire()
    error = TooLongError("the audio is longer than 30 s")
    error.hint = Hint.FLOAT_AS_S16
    wire.send("stt/kitchen/utterance", bytes(3200))
    wire.pool.answer(wire.service, error)
    result = json.loads(wire.on("stt/kitchen/result")[0])
    assert result["hint"] == Hint.FLOAT_AS_S16.sentence
    assert result["error"]["detail"].endswith(result["hint"])


verbs = st.sampled_from([verb.value for verb in Verb] + ["audio/x", "result", ""])
payloads = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([
        b"{}", b"online", b"offline", b'{"id":"a"}', b'{"id":5}', b'{"codec":"opus"}',
        b'{"framing":"seq32"}', b'{"enabled":false}', b'{"enabled":null}', b'{"chunks":3}',
        b'{"codec":"adpcm_ima","rate":8000}', b'{"rate":1e9}', b"RIFF\0\0\0\0WAVE", bytes(3200),
    ]),
)  # fmt: skip
content_types = st.none() | st.text(max_size=30) | st.just("opus;rate=48000")
users = st.lists(st.tuples(st.just("seq"), st.text(max_size=6) | st.just("1")), max_size=1)


@settings(max_examples=examples(70), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["kitchen", "bath", "a b", "bridge"]),
            verbs, payloads, st.booleans(), content_types, users,
        ),
        max_size=25,
    )
)  # fmt: skip
def test_no_message_of_one_device_breaks_the_service_for_another(
    messages: list[tuple[str, str, bytes, bool, str | None, list[tuple[str, str]]]],
) -> None:
    wire = Wire()
    for device, verb, payload, retain, content_type, user in messages:
        wire.send(
            f"stt/{device}/{verb}",
            payload,
            retain=retain,
            content_type=content_type,
            response_topic="stt/kitchen/reply/1" if retain else None,
            user=tuple(user),
        )
    wire.send("stt/quiet/audio/start", b'{"id":"mine"}')
    wire.send("stt/quiet/audio", bytes(3200))
    wire.send("stt/quiet/audio/stop")
    while wire.pool.submitted:
        wire.answer("Mine.")
    (mine,) = wire.results("quiet")
    assert (mine["id"], mine["text"]) == ("mine", "Mine.")
    for item in wire.published:
        if item.topic.endswith("/result"):
            result = json.loads(item.payload)
            assert list(result) == RESULT_KEYS
            assert result["error"] is None or result["error"]["code"] in CODES
