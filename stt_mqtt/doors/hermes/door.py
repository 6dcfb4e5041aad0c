"""The Hermes door: sessions of Rhasspy and Snips in, the text of each exactly once out."""

from __future__ import annotations

import logging
from collections.abc import Collection

from stt_mqtt.audio.endpoint import EndpointConfig, Endpointer, Hearing
from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.service import SpeechService
from stt_mqtt.core.settings import DeviceSettings
from stt_mqtt.doors.hermes import payloads, topics
from stt_mqtt.doors.hermes.requests import (
    SessionAddress,
    StartListening,
    address_of,
    parse_start,
    parse_stop,
    parse_toggle,
)
from stt_mqtt.doors.hermes.sessions import Session, Sessions
from stt_mqtt.doors.hermes.toggles import Toggles
from stt_mqtt.doors.hermes.topics import ActivityTopic, AudioFrameTopic, Request, VoiceTopic
from stt_mqtt.errors import InferenceTimeoutError, OverloadedError, UtteranceError
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.mqtt.routing import AudioTopics, MqttDoor, Subscriptions
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import SAMPLE_RATE, AudioFormat, DeviceKey, DeviceState, Outcome, UtteranceStart

log = logging.getLogger(__name__)

DOOR = "hermes"

MAX_AUDIO_S = 20.0
"""Longest session: the dialogue manager gives up 30 s after it has asked."""
ANSWER_WITHIN_S = 24.5
"""An answer leaves at the latest so long after the start, so that it is there within 25 s."""
STALE_AFTER_S = 30.0
"""Nobody waits any more so long after the start: what a broker was away for is dropped."""
NO_SPEECH_MS = 8000
MAX_SESSIONS_OF_SITE = 8
"""A frame of a site costs as much as it has sessions."""
ACCIDENTAL_MS = 300
"""A vadDown before so much audio belongs to what was said before the session, such as a wake
word, unless a vadUp came in between."""

QUIET_S = 0.25
"""Satellites send many frames a second: after so long without one nobody is there."""

_FORMAT = AudioFormat()


class HermesDoor(MqttDoor):
    """Turns Hermes messages into the line's events, and is the line's outlet for them."""

    def __init__(self, service: SpeechService, clock: Clock, publish: Publish) -> None:
        self._service = service
        self._clock = clock
        self._publish = publish
        self._sessions = Sessions()
        self._toggles = Toggles()
        self._max_payload_bytes = service.config.mqtt.max_payload_kib * 1024
        service.attach(DOOR, self)
        service.follow(DOOR, self)

    # As a door on MQTT -----------------------------------------------------------------------

    @property
    def subscriptions(self) -> Subscriptions:
        """Its topics.

        A request that was dropped unread cannot be answered: nobody knows whose it was. A session
        whose stop was dropped ends by itself.
        """
        endings = (topics.FRAME_ENDING, topics.SESSION_FRAME_ENDING)
        return Subscriptions(topics.SUBSCRIPTIONS, AudioTopics(endings, self.wants_audio))

    def wants_audio(self, topic: str) -> bool:
        """Whether a session listens to the frames on this topic."""
        route = topics.parse(topic)
        return not isinstance(route, AudioFrameTopic) or bool(self._sessions_of(route))

    def handle(self, message: Inbound) -> None:
        """Act on one message. Never raises for what a client sends."""
        if message.retain:
            self._service.metrics.drop(DropReason.RETAINED)
            return
        route = topics.parse(message.topic)
        if isinstance(route, AudioFrameTopic):
            sessions = self._sessions_of(route)
            if sessions and self._fits(message):
                self._frame(route.site, sessions, message.payload)
        elif isinstance(route, ActivityTopic):
            self._voice(route)
        elif route is None:
            self._service.metrics.drop(DropReason.BAD_TOPIC)
        elif self._fits(message):
            self._request(route, message.payload)

    # As the outlet of the line -----------------------------------------------------------------

    def outcome(self, outcome: Outcome) -> None:
        """Answer the session that has come to its end."""
        session = outcome.context
        if isinstance(session, Session) and not session.answered:
            self._answer(session, outcome, outcome.error)
        self._let_go(outcome.key)

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """A session was ended by the service, at a cap."""
        session = self._sessions.find(key.name, key.part)
        if session is not None and state is not DeviceState.LISTENING:
            self._finish_recording(session)

    def settings(self, key: DeviceKey, settings: DeviceSettings) -> None:
        """Nothing: Hermes knows no settings."""

    def forget(self, key: DeviceKey) -> None:
        """Nothing: what is forgotten has no session."""

    # Time --------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, in monotonic seconds."""
        first = self._sessions.next
        return None if first is None else first.answer_by

    def tick(self) -> None:
        """Answer the sessions that nobody would wait for much longer."""
        now = self._clock.now()
        while (session := self._sessions.next) is not None and now >= session.answer_by:
            log.warning("%s is answered without its text, which came too late", session.key)
            error = InferenceTimeoutError(f"no text {ANSWER_WITHIN_S:g} s after the start")
            self._answer(session, None, error)
            self._let_go(session.key)

    # Inside ------------------------------------------------------------------------------------

    def _fits(self, message: Inbound) -> bool:
        fits = len(message.payload) <= self._max_payload_bytes
        if not fits:
            self._service.metrics.drop(DropReason.PAYLOAD_TOO_LARGE)
        return fits

    def _request(self, request: Request, payload: bytes) -> None:
        try:
            match request:
                case Request.START:
                    self._start(parse_start(payload))
                case Request.STOP:
                    for session in self._sessions.meant_by(parse_stop(payload)):
                        self._stop(session)
                case Request.TOGGLE_ON:
                    toggle = parse_toggle(payload)
                    self._toggles.on(toggle.site, toggle.reason)
                case Request.TOGGLE_OFF:
                    toggle = parse_toggle(payload)
                    self._toggles.off(toggle.site, toggle.reason)
        except UtteranceError as error:
            self._service.metrics.drop(DropReason.BAD_PAYLOAD)
            self._publish_error(error, address_of(payload))

    def _start(self, request: StartListening) -> None:
        address = request.address
        key = DeviceKey(DOOR, address.site, address.session)
        before = self._sessions.find(address.site, address.session)
        if before is not None:
            self._finish_recording(before)
        crowded = self._crowded(address.site)
        session = self._new_session(key, request)
        self._sessions.add(session)
        start = UtteranceStart(
            format=_FORMAT,
            language=request.language,
            ends_within_s=MAX_AUDIO_S,
            context=session,
        )
        if crowded is not None:
            self._service.refuse(key, start, crowded)
        else:
            self._service.start(key, start)

    def _crowded(self, site: str) -> OverloadedError | None:
        """Why there is no place for one more session; one that has fallen silent gives way."""
        if len(self._sessions.at(site)) >= MAX_SESSIONS_OF_SITE:
            return OverloadedError(f"{MAX_SESSIONS_OF_SITE} sessions are open on this site")
        # Half of the places for devices are for the other doors.
        if len(self._sessions) < max(self._service.config.limits.max_devices // 2, 1):
            return None
        error = OverloadedError("too many sessions are open")
        quietest = self._sessions.quietest
        if quietest is None or not self._is_quiet(quietest):
            return error
        self._answer(quietest, None, error)
        self._let_go(quietest.key)
        return None

    def _is_quiet(self, session: Session) -> bool:
        heard_at = session.heard_at
        return heard_at is None or self._clock.now() - heard_at >= QUIET_S

    def _new_session(self, key: DeviceKey, request: StartListening) -> Session:
        pause_ms = self._service.config.device(key.name).gap_timeout_ms
        config = EndpointConfig(pause_ms=pause_ms, no_speech_ms=NO_SPEECH_MS)
        return Session(
            key=key,
            request=request,
            answer_by=self._clock.now() + ANSWER_WITHIN_S,
            # More than fits, so that the line sees that the cap was reached.
            frames=FrameReader(MAX_AUDIO_S + 1),
            endpointer=Endpointer(config) if request.stop_on_silence else None,
            captured=bytearray() if request.send_audio_captured else None,
        )

    def _sessions_of(self, route: AudioFrameTopic) -> Collection[Session]:
        if route.session is None:
            return self._sessions.at(route.site)
        session = self._sessions.find(route.site, route.session)
        return () if session is None else (session,)

    def _frame(self, site: str, sessions: Collection[Session], payload: bytes) -> None:
        if self._toggles.is_off(site):
            return
        for session in list(sessions):
            pcm = session.frames.read(payload)
            if pcm is None:
                self._service.metrics.drop(DropReason.BAD_FRAME)
            else:
                self._hear(session, pcm)

    def _hear(self, session: Session, pcm: bytes) -> None:
        self._sessions.sound(session, len(pcm), self._clock.now())
        self._capture(session, pcm)
        self._service.chunk(session.key, pcm, None, None)
        endpointer = session.endpointer
        if endpointer is not None and endpointer.push(pcm) in {Hearing.ENDED, Hearing.NOBODY}:
            self._stop(session)

    def _capture(self, session: Session, pcm: bytes) -> None:
        captured, budget = session.captured, self._service.budget
        if captured is None:
            return
        room = int(MAX_AUDIO_S * SAMPLE_RATE) * 2 - len(captured)
        if budget.admits(min(len(pcm), room), session.key):
            budget.use(min(len(pcm), room))
            captured += pcm[:room]

    def _voice(self, route: ActivityTopic) -> None:
        for session in list(self._sessions.at(route.site)):
            if route.voice is VoiceTopic.UP:
                session.voice_came_up = True
            elif session.request.stop_on_silence and (
                session.voice_came_up or session.heard_ms >= ACCIDENTAL_MS
            ):
                self._stop(session)

    def _stop(self, session: Session) -> None:
        self._finish_recording(session)
        self._service.stop(session.key, None, None)

    def _finish_recording(self, session: Session) -> None:
        if session.recording_finished:
            return
        session.recording_finished = True
        self._sessions.ceased(session)
        payload = payloads.recording_finished(session.request.address)
        self._send(session, topics.RECORDING_FINISHED, payload)

    def _answer(
        self, session: Session, outcome: Outcome | None, error: UtteranceError | None
    ) -> None:
        session.answered = True
        self._sessions.answered(session)
        self._finish_recording(session)
        address = session.request.address
        if error is not None:
            self._publish_error(error, address)
        text = payloads.text_captured(session.request, outcome)
        self._send(session, topics.TEXT_CAPTURED, text)
        if session.captured is not None:
            topic = topics.audio_captured(address.site, address.session)
            self._send(session, topic, wav_bytes(bytes(session.captured), SAMPLE_RATE))
            self._service.budget.use(-len(session.captured))
            session.captured = None

    def _let_go(self, key: DeviceKey) -> None:
        """Give the place of a device back that has nothing to be answered any more."""
        if not self._sessions.concern(key):
            self._service.leave(key)

    def _publish_error(self, error: UtteranceError, address: SessionAddress) -> None:
        self._publish(Publication(topics.ERROR, payloads.error(error, address), qos=0))

    def _send(self, session: Session, topic: str, payload: bytes) -> None:
        stale_at = session.answer_by - ANSWER_WITHIN_S + STALE_AFTER_S
        self._publish(Publication(topic, payload, qos=0, expires_at=stale_at))
