"""What a drop-in has to keep above all: exactly one textCaptured for every startListening."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stt_mqtt.config import Config
from stt_mqtt.core.scheduler import Capacity
from stt_mqtt.core.service import SpeechService
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.doors.hermes.door import HermesDoor
from stt_mqtt.errors import InferenceFailedError
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.types import Verdict
from tests.audio.synth import s16, tone
from tests.doors.hermes.frames import at_rate, classic, with_time
from tests.fakes import FakeClock, FakePool, engine_facts, heard, nothing_heard
from tests.thorough import examples

TEXT = "hermes/asr/textCaptured"
FINISHED = "rhasspy/asr/recordingFinished"
SITES = ["kitchen", "bath", "attic", "default", "off"]
SESSIONS = [None, "", "a", "b"]
CONFIG = {
    "limits": {
        "max_devices": 5,
        "max_queued": 3,
        "max_queued_audio_s": 60.0,
        "max_queue_age_s": 40.0,
        "max_buffered_mib": 2,
    },
    "devices": {
        "off": {"enabled": False},
        "bath": {"on_cap": "truncate"},
        "attic": {"on_cap": "reject", "gap_timeout_ms": 300},
    },
}
FRAMES = [
    classic(s16(tone(seconds=0.2))),
    with_time(bytes(3200)),
    at_rate(tone(seconds=0.5, rate=48_000), 48_000, 2),
    classic(SAMPLES[2].pcm() + bytes(32_000)),
    classic(bytes(8 * 32_000)),
    classic(bytes(21 * 32_000), 8_000, 2),
    b"junk",
]

sites = st.sampled_from(SITES)
sessions = st.sampled_from(SESSIONS)
verdicts = st.sampled_from([heard(), nothing_heard(), InferenceFailedError("broken")])


class TheDoor(RuleBasedStateMachine):
    """Random interleavings of what clients send, of answers and of time.

    The test gives every start its own wake word, which the text of the session must carry.
    """

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        self.published: list[Publication] = []
        self.service = SpeechService(Config.model_validate(CONFIG), engine_facts(), self.clock)
        self.service.attach_pool(self.pool, Capacity(workers=2, max_batch=2))
        self.door = HermesDoor(self.service, self.clock, self.published.append)
        self.started: dict[str, tuple[str, str | None, float]] = {}

    def ask(self, request: str, **fields: object) -> None:
        self.door.handle(Inbound(f"hermes/asr/{request}", json.dumps(fields).encode()))

    @rule(
        site=sites,
        session=sessions,
        stop_on_silence=st.booleans(),
        captured=st.booleans(),
        lang=st.sampled_from([None, "en", "de"]),
    )
    def start(
        self, site: str, session: str | None, stop_on_silence: bool, captured: bool, lang: str
    ) -> None:
        wakeword = f"start {len(self.started)}"
        self.started[wakeword] = (site, session or None, self.clock.now())
        self.ask(
            "startListening",
            siteId=site,
            sessionId=session,
            stopOnSilence=stop_on_silence,
            sendAudioCaptured=captured,
            lang=lang,
            wakewordId=wakeword,
        )

    @rule(site=st.none() | sites, session=sessions)
    def stop(self, site: str | None, session: str | None) -> None:
        self.ask("stopListening", siteId=site, sessionId=session)

    @rule(site=sites, session=st.sampled_from(SESSIONS), data=st.sampled_from(FRAMES))
    def frame(self, site: str, session: str | None, data: bytes) -> None:
        topic = f"hermes/audioServer/{site}/audioFrame"
        if session is not None:
            topic = f"hermes/audioServer/{site}/{session}/audioSessionFrame"
        self.door.handle(Inbound(topic, data))

    @rule(
        site=st.none() | sites,
        on=st.sampled_from(["toggleOn", "toggleOff"]),
        reason=st.sampled_from(["", "ttsSay", "playAudio"]),
    )
    def toggle(self, site: str | None, on: str, reason: str) -> None:
        if site is None:
            self.door.handle(Inbound(f"hermes/asr/{on}", b""))
        else:
            self.ask(on, siteId=site, reason=reason)

    @rule(site=sites, said=st.sampled_from(["vadUp", "vadDown"]))
    def voice_activity(self, site: str, said: str) -> None:
        self.door.handle(Inbound(f"hermes/voiceActivity/{site}/{said}", b"{}"))

    @rule(payload=st.sampled_from([b"", b"{", b'{"siteId":"a/b"}', b"5"]))
    def nonsense(self, payload: bytes) -> None:
        self.door.handle(Inbound("hermes/asr/startListening", payload))
        self.door.handle(Inbound("hermes/asr/startListening", payload, retain=True))

    @rule(seconds=st.sampled_from([0.02, 1.0, 6.0, 21.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.service.tick()
        self.door.tick()

    @precondition(lambda self: self.pool.submitted)
    @rule(verdict=verdicts)
    def a_thread_answers(self, verdict: Verdict) -> None:
        self.pool.answer(self.service, verdict)

    @invariant()
    def no_session_has_two_texts_and_each_is_that_of_its_session(self) -> None:
        texts = self.texts()
        assert len({text["wakewordId"] for text in texts}) == len(texts)
        for text in texts:
            site, session, _ = self.started[str(text["wakewordId"])]
            assert (text["siteId"], text["sessionId"]) == (site, session)

    @invariant()
    def no_session_waits_longer_than_25_s(self) -> None:
        answered = {text["wakewordId"] for text in self.texts()}
        for wakeword, (_, _, started_at) in self.started.items():
            assert wakeword in answered or self.clock.now() - started_at < 25.0

    @invariant()
    def a_recording_is_finished_before_its_text_and_once(self) -> None:
        finished: Counter[tuple[str, str]] = Counter()
        for item in self.published:
            if item.topic in {FINISHED, TEXT}:
                fields = json.loads(item.payload)
                finished[fields["siteId"], fields["sessionId"]] += (
                    1 if item.topic == FINISHED else -1
                )
        assert min(finished.values(), default=0) >= 0

    def teardown(self) -> None:
        if not hasattr(self, "service"):
            return
        while self.door.deadline is not None or self.pool.submitted:
            self.time_passes(5.0)
            if self.pool.submitted:
                self.pool.answer(self.service, heard())
        assert Counter(text["wakewordId"] for text in self.texts()) == Counter(list(self.started))
        assert len([item for item in self.published if item.topic == FINISHED]) == len(self.started)
        assert len(self.service.registry) == 0
        assert self.service.budget.used_bytes == 0
        assert self.service.scheduler.drained
        assert "bad_topic" not in self.service.metrics.dropped

    def texts(self) -> list[dict[str, object]]:
        return [json.loads(item.payload) for item in self.published if item.topic == TEXT]


TestTheDoor = TheDoor.TestCase
TestTheDoor.settings = settings(max_examples=examples(30), stateful_step_count=30, deadline=None)
