"""The Hermes door: takes the sessions of Rhasspy and Snips, and answers each exactly once."""

from __future__ import annotations

import logging
from collections.abc import Collection

from stt_mqtt.audio.frames import FrameReader
from stt_mqtt.audio.wav import wav_bytes
from stt_mqtt.core.clock import Clock
from stt_mqtt.core.observers import DeviceObserver
from stt_mqtt.core.ownership import EVERYTHING, Ownership
from stt_mqtt.core.partials import Partial
from stt_mqtt.core.service import SpeechService
from stt_mqtt.doors.hermes import messages
from stt_mqtt.doors.hermes.messages import (
    AudioFrameTopic,
    Request,
    SessionAddress,
    StartListening,
    VoiceActivityTopic,
)
from stt_mqtt.doors.hermes.sessions import Session, Sessions, Toggles
from stt_mqtt.errors import InferenceTimeoutError, OverloadedError, UtteranceError
from stt_mqtt.mqtt.messages import Inbound, Publication, Publish
from stt_mqtt.mqtt.routing import AudioTopics, MqttDoor, Subscriptions
from stt_mqtt.observe.metrics import DropReason
from stt_mqtt.types import (
    SAMPLE_RATE,
    AudioFormat,
    DeviceKey,
    DeviceState,
    Endpointing,
    Outcome,
    TurnEnd,
    UtteranceStart,
)

log = logging.getLogger(__name__)

DOOR = "hermes"

MAX_AUDIO_S = 20.0
"""Longest audio of a session. The dialogue manager times out 30 s after its request."""
ANSWER_WITHIN_S = 24.5
"""Latest time of the answer after the start, so that it arrives within 25 s."""
STALE_AFTER_S = 30.0
"""After this time from the start an unsent answer is dropped, because the client timed out."""
NO_SPEECH_S = 8.0
"""Audio without any speech that ends a session with stopOnSilence."""
MAX_SESSIONS_OF_SITE = 8
"""Each frame of a site is processed once per session."""
ACCIDENTAL_MS = 300
"""A vadDown before this much audio is ignored, unless a vadUp came before it. It belongs to speech
before the session, such as a wake word."""

QUIET_S = 0.25
"""A session without audio for this long counts as abandoned."""

_FORMAT = AudioFormat()


class HermesDoor(MqttDoor, DeviceObserver):
    """Translates Hermes messages into calls of the service, and outcomes into answers."""

    def __init__(
        self,
        service: SpeechService,
        clock: Clock,
        publish: Publish,
        ownership: Ownership = EVERYTHING,
    ) -> None:
        self._service = service
        self._clock = clock
        self._publish = publish
        self._ownership = ownership
        self._sessions = Sessions()
        self._toggles = Toggles()
        self._max_payload_bytes = service.config.mqtt.max_payload_kib * 1024
        service.attach(DOOR, self, self)
        service.add_observer(DOOR, self)

    # As a door on MQTT -----------------------------------------------------------------------

    @property
    def subscriptions(self) -> Subscriptions:
        """The topics of the door.

        A request that the full inbox dropped cannot be answered, because its sender is unknown. A
        session whose stop was dropped ends by itself.
        """
        audio = AudioTopics(messages.FRAME_ENDINGS, self.wants_audio)
        return Subscriptions(messages.FILTERS, audio)

    def wants_audio(self, topic: str) -> bool:
        """Whether an open session needs the frames on this topic."""
        route = messages.parse_topic(topic)
        return not isinstance(route, AudioFrameTopic) or bool(self._sessions_of(route))

    def handle(self, message: Inbound) -> None:
        """Handle one message. Does not raise for any input."""
        if message.retain:
            self._service.metrics.drop(DropReason.RETAINED)
            return
        match messages.parse_topic(message.topic):
            case None:
                self._service.metrics.drop(DropReason.BAD_TOPIC)
            case VoiceActivityTopic(site, starts):
                self._voice_activity(site, starts)
            case AudioFrameTopic(site) as route:
                sessions = self._sessions_of(route)
                if sessions and self._fits(message) and not self._toggles.is_off(site):
                    self._frame(sessions, message.payload)
            case Request() as request:
                if self._fits(message):
                    self._request(request, message.payload)

    # As the outlet of the service ------------------------------------------------------------

    def outcome(self, outcome: Outcome) -> None:
        """Answer the session of this outcome."""
        session = outcome.context
        if isinstance(session, Session) and not session.answered:
            self._answer(session, outcome, outcome.error)
        self._release(outcome.key)

    def partial(self, partial: Partial) -> None:
        """Publish a partial result of a session that still listens."""
        session = partial.context
        if isinstance(session, Session) and not session.recording_finished:
            text = messages.partial_text_captured(session.request, partial)
            self._send(session, messages.PARTIAL_TEXT_CAPTURED, text)

    def state(self, key: DeviceKey, state: DeviceState) -> None:
        """Finish the recording if the service has ended the session, for example at a cap."""
        session = self._sessions.find(key.name, key.part)
        if session is not None and state is not DeviceState.LISTENING:
            self._finish_recording(session)

    # Time --------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `tick` must be called next, in monotonic seconds."""
        first = self._sessions.next
        return None if first is None else first.answer_by

    def tick(self) -> None:
        """Answer the sessions whose time is up, without a text."""
        now = self._clock.now()
        while (session := self._sessions.next) is not None and now >= session.answer_by:
            log.warning("%s is answered without its text, which came too late", session.key)
            error = InferenceTimeoutError(f"no text {ANSWER_WITHIN_S:g} s after the start")
            self._answer(session, None, error)
            self._release(session.key)

    # Requests ----------------------------------------------------------------------------------

    def _fits(self, message: Inbound) -> bool:
        fits = len(message.payload) <= self._max_payload_bytes
        if not fits:
            self._service.metrics.drop(DropReason.PAYLOAD_TOO_LARGE)
        return fits

    def _request(self, request: Request, payload: bytes) -> None:
        try:
            match request:
                case Request.START:
                    self._start(messages.parse_start(payload))
                case Request.STOP:
                    for session in self._sessions.stopped_by(messages.parse_stop(payload)):
                        self._stop(session)
                case Request.TOGGLE_ON:
                    toggle = messages.parse_toggle(payload)
                    self._toggles.on(toggle.site, toggle.reason)
                case Request.TOGGLE_OFF:
                    toggle = messages.parse_toggle(payload)
                    self._toggles.off(toggle.site, toggle.reason)
        except UtteranceError as error:
            self._service.metrics.drop(DropReason.BAD_PAYLOAD)
            address = messages.address_of(payload)
            if self._ownership.owns(address.site):
                self._publish_error(error, address)

    def _start(self, request: StartListening) -> None:
        address = request.address
        before = self._sessions.find(address.site, address.session)
        if not self._ownership.owns(address.site):
            # The site has another gateway now, which begins the session afresh.
            if before is not None:
                self._stop(before)
            return
        if before is not None:
            self._finish_recording(before)
        overloaded = self._make_room(address.site)
        session = self._new_session(request)
        self._sessions.add(session)
        start = UtteranceStart(
            format=_FORMAT,
            language=request.language,
            ends_within_s=MAX_AUDIO_S,
            turn_end=self._turn_end(session),
            context=session,
        )
        if overloaded is not None:
            self._service.refuse(session.key, start, overloaded)
        else:
            self._service.start(session.key, start)

    def _make_room(self, site: str) -> OverloadedError | None:
        """Make room for one more session, if needed by ending one without audio.

        Returns an error if that is not possible.
        """
        if len(self._sessions.of_site(site)) >= MAX_SESSIONS_OF_SITE:
            return OverloadedError(f"{MAX_SESSIONS_OF_SITE} sessions are open on this site")
        # Half of the devices are reserved for the other doors.
        if len(self._sessions) < max(self._service.config.limits.max_devices // 2, 1):
            return None
        error = OverloadedError("too many sessions are open")
        quietest = self._sessions.quietest
        if quietest is None or not self._is_quiet(quietest):
            return error
        self._answer(quietest, None, error)
        self._release(quietest.key)
        return None

    def _is_quiet(self, session: Session) -> bool:
        audio_at = session.audio_at
        return audio_at is None or self._clock.now() - audio_at >= QUIET_S

    def _new_session(self, request: StartListening) -> Session:
        key = DeviceKey(DOOR, request.address.site, request.address.session)
        return Session(
            key=key,
            request=request,
            answer_by=self._clock.now() + ANSWER_WITHIN_S,
            # One second more than the cap, so that the service notices when it is reached.
            frames=FrameReader(MAX_AUDIO_S + 1),
            captured=bytearray() if request.send_audio_captured else None,
        )

    def _turn_end(self, session: Session) -> TurnEnd:
        """How the audio of a session ends, besides by a stop."""
        if not session.request.stop_on_silence:
            return TurnEnd(Endpointing.SILENCE)
        config = self._service.config.device(session.key.name)
        return TurnEnd(config.endpointing, config.gap_timeout_ms / 1000, NO_SPEECH_S)

    # Audio -------------------------------------------------------------------------------------

    def _sessions_of(self, route: AudioFrameTopic) -> Collection[Session]:
        if route.session is None:
            return self._sessions.of_site(route.site)
        session = self._sessions.find(route.site, route.session)
        return () if session is None else (session,)

    def _frame(self, sessions: Collection[Session], payload: bytes) -> None:
        for session in list(sessions):
            pcm = session.frames.read(payload)
            if pcm is None:
                self._service.metrics.drop(DropReason.BAD_FRAME)
            else:
                self._chunk(session, pcm)

    def _chunk(self, session: Session, pcm: bytes) -> None:
        self._sessions.add_audio(session, len(pcm), self._clock.now())
        self._capture(session, pcm)
        self._service.chunk(session.key, pcm, None, None)

    def _capture(self, session: Session, pcm: bytes) -> None:
        captured = session.captured
        if captured is None:
            return
        kept = pcm[: int(MAX_AUDIO_S * SAMPLE_RATE) * 2 - len(captured)]
        if self._service.make_room(len(kept), session.key):
            self._service.budget.use(session.key, len(kept))
            captured += kept

    def _voice_activity(self, site: str, starts: bool) -> None:
        for session in list(self._sessions.of_site(site)):
            if starts:
                session.voice_started = True
            elif session.request.stop_on_silence and (
                session.voice_started or session.audio_ms >= ACCIDENTAL_MS
            ):
                self._stop(session)

    # Answers -----------------------------------------------------------------------------------

    def _stop(self, session: Session) -> None:
        self._finish_recording(session)
        self._service.stop(session.key, None, None)

    def _finish_recording(self, session: Session) -> None:
        if session.recording_finished:
            return
        session.recording_finished = True
        self._sessions.end_listening(session)
        payload = messages.recording_finished(session.request.address)
        self._send(session, messages.RECORDING_FINISHED, payload)

    def _answer(
        self, session: Session, outcome: Outcome | None, error: UtteranceError | None
    ) -> None:
        session.answered = True
        self._sessions.remove(session)
        self._finish_recording(session)
        address = session.request.address
        if error is not None:
            self._publish_error(error, address)
        text = messages.text_captured(session.request, outcome)
        self._send(session, messages.TEXT_CAPTURED, text)
        if session.captured is not None:
            topic = messages.audio_captured_topic(address.site, address.session)
            self._send(session, topic, wav_bytes(bytes(session.captured), SAMPLE_RATE))
            self._service.budget.use(session.key, -len(session.captured))
            session.captured = None

    def _release(self, key: DeviceKey) -> None:
        """Remove the device if all its sessions are answered."""
        if not self._sessions.has_unanswered(key):
            self._service.leave(key)

    def _publish_error(self, error: UtteranceError, address: SessionAddress) -> None:
        self._publish(Publication(messages.ERROR, messages.error(error, address), qos=0))

    def _send(self, session: Session, topic: str, payload: bytes) -> None:
        stale_at = session.answer_by - ANSWER_WITHIN_S + STALE_AFTER_S
        self._publish(Publication(topic, payload, qos=0, expires_at=stale_at))
