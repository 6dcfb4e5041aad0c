"""The Hermes door on the real speech service, with a fake clock and fake inference threads."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from typing import Any
from wave import open as open_wave

import pytest

from stt_mqtt.config import Config
from stt_mqtt.core.listening import COMPLETE_S, OPEN_S
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.service import SpeechService
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.doors.hermes.door import DOOR, MAX_SESSIONS_OF_SITE, HermesDoor
from stt_mqtt.doors.hermes.sessions import MAX_TOGGLED_SITES
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.types import (
    Codec,
    Completion,
    DeviceKey,
    EndReason,
    Transcript,
    UtteranceStart,
    Verdict,
)
from tests.audio.synth import s16, tone
from tests.core.speech import BYTES_PER_S, WORDS, found, quiet
from tests.doors.hermes.frames import BROKEN, FRAME_BYTES, FRAMINGS, at_rate, classic
from tests.doors.shares import Share
from tests.fakes import (
    ONE_THREAD,
    FakeClock,
    FakePool,
    RecordingOutlet,
    engine_facts,
    heard,
    nothing_heard,
)

TEXT = "hermes/asr/textCaptured"
ERROR = "hermes/error/asr"
FINISHED = "rhasspy/asr/recordingFinished"
TEXT_KEYS = {
    "text", "likelihood", "seconds", "siteId", "sessionId", "wakewordId", "asrTokens", "lang",
}  # fmt: skip
FRAME_S = FRAME_BYTES / 32_000


class Wire:
    """Sends messages to the door and keeps what is published."""

    def __init__(self, share: Ownership = EVERYTHING, **config: Any) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.glimpsed: Verdict = nothing_heard()
        """What the model finds in a session that is still open."""
        self.published: list[Publication] = []
        self.service = SpeechService(Config.model_validate(config), engine_facts(), self.clock)
        self.service.attach_pool(self.pool, ONE_THREAD)
        self.service.attach("native", RecordingOutlet())
        self.door = HermesDoor(self.service, self.clock, self.published.append, share)

    def send(self, topic: str, payload: bytes = b"", retain: bool = False) -> None:
        self.door.handle(Inbound(topic, payload, retain=retain))

    def ask(self, request: str, **fields: Any) -> None:
        self.send(f"hermes/asr/{request}", json.dumps(fields).encode())

    def start(self, site: str = "kitchen", session: str | None = "s", **fields: Any) -> None:
        self.ask("startListening", siteId=site, sessionId=session, **fields)

    def frame(self, wav: bytes, site: str = "kitchen") -> None:
        self.send(f"hermes/audioServer/{site}/audioFrame", wav)

    def session_frame(self, wav: bytes, site: str = "kitchen", session: str = "s") -> None:
        self.send(f"hermes/audioServer/{site}/{session}/audioSessionFrame", wav)

    def speak(self, pcm: bytes, site: str = "kitchen") -> None:
        """Send audio as a satellite does, while the time goes on."""
        for at in range(0, len(pcm), FRAME_BYTES):
            self.frame(classic(pcm[at : at + FRAME_BYTES]), site)
            self.pass_time(FRAME_S)

    def stop(self, site: str = "kitchen", session: str | None = "s") -> None:
        self.ask("stopListening", siteId=site, sessionId=session)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.service.tick()
        self.door.tick()
        while self.pool.submitted and self.pool.utterances[0].end is None:
            self.pool.answer(self.service, self.glimpsed)

    def answer(self, text: str = "Turn on the light.") -> None:
        self.pool.answer(self.service, heard(text) if text else nothing_heard())

    @property
    def topics(self) -> list[str]:
        return [item.topic for item in self.published]

    def on(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(item.payload) for item in self.published if item.topic == topic]

    @property
    def texts(self) -> list[dict[str, Any]]:
        return self.on(TEXT)

    @property
    def audio_of_utterances(self) -> list[bytes]:
        return [utterance.audio.data for utterance in self.pool.utterances]


def second(hz: float = 440.0) -> bytes:
    """A second of a tone as one frame."""
    return classic(s16(tone(hz)))


def test_frames_are_audio_and_nothing_is_read_before_the_input() -> None:
    topics = Wire().door.subscriptions
    assert topics.is_audio("hermes/audioServer/kitchen/audioFrame")
    assert topics.is_audio("hermes/audioServer/kitchen/s/audioSessionFrame")
    assert not topics.is_audio("hermes/asr/startListening")
    assert topics.retained is None


def test_a_session_from_its_start_to_its_text() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False, wakewordId="porcupine", sendAudioCaptured=True, lang="en-US")
    wire.frame(second())
    wire.frame(second(880))
    wire.stop()
    assert wire.topics == [FINISHED]
    assert wire.on(FINISHED) == [{"siteId": "kitchen", "sessionId": "s"}]
    (utterance,) = wire.pool.utterances
    assert utterance.audio.data == s16(tone(440)) + s16(tone(880))
    assert utterance.audio.format is not None
    assert (utterance.audio.format.codec, utterance.language) == (Codec.PCM_S16LE, "en-US")
    wire.answer()
    assert wire.topics == [FINISHED, TEXT, "rhasspy/asr/kitchen/s/audioCaptured"]
    assert wire.texts == [
        {
            "text": "Turn on the light.", "likelihood": 0.9, "seconds": 0.1, "siteId": "kitchen",
            "sessionId": "s", "wakewordId": "porcupine", "asrTokens": None, "lang": "en",
        }
    ]  # fmt: skip
    with open_wave(BytesIO(wire.published[-1].payload)) as audio:
        assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (16_000, 1, 2)
        assert audio.readframes(10**6) == s16(tone(440)) + s16(tone(880))
    assert {(item.qos, item.retain) for item in wire.published} == {(0, False)}
    assert all(item.expires_at == 1030.0 for item in wire.published)
    assert wire.service.budget.used_bytes == 0


def test_the_stop_of_the_dialogue_manager_after_the_text_emits_nothing() -> None:
    wire = Wire()
    wire.start()
    wire.frame(second())
    wire.stop()
    wire.answer()
    before = list(wire.published)
    wire.stop()
    wire.stop(session="never heard of")
    wire.stop(site="bath")
    assert wire.published == before


def test_a_stop_while_the_text_is_awaited_emits_nothing() -> None:
    wire = Wire()
    wire.start()
    wire.frame(second())
    wire.stop()
    wire.stop()
    wire.answer()
    assert wire.topics == [FINISHED, TEXT]


def test_silence_is_an_empty_text_with_likelihood_0() -> None:
    wire = Wire()
    wire.start(lang="en", session=None)
    wire.frame(second())
    wire.stop(session=None)
    wire.answer("")
    assert wire.topics == [FINISHED, TEXT]
    (text,) = wire.texts
    assert set(text) == TEXT_KEYS
    assert (text["text"], text["likelihood"], text["seconds"]) == ("", 0, 0)
    assert (text["sessionId"], text["wakewordId"], text["lang"]) == (None, None, "en")


def test_words_that_the_model_took_back_have_no_likelihood() -> None:
    wire = Wire()
    wire.start()
    wire.frame(second())
    wire.stop()
    wordless = Transcript("", "en", confidence=0.4, no_speech_prob=0.7)
    wire.pool.answer(wire.service, replace(heard(), transcript=wordless))
    (text,) = wire.texts
    assert (text["text"], text["likelihood"], text["seconds"]) == ("", 0, 0.1)


def test_a_failure_is_an_error_and_an_empty_text() -> None:
    wire = Wire()
    wire.start(sendAudioCaptured=True)
    wire.frame(second())
    wire.stop()
    wire.pool.answer(wire.service, InferenceFailedError("the model is broken"))
    assert wire.topics == [FINISHED, ERROR, TEXT, "rhasspy/asr/kitchen/s/audioCaptured"]
    assert wire.on(ERROR) == [
        {
            "error": "the model is broken", "context": "inference_failed",
            "siteId": "kitchen", "sessionId": "s",
        }
    ]  # fmt: skip
    assert wire.texts[0]["text"] == ""


@pytest.mark.parametrize("session", [None, ""])
def test_a_session_without_an_id_is_one_of_its_site(session: str | None) -> None:
    wire = Wire()
    wire.start(session=session, sendAudioCaptured=True)
    wire.ask("startListening", siteId="bath")
    wire.frame(second())
    wire.session_frame(second(), session="")
    wire.ask("stopListening", siteId="kitchen")
    wire.answer()
    assert wire.topics == [FINISHED, TEXT, "rhasspy/asr/kitchen/None/audioCaptured"]
    assert wire.texts[0]["sessionId"] is None


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_is_heard(framing: Any) -> None:
    wire = Wire()
    wire.start()
    sound = s16(tone())
    for at in range(0, len(sound), FRAME_BYTES):
        wire.frame(framing(sound[at : at + FRAME_BYTES]))
    wire.stop()
    assert wire.audio_of_utterances == [sound]


def test_frames_of_any_rate_become_16_khz() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False)
    for start in range(0, 48_000, 480):
        wire.frame(at_rate(tone(rate=48_000)[start : start + 480], 48_000, channels=2))
    wire.stop()
    (audio,) = wire.audio_of_utterances
    assert len(audio) == pytest.approx(32_000, abs=200)


def test_broken_frames_are_counted_and_left_out() -> None:
    wire = Wire()
    wire.start()
    for data in BROKEN.values():
        wire.frame(data)
    wire.frame(second())
    wire.stop()
    assert wire.audio_of_utterances == [s16(tone())]
    assert wire.service.metrics.dropped["bad_frame"] == len(BROKEN)


def test_a_frame_of_the_site_goes_to_all_its_sessions_and_one_of_a_session_to_that() -> None:
    wire = Wire()
    wire.start(session="a", stopOnSilence=False)
    wire.start(session="b", stopOnSilence=False)
    wire.start("bath", session="a", stopOnSilence=False)
    wire.frame(second(440))
    wire.session_frame(second(880), session="b")
    wire.session_frame(second(660), session="c")
    wire.stop(session="a")
    wire.stop(session="b")
    assert wire.service.budget.used_bytes == 3 * 32_000
    wire.answer("a")
    wire.answer("b")
    assert [(text["sessionId"], text["text"]) for text in wire.texts] == [("a", "a"), ("b", "b")]


def test_frames_of_a_site_without_a_session_reach_nobody() -> None:
    wire = Wire()
    wire.start("bath")
    wire.frame(second())
    wire.session_frame(second())
    wire.frame(b"not even a frame")
    assert wire.service.budget.used_bytes == 0
    assert not wire.service.metrics.dropped
    assert [device.key.name for device in wire.service.registry] == ["bath"]


def test_a_start_of_an_open_session_ends_the_old_one_whose_half_is_not_told() -> None:
    wire = Wire()
    wire.start(wakewordId="first", stopOnSilence=False)
    wire.frame(second(440))
    wire.start(wakewordId="second", stopOnSilence=False)
    assert wire.topics == [FINISHED]
    wire.frame(second(880))
    wire.stop()
    wire.answer("one")
    wire.answer("two")
    assert wire.topics == [FINISHED, FINISHED, TEXT, TEXT]
    assert [(text["wakewordId"], text["text"]) for text in wire.texts] == [
        ("first", ""), ("second", "two"),
    ]  # fmt: skip
    assert wire.texts[0]["likelihood"] == 0
    assert len(wire.service.registry) == 0


def test_the_old_session_ends_also_when_the_new_start_is_refused() -> None:
    wire = Wire()
    wire.start(wakewordId="first", stopOnSilence=False)
    wire.frame(second(440))
    wire.start(wakewordId="second", lang="de")
    assert wire.topics == [FINISHED, FINISHED, ERROR, TEXT]
    wire.answer("one")
    assert [(text["wakewordId"], text["text"], text["lang"]) for text in wire.texts] == [
        ("second", "", "de"), ("first", "", "en"),
    ]  # fmt: skip
    assert wire.on(ERROR)[0]["context"] == "unsupported_language"


def test_a_session_is_continued_under_its_id_while_its_first_text_is_awaited() -> None:
    wire = Wire()
    wire.start(wakewordId="first", stopOnSilence=False)
    wire.frame(second())
    wire.stop()
    wire.start(wakewordId="second", stopOnSilence=False)
    wire.frame(second())
    wire.answer("one")
    wire.stop()
    wire.answer("two")
    assert [text["text"] for text in wire.texts] == ["one", "two"]
    assert len(wire.service.registry) == 0


def test_a_stop_without_a_site_finds_its_session_on_any_site() -> None:
    wire = Wire()
    wire.start("kitchen", "a")
    wire.start("bath", "b")
    wire.frame(second(), "bath")
    wire.ask("stopListening", sessionId="b")
    assert wire.on(FINISHED) == [{"siteId": "bath", "sessionId": "b"}]
    wire.ask("stopListening", sessionId="")
    wire.ask("stopListening", siteId="bath", sessionId="a")
    assert len(wire.published) == 1


# The end of speech ----------------------------------------------------------------------------


WORDS_S = len(WORDS) / BYTES_PER_S
LAST_SOUND_S = 2.73
"""Where the last word of the first sample ends."""


def command(lead_s: float = 0.5, tail_s: float = 3.0) -> bytes:
    """A spoken command with silence around it."""
    return bytes(int(lead_s * 16_000) * 2) + SAMPLES[0].pcm() + bytes(int(tail_s * 16_000) * 2)


def test_a_pause_after_speech_ends_a_session() -> None:
    wire = Wire()
    wire.start()
    wire.speak(command())
    (utterance,) = wire.pool.utterances
    assert utterance.end is EndReason.ENDPOINT
    assert utterance.seconds == pytest.approx(0.5 + LAST_SOUND_S + 0.8, abs=0.15)
    wire.answer()
    assert wire.topics == [FINISHED, TEXT]


def test_the_pause_is_the_gap_timeout_of_the_site() -> None:
    lengths = []
    for gap_timeout_ms in (500, 2000):
        wire = Wire(devices={"kitchen": {"gap_timeout_ms": gap_timeout_ms}})
        wire.start()
        wire.speak(command())
        lengths += [utterance.seconds for utterance in wire.pool.utterances]
    assert lengths[1] - lengths[0] == pytest.approx(1.5, abs=0.05)


def test_a_session_in_which_nobody_speaks_ends_after_8_s() -> None:
    wire = Wire()
    wire.start()
    wire.speak(bytes(9 * 32_000))
    (utterance,) = wire.pool.utterances
    assert utterance.seconds == pytest.approx(8.0, abs=0.1)
    wire.answer("")
    assert [text["text"] for text in wire.texts] == [""]


def session_of(pcm: bytes, completion: Completion, endpointing: str = "phrases") -> Wire:
    """A session with stopOnSilence in which the model finds so much of a phrase."""
    wire = Wire(device_defaults={"endpointing": endpointing})
    wire.glimpsed = found(completion)
    wire.start()
    wire.speak(pcm)
    return wire


def test_a_complete_phrase_ends_a_session_soon() -> None:
    wire = session_of(WORDS + quiet(0.4), Completion.COMPLETE)
    (utterance,) = wire.pool.utterances
    assert utterance.end is EndReason.ENDPOINT
    assert utterance.seconds == pytest.approx(WORDS_S + COMPLETE_S, abs=0.15)
    assert wire.topics == [FINISHED]
    wire.speak(WORDS)
    wire.stop()
    wire.answer()
    assert wire.topics == [FINISHED, TEXT]


def test_the_beginning_of_a_phrase_keeps_a_session_open_for_longer_but_not_for_ever() -> None:
    wire = session_of(WORDS + quiet(1.3), Completion.OPEN)
    assert wire.pool.submitted == []
    wire.speak(quiet(0.4))
    (utterance,) = wire.pool.utterances
    assert utterance.seconds == pytest.approx(WORDS_S + OPEN_S, abs=0.15)


@pytest.mark.parametrize("completion", [Completion.NONE, Completion.EXTENDABLE])
def test_what_is_no_complete_phrase_ends_a_session_by_the_usual_pause(
    completion: Completion,
) -> None:
    wire = session_of(WORDS + quiet(1.0), completion)
    (utterance,) = wire.pool.utterances
    assert utterance.seconds == pytest.approx(WORDS_S + 0.8, abs=0.15)


@pytest.mark.parametrize("completion", list(Completion))
def test_with_endpointing_by_silence_the_words_do_not_matter(completion: Completion) -> None:
    wire = session_of(WORDS + quiet(0.6), completion, endpointing="silence")
    assert wire.pool.submitted == []
    wire.speak(quiet(0.4))
    (utterance,) = wire.pool.utterances
    assert utterance.seconds == pytest.approx(WORDS_S + 0.8, abs=0.15)


def test_without_stop_on_silence_not_even_a_complete_phrase_ends_a_session() -> None:
    wire = Wire()
    wire.glimpsed = found(Completion.COMPLETE)
    wire.start(stopOnSilence=False)
    wire.speak(WORDS + quiet(3.0))
    wire.pass_time(3.0)
    assert wire.published == []
    assert wire.service.metrics.glimpses == 1


def test_without_stop_on_silence_neither_a_pause_nor_a_vad_down_ends_a_session() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False)
    wire.speak(command())
    wire.send("hermes/voiceActivity/kitchen/vadUp", b"{}")
    wire.send("hermes/voiceActivity/kitchen/vadDown", b"{}")
    assert wire.published == []
    wire.stop()
    (utterance,) = wire.pool.utterances
    assert utterance.audio.data == command()


def test_a_whole_command_in_one_frame() -> None:
    wire = Wire()
    wire.start()
    wire.frame(classic(command(tail_s=0.0)))
    wire.stop()
    assert wire.audio_of_utterances == [command(tail_s=0.0)]


def test_a_frame_that_holds_command_and_pause_ends_the_session_with_all_that_is_in_it() -> None:
    wire = Wire()
    wire.start()
    wire.frame(classic(command()))
    assert wire.audio_of_utterances == [command()]
    assert wire.topics == [FINISHED]


def test_a_frame_longer_than_the_cap_is_capped() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False, sendAudioCaptured=True)
    wire.frame(classic(s16(tone(seconds=30.0))))
    (utterance,) = wire.pool.utterances
    assert (utterance.seconds, utterance.end) == (20.0, EndReason.CAP)
    assert wire.topics == [FINISHED]
    wire.frame(second())
    wire.stop()
    wire.answer()
    assert wire.topics == [FINISHED, TEXT, "rhasspy/asr/kitchen/s/audioCaptured"]
    assert len(wire.published[-1].payload) == 44 + 20 * 32_000


def test_a_session_that_nobody_ends_is_capped_after_20_s_also_without_a_frame() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False)
    wire.frame(second())
    wire.start("bath")
    wire.pass_time(19.9)
    assert wire.published == []
    wire.pass_time(0.2)
    assert wire.topics == [FINISHED, ERROR, TEXT, FINISHED]
    assert (wire.texts[0]["siteId"], wire.on(ERROR)[0]["context"]) == ("bath", "too_short")
    wire.frame(second())
    wire.answer()
    assert wire.topics == [FINISHED, ERROR, TEXT, FINISHED, TEXT]


def test_a_vad_down_ends_a_session_that_has_heard_something() -> None:
    wire = Wire()
    wire.start()
    wire.start("bath")
    wire.frame(classic(s16(tone(seconds=0.3))))
    wire.send("hermes/voiceActivity/kitchen/vadDown", b"anything")
    assert wire.on(FINISHED) == [{"siteId": "kitchen", "sessionId": "s"}]


def test_a_vad_down_right_after_the_start_belongs_to_the_wake_word() -> None:
    wire = Wire()
    wire.start()
    wire.frame(classic(s16(tone(seconds=0.25))))
    wire.send("hermes/voiceActivity/kitchen/vadDown")
    assert wire.published == []
    wire.send("hermes/voiceActivity/bath/vadUp")
    wire.send("hermes/voiceActivity/kitchen/vadDown")
    assert wire.published == []
    wire.send("hermes/voiceActivity/kitchen/vadUp")
    wire.send("hermes/voiceActivity/kitchen/vadDown")
    assert wire.topics == [FINISHED]


# Toggles --------------------------------------------------------------------------------------


def test_a_site_that_is_off_drops_frames_and_keeps_its_sessions() -> None:
    wire = Wire()
    for site in ("kitchen", "bath"):
        wire.start(site, stopOnSilence=False)
    wire.frame(second(440))
    wire.ask("toggleOff", siteId="kitchen", reason="ttsSay")
    wire.frame(second(660))
    wire.frame(b"not even a frame")
    wire.frame(second(660), "bath")
    wire.ask("toggleOn", siteId="kitchen", reason="ttsSay")
    wire.frame(second(880))
    wire.stop()
    wire.answer()
    wire.stop("bath")
    assert wire.audio_of_utterances == [s16(tone(660))]
    assert not wire.service.metrics.dropped
    assert len(wire.texts) == 1


def test_an_empty_toggle_is_for_all_sites_and_one_without_a_site_for_the_default() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False)
    wire.start("default", stopOnSilence=False)
    wire.send("hermes/asr/toggleOff")
    wire.frame(second())
    wire.frame(second(), "default")
    assert wire.service.budget.used_bytes == 0
    wire.ask("toggleOn", reason="")
    wire.frame(second())
    assert wire.service.budget.used_bytes == 0
    wire.frame(second(), "default")
    wire.send("hermes/asr/toggleOn")
    wire.frame(second())
    assert wire.service.budget.used_bytes == 2 * 32_000


def test_a_toggle_that_cannot_be_remembered_is_an_error() -> None:
    wire = Wire()
    for number in range(MAX_TOGGLED_SITES + 1):
        wire.ask("toggleOff", siteId=f"site {number}")
    (error,) = wire.on(ERROR)
    assert (error["context"], error["siteId"]) == ("overloaded", f"site {MAX_TOGGLED_SITES}")


# Limits ---------------------------------------------------------------------------------------


def test_a_session_is_answered_within_25_s_of_its_start_and_what_comes_later_is_ignored() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False, sendAudioCaptured=True)
    assert wire.door.deadline == 1024.5
    wire.frame(second())
    wire.pass_time(3.0)
    wire.stop()
    wire.pass_time(21.0)
    assert wire.topics == [FINISHED]
    wire.pass_time(0.5)
    assert wire.topics == [FINISHED, ERROR, TEXT, "rhasspy/asr/kitchen/s/audioCaptured"]
    assert wire.on(ERROR)[0]["context"] == "inference_timeout"
    assert wire.texts[0]["text"] == ""
    assert wire.door.deadline is None
    wire.answer("too late")
    assert len(wire.published) == 4
    assert len(wire.service.registry) == 0
    assert wire.service.budget.used_bytes == 0


def test_what_waits_for_the_model_is_taken_back_when_its_time_is_up() -> None:
    wire = Wire(limits={"max_queue_age_s": 60})
    for site in ("kitchen", "bath"):
        wire.start(site, stopOnSilence=False)
        wire.frame(second(), site)
        wire.stop(site)
    wire.pass_time(25.0)
    assert len(wire.texts) == 2
    assert wire.service.scheduler.queue.jobs == 0
    wire.answer("too late")
    assert wire.pool.submitted == []
    assert len(wire.texts) == 2


def test_the_time_of_an_old_session_does_not_end_the_new_one_under_its_id() -> None:
    wire = Wire(limits={"max_queue_age_s": 60})
    wire.start(wakewordId="first", stopOnSilence=False)
    wire.frame(second())
    wire.pass_time(15.0)
    wire.start(wakewordId="second", stopOnSilence=False)
    wire.frame(second())
    wire.pass_time(10.0)
    assert [text["wakewordId"] for text in wire.texts] == ["first"]
    wire.frame(second())
    wire.stop()
    wire.answer("one, too late")
    wire.answer("two")
    assert [text["text"] for text in wire.texts] == ["", "two"]
    assert len(wire.service.registry) == 0


def test_a_session_that_finds_all_places_for_devices_taken_is_answered_too() -> None:
    wire = Wire(limits={"max_devices": 2})
    for room in ("hall", "loft"):
        wire.service.start(DeviceKey("hermes", room), UtteranceStart())
    wire.start()
    assert wire.topics == [FINISHED, ERROR, TEXT]
    assert wire.on(ERROR)[0]["context"] == "too_many_devices"
    assert len(wire.service.registry) == 2


def test_the_sessions_of_a_site_are_bounded_but_an_open_one_may_be_started_again() -> None:
    wire = Wire()
    for number in range(MAX_SESSIONS_OF_SITE + 1):
        wire.start(session=f"s{number}")
    assert wire.topics == [FINISHED, ERROR, TEXT]
    assert wire.on(ERROR)[0]["context"] == "overloaded"
    wire.frame(second())
    wire.start(session="s0")
    assert wire.topics == [FINISHED, ERROR, TEXT, FINISHED]
    wire.start("bath")
    assert len(wire.on(ERROR)) == 1


def test_when_too_many_sessions_are_open_the_oldest_without_a_sound_gives_way() -> None:
    wire = Wire(limits={"max_devices": 6})
    for site in ("kitchen", "bath", "attic"):
        wire.start(site, session=site)
    wire.frame(second(), "kitchen")
    wire.start("cellar", session="cellar")
    assert [text["sessionId"] for text in wire.on(TEXT)] == ["bath"]
    assert wire.on(ERROR)[0]["context"] == "overloaded"
    assert len(wire.service.registry) == 3


def test_a_session_that_heard_nothing_for_a_while_gives_way_too() -> None:
    wire = Wire(limits={"max_devices": 6})
    for site in ("kitchen", "bath", "attic"):
        wire.start(site, session=site, stopOnSilence=False)
        wire.frame(second(), site)
    wire.clock.advance(1)
    wire.frame(second(), "kitchen")
    wire.start("cellar", session="cellar")
    assert [text["sessionId"] for text in wire.on(TEXT)] == ["bath"]


def test_when_somebody_speaks_in_all_sessions_there_is_no_place_for_another() -> None:
    wire = Wire(limits={"max_devices": 6})
    for site in ("kitchen", "bath", "attic"):
        wire.start(site, session=site)
        wire.frame(second(), site)
    wire.start("cellar", session="cellar")
    assert [text["sessionId"] for text in wire.on(TEXT)] == ["cellar"]
    assert len(wire.service.registry) == 3


def test_a_site_that_the_configuration_disables_gets_an_empty_text() -> None:
    wire = Wire(devices={"kitchen": {"enabled": False}})
    wire.start(sendAudioCaptured=True)
    wire.frame(second())
    assert wire.topics == [FINISHED, ERROR, TEXT, "rhasspy/asr/kitchen/s/audioCaptured"]
    assert wire.on(ERROR)[0]["context"] == "disabled"
    assert len(wire.published[-1].payload) == 44
    assert len(wire.service.registry) == 0


def test_a_site_that_is_disabled_while_somebody_speaks_gets_an_empty_text() -> None:
    wire = Wire()
    wire.start()
    wire.frame(second())
    wire.service.reconfigure(Config.model_validate({"devices": {"kitchen": {"enabled": False}}}))
    wire.frame(second())
    assert wire.topics == [FINISHED, TEXT]


def test_captured_audio_counts_against_the_memory_of_all_devices() -> None:
    wire = Wire(limits={"max_buffered_mib": 1})
    wire.start(stopOnSilence=False, sendAudioCaptured=True)
    for _ in range(17):
        wire.frame(second())
    assert wire.service.budget.used_bytes <= 1024 * 1024
    assert wire.topics[-2:] == [TEXT, "rhasspy/asr/kitchen/s/audioCaptured"]
    assert wire.on(ERROR)[0]["context"] == "overloaded"
    assert wire.service.budget.used_bytes == 0


def test_when_the_service_stops_open_sessions_are_answered() -> None:
    wire = Wire()
    wire.start()
    wire.frame(second())
    wire.service.shut_down()
    assert wire.topics == [FINISHED]
    wire.start("bath")
    assert wire.on(ERROR)[0]["context"] == "shutting_down"
    wire.service.abandon()
    assert [text["siteId"] for text in wire.texts] == ["bath", "kitchen"]


@pytest.mark.parametrize(
    ("request_name", "payload", "site", "session"),
    [
        ("startListening", b"{", "default", None),
        ("startListening", b"", "default", None),
        ("startListening", b'{"siteId":"a/b","sessionId":"s"}', "default", "s"),
        ("startListening", b'{"siteId":"kitchen","sessionId":"#"}', "kitchen", None),
        ("stopListening", b'{"siteId":"kitchen","sessionId":5}', "kitchen", None),
        ("toggleOff", b'{"siteId":"kitchen","reason":5}', "kitchen", None),
        ("toggleOn", b"[]", "default", None),
        ("startListening", b'{"x":"' + bytes(20_000) + b'"}', "default", None),
    ],
)
def test_a_request_that_cannot_be_read_is_an_error_and_counted(
    request_name: str, payload: bytes, site: str, session: str | None
) -> None:
    wire = Wire()
    wire.send(f"hermes/asr/{request_name}", payload)
    assert wire.topics == [ERROR]
    (error,) = wire.on(ERROR)
    assert set(error) == {"error", "context", "siteId", "sessionId"}
    assert (error["context"], error["siteId"], error["sessionId"]) == ("bad_payload", site, session)
    assert wire.service.metrics.dropped == {"bad_payload": 1}
    assert len(wire.service.registry) == 0


def test_retained_input_is_ignored_and_counted() -> None:
    wire = Wire()
    wire.send("hermes/asr/startListening", b"{}", retain=True)
    wire.send("hermes/asr/toggleOff", b"", retain=True)
    wire.start(stopOnSilence=False)
    wire.send("hermes/audioServer/kitchen/audioFrame", second(), retain=True)
    wire.frame(second())
    wire.stop()
    assert wire.audio_of_utterances == [s16(tone())]
    assert wire.service.metrics.dropped == {"retained": 3}


def test_a_payload_over_the_limit_is_dropped_and_counted() -> None:
    wire = Wire(mqtt={"max_payload_kib": 16})
    wire.start()
    wire.frame(second())
    wire.frame(classic(s16(tone(seconds=0.4))))
    wire.send("hermes/asr/stopListening", bytes(17 * 1024))
    wire.stop()
    assert wire.audio_of_utterances == [s16(tone(seconds=0.4))]
    assert wire.service.metrics.dropped == {"payload_too_large": 2}


def test_a_topic_that_names_nobody_is_counted() -> None:
    wire = Wire()
    wire.frame(second(), "a\0b")
    assert wire.service.metrics.dropped == {"bad_topic": 1}


def test_the_broker_coming_back_changes_nothing() -> None:
    wire = Wire()
    wire.start(stopOnSilence=False)
    wire.door.on_connected()
    wire.frame(second())
    wire.stop()
    wire.answer()
    assert wire.topics == [FINISHED, TEXT]


def test_sessions_are_devices_of_their_own_under_the_name_of_their_site() -> None:
    wire = Wire()
    wire.start(session="a")
    wire.start(session="b")
    keys = [DeviceKey(DOOR, "kitchen", "a"), DeviceKey(DOOR, "kitchen", "b")]
    assert [device.key for device in wire.service.registry] == keys


PARTIAL = "hermes/asr/partialTextCaptured"


def test_a_site_with_partials_is_told_the_text_so_far_until_the_recording_is_finished() -> None:
    wire = Wire(devices={"kitchen": {"partials": True}})
    wire.glimpsed = heard("Turn on the kitchen")
    wire.start(wakewordId="jarvis")
    wire.speak(WORDS + WORDS)
    first, *_, last = wire.on(PARTIAL)
    assert first == {
        "text": "Turn on the kitchen",
        "likelihood": 0.9,
        "seconds": 0.08,
        "siteId": "kitchen",
        "sessionId": "s",
        "wakewordId": "jarvis",
        "asrTokens": None,
        "lang": "en",
        "revision": 1,
        "stable": 0,
    }
    assert (last["revision"], last["stable"]) == (2, len("Turn on"))
    wire.stop()
    wire.answer()
    assert wire.topics.index(TEXT) > wire.topics.index(FINISHED)
    assert PARTIAL not in wire.topics[wire.topics.index(FINISHED) :]


def test_a_site_without_partials_is_told_only_the_text() -> None:
    wire = Wire()
    wire.glimpsed = heard("Turn on the kitchen")
    wire.start()
    wire.speak(WORDS + WORDS)
    assert wire.on(PARTIAL) == []
    assert wire.service.metrics.drafts == 0


def test_a_session_belongs_to_the_gateway_that_owns_its_site() -> None:
    wire = Wire(Share({"kitchen"}))
    for site in ("kitchen", "bath"):
        wire.start(site)
        wire.frame(second(), site)
        wire.stop(site)
    wire.answer()
    assert [text["siteId"] for text in wire.texts] == ["kitchen"]
    assert not wire.pool.submitted


def test_an_open_session_ends_at_the_gateway_that_began_it() -> None:
    share = Share({"kitchen"})
    wire = Wire(share)
    wire.start()
    share.names.clear()
    wire.frame(second())
    wire.stop()
    wire.answer()
    assert len(wire.texts) == 1


def test_a_session_that_begins_afresh_at_another_gateway_ends_here() -> None:
    share = Share({"kitchen"})
    wire = Wire(share)
    wire.start()
    wire.frame(second())
    share.names.clear()
    wire.start()
    wire.answer()
    assert len(wire.texts) == 1
    wire.stop()
    assert not wire.pool.submitted


def test_an_invalid_request_is_answered_by_the_owner_of_the_site() -> None:
    for names, errors in (({"kitchen"}, 1), ({"bath"}, 0)):
        wire = Wire(Share(names))
        wire.ask("startListening", siteId="kitchen", sessionId="#")
        assert len([item for item in wire.published if item.topic == ERROR]) == errors
