"""One satellite: frames in, utterances out. It has no thread and no clock of its own.

`now` is monotonic seconds. The audio clock counts frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from stt_mqtt.audio.activity import Activity, VoiceActivity
from stt_mqtt.audio.cleanup import Cleanup
from stt_mqtt.audio.encode import Encoder, make_encoder
from stt_mqtt.config import ListenMode, SatelliteConfig
from stt_mqtt.mqtt.messages import Inbound, Publication
from stt_mqtt.satellite.answers import ServiceAnswer
from stt_mqtt.satellite.control import ListenPolicy, SatelliteState, SatelliteTopics, parse_command
from stt_mqtt.satellite.conversation import Conversation
from stt_mqtt.satellite.segmenter import (
    CHUNK_FRAMES,
    FRAME_S,
    CloseReason,
    ListenState,
    Segmenter,
    SegmenterOutput,
    VadFrame,
)
from stt_mqtt.satellite.spool import DroppedUtterances
from stt_mqtt.satellite.transmission import UplinkConfig
from stt_mqtt.satellite.uplink import Uplink
from stt_mqtt.types import Codec

STALL_S = 2.0
"""A source that gave no frame for so long has stopped. The service waits 5 s at most."""
STALLED = f"no audio came in for {STALL_S:g} s"
ZEROS_S = 10.0
"""A source that begins with so much digital silence is faulty. Later it may be a pause."""
ZEROS = "the microphone gives nothing but zeros; is it switched off or muted?"

log = logging.getLogger(__name__)


class Satellite:
    """Owned by one loop: it is not thread-safe."""

    def __init__(
        self,
        config: SatelliteConfig,
        topics: SatelliteTopics,
        publish: Callable[[Publication], None],
    ) -> None:
        self._config = config
        self._topics = topics
        uplink_config = UplinkConfig(
            topics=topics,
            codec=Codec(config.codec.value),
            qos=config.qos,
            max_age_s=config.spool_max_age_s,
            max_bytes=config.spool_max_kib * 1024,
        )
        self.uplink = Uplink(uplink_config, publish)
        self._conversation = Conversation(self.uplink, config.spool_max_age_s)
        self.answers = self._conversation.answers
        self._publish = publish
        self.policy = ListenPolicy(config)
        self._cleanup = Cleanup(config.cleanup)
        self._activity = VoiceActivity(config.vad)
        self._segmenter = Segmenter(config.vad)
        self._encoder: Encoder | None = None
        self._pending = bytearray()
        self._pending_frames = 0
        self._frames = 0
        self._listen_state = ListenState.OFF
        self.online = False
        """Whether the broker is connected and knows that this satellite is there."""
        self._connection = 0
        self._published_state: SatelliteState | None = None
        self._was_muted_live = False
        self._last_frame_at: float | None = None
        """When the last frame came in; None: no frame is expected."""
        self._ticked_at: float | None = None
        self._source_problem: str | None = None
        """Why the source gives no audio, for a person; None: nothing is known to be wrong."""
        self._zeros: int | None = 0
        """Frames of digital silence since the source began; None: it has given other audio."""

    @property
    def filters(self) -> tuple[str, ...]:
        """Topic filters to subscribe to."""
        wake = self._config.wake_topic
        own = tuple(self._topics.topic(name) for name in ("result", "state", "satellite/set"))
        return own if wake is None else (*own, wake)

    def farewell(self, reason: str, now: float) -> tuple[Publication, ...]:
        """The last messages before it disconnects. They are retained, so they must stay valid."""
        state = replace(self._state(now), listening=False, playing=False, reason=reason)
        return (
            Publication(self._topics.topic("satellite/state"), state.as_json(), retain=True),
            Publication(self._topics.topic("availability"), b"offline", retain=True),
        )

    @property
    def speaking(self) -> bool:
        """Whether an utterance is open."""
        return self._segmenter.speaking

    @property
    def listen_state(self) -> ListenState:
        """The listen state of the last frame."""
        return self._listen_state

    def process(self, pcm: bytes, now: float) -> Activity:
        """Process the next frame of the source."""
        self._last_frame_at = now
        self._detect_zeros(pcm)
        self._update_listen_state(now)
        clean = self._cleanup.process(pcm)
        activity = self._activity.process(clean)
        at = self._frames * FRAME_S
        self._frames += 1
        frame = VadFrame(clean, at, activity.begins, activity.goes_on, activity.sounds)
        self._send(self._segmenter.push(frame, self._listen_state), now)
        return activity

    def source_opened(self, now: float) -> None:
        """Frames are expected from now on."""
        self._last_frame_at = now

    def source_lost(self, reason: str, now: float) -> None:
        """No frames are expected until the source is back; `reason` is for a person."""
        self._source_problem = reason
        self._last_frame_at = None
        self._zeros = 0
        self.finish(now)
        self._segmenter.forget()
        self._publish_state(now)

    def source_waits(self) -> None:
        """The loop takes no frames for a while, so a gap is no fault of the source."""
        self._last_frame_at = None

    def slept(self, now: float) -> None:
        """The machine slept. Earlier speech is dropped, because its age is unknown."""
        self._send(self._segmenter.cut(CloseReason.SLEPT), now)
        self._segmenter.forget()
        self._conversation.slept()

    def receive(self, message: Inbound, now: float) -> ServiceAnswer | None:
        """Process a message; return the answer if it is one."""
        if message.topic == self._topics.topic("result"):
            return self._result(message.payload, now)
        if message.topic == self._topics.topic("state"):
            self._conversation.state(message.payload, message.retain)
        elif message.topic == self._topics.topic("satellite/set"):
            command = parse_command(message.payload, message.retain)
            if command.ended is not None:
                self._end_by_service(command.ended, now)
            if command.open is not None:
                self._expect_more(command.open)
            if command.muted is not None:
                self._mute(command.muted, message.retain)
            if command.playing is not None:
                self.policy.play(command.playing, now)
            if command.listen is not None:
                self.listen(command.listen, now)
        elif not message.retain and self._config.mode is ListenMode.WAKE:
            self.listen(True, now)
        self._update_listen_state(now)
        return None

    def listen(self, listen: bool, now: float) -> None:
        """Begin to listen (wake-up, pressed button), or stop and end the utterance."""
        if listen:
            self.policy.listen(now)
        elif self._config.mode is not ListenMode.ALWAYS:
            self.policy.stop_listening()
            self.finish(now)

    def finish(self, now: float) -> None:
        """End the open utterance, if there is one."""
        self._send(self._segmenter.cut(CloseReason.RELEASED), now)

    def _result(self, payload: bytes, now: float) -> ServiceAnswer | None:
        answer = self._conversation.result(payload, now)
        if answer is not None and answer.id is not None and answer.ended_by_service:
            # Mostly known from `satellite/set`, which the service publishes first.
            self._end_by_service(answer.id, now)
        return answer

    def _end_by_service(self, id: str, now: float) -> None:
        """The service has ended an utterance: stop sending it, if it is the open one."""
        if self.speaking and id == self._conversation.id:
            self._send(self._segmenter.end_by_service(self._pending_frames), now)

    def _expect_more(self, id: str) -> None:
        """The service heard the beginning of a phrase: wait longer, if that is the open one."""
        if self.speaking and id == self._conversation.id:
            self._segmenter.expect_more()

    def connected(self, connection: int, receipt: Callable[[], None]) -> None:
        """A connection is up: publish `online`, confirmed by `receipt`.

        After that confirmation the caller processes every message that came in before it, such as
        a retained mute, and then calls `announced`.
        """
        self._connection = connection
        online = Publication(
            self._topics.topic("availability"),
            b"online",
            retain=True,
            connection=connection,
            receipt=receipt,
        )
        self._publish(online)

    def announced(self, connection: int, now: float) -> None:
        """The broker has confirmed `online`: begin to send."""
        if connection != self._connection:
            return
        self.online, self._published_state = True, None
        self._update_listen_state(now)
        self._conversation.connected(connection, now)

    def disconnected(self) -> None:
        """The connection is gone. Utterances wait in the spool."""
        self._connection = 0
        self.online = False
        self._conversation.disconnected()

    def tick(self, now: float) -> DroppedUtterances | None:
        """Call this several times a second. Returns what was dropped since the last call."""
        if self._ticked_at is not None and now - self._ticked_at > STALL_S / 2:
            # This loop stood still: frames are waiting to be read.
            self._last_frame_at = None if self._last_frame_at is None else now
        self._ticked_at = now
        if self._last_frame_at is not None and now - self._last_frame_at > STALL_S:
            self.source_lost(STALLED, now)
        self._update_listen_state(now)
        return self._conversation.tick(now)

    def _detect_zeros(self, pcm: bytes) -> None:
        if self._zeros is not None:
            self._zeros = self._zeros + 1 if pcm.count(0) == len(pcm) else None
        self._source_problem = ZEROS if (self._zeros or 0) * FRAME_S >= ZEROS_S else None

    def _mute(self, muted: bool, retained: bool) -> None:
        if retained and not muted and self._was_muted_live:
            # A retained message is older, and comes again with every connection.
            return
        if retained and muted and not self.policy.muted:
            # The time of the mute is unknown, so all waiting utterances are dropped.
            self._conversation.clear()
        self._was_muted_live = muted and not retained
        self.policy.muted = muted

    def _update_listen_state(self, now: float) -> None:
        """Decide how to listen. When listening stops, the open utterance ends."""
        self._listen_state = self.policy.state(now, self.speaking)
        if self._listen_state is ListenState.OFF:
            reason = CloseReason.MUTED if self.policy.muted else CloseReason.PLAYING
            self._send(self._segmenter.cut(reason), now)
        self._publish_state(now)

    def _state(self, now: float) -> SatelliteState:
        return SatelliteState(
            mode=self._config.mode.value,
            codec=self._config.codec.value,
            muted=self.policy.muted,
            playing=self.policy.is_playing(now),
            listening=self._listen_state.may_begin and self._source_problem is None,
            reason=self._source_problem,
            dropped=self.uplink.dropped,
        )

    def _publish_state(self, now: float) -> None:
        state = self._state(now)
        if self.online and state != self._published_state:
            self._published_state = state
            topic = self._topics.topic("satellite/state")
            self._publish(Publication(topic, state.as_json(), retain=True))

    def _send(self, output: SegmenterOutput, now: float) -> None:
        if output.opened_at is not None:
            self._encoder = make_encoder(Codec(self._config.codec.value), self._config.opus_kbps)
            self._conversation.open()
            log.debug("utterance %s begins", self._conversation.id)
        for pcm in output.frames:
            self._encode(pcm)
        if output.flush:
            self._flush()
        if output.closed is not None:
            self._end(output.closed, now)

    def _encode(self, pcm: bytes) -> None:
        assert self._encoder is not None
        self._pending += self._encoder.push(pcm)
        self._pending_frames += 1
        if self._pending_frames >= CHUNK_FRAMES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._conversation.audio(bytes(self._pending))
        self._pending.clear()
        self._pending_frames = 0

    def _end(self, reason: CloseReason, now: float) -> None:
        assert self._encoder is not None
        if reason in {CloseReason.MUTED, CloseReason.SLEPT, CloseReason.ENDED}:
            self._pending.clear()
            self._pending_frames = 0
        else:
            self._pending += self._encoder.finish()
            self._flush()
        self._encoder = None
        match reason:
            case CloseReason.MUTED | CloseReason.SLEPT:
                self._conversation.cancel()
            case CloseReason.ENDED:
                self._conversation.end_by_service(now)
            case _:
                self._conversation.close(now)
        log.debug("utterance %s ends: %s", self._conversation.id, reason)
        if self._config.mode is ListenMode.WAKE or reason in {CloseReason.CAP, CloseReason.ENDED}:
            # Nor does the rest of a press follow.
            self.policy.stop_listening()
