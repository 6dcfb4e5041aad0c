"""One satellite: frames in, utterances out; without a thread or a clock of its own.

`now` is monotonic seconds; the clock of the audio counts its frames.
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
    FRAME_S,
    CloseReason,
    ListenState,
    Segmenter,
    SegmenterOutput,
    VadFrame,
)
from stt_mqtt.satellite.spool import DroppedUtterances
from stt_mqtt.satellite.uplink import Uplink
from stt_mqtt.types import Codec

CHUNK_FRAMES = 8
"""Frames that are sent together, 240 ms: a message costs 30 bytes whatever is in it."""

STALL_S = 2.0
"""A source that gave nothing for so long has stopped; the service waits 5 s at most."""
STALLED = f"no audio came in for {STALL_S:g} s"
ZEROS_S = 10.0
"""A source that begins with so much digital silence is none; some give that between words."""
ZEROS = "the microphone gives nothing but zeros; is it switched off or muted?"

log = logging.getLogger(__name__)


class Satellite:
    """Owned by one loop."""

    def __init__(
        self,
        config: SatelliteConfig,
        topics: SatelliteTopics,
        uplink: Uplink,
        publish: Callable[[Publication], None],
    ) -> None:
        self._config = config
        self._topics = topics
        self._conversation = Conversation(uplink, config.spool_max_age_s)
        self.uplink = uplink
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
        """Whether the broker is there."""
        self._connection = 0
        self._told: SatelliteState | None = None
        self._was_muted_live = False
        self._heard_at: float | None = None
        """When the last frame came; None: none since the last pause of the source."""
        self._ticked_at: float | None = None
        self._deaf_because: str | None = None
        """Why the source gives nothing; None: it does, as far as is known."""
        self._zeros: int | None = 0
        """Frames of digital silence since the source began; None: it gave something else."""

    @property
    def filters(self) -> tuple[str, ...]:
        """What it has to be told of."""
        wake = self._config.wake_topic
        own = tuple(self._topics.topic(name) for name in ("result", "state", "satellite/set"))
        return own if wake is None else (*own, wake)

    def farewell(self, reason: str, now: float) -> tuple[Publication, ...]:
        """What is said before leaving; it is retained, so it has to be true from then on."""
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
        """How the last frame was heard."""
        return self._listen_state

    def hear(self, pcm: bytes, now: float) -> Activity:
        """Take the next frame of the microphone."""
        self._heard_at = now
        self._look_for_zeros(pcm)
        self._attend(now)
        clean = self._cleanup.process(pcm)
        activity = self._activity.hear(clean)
        at = self._frames * FRAME_S
        self._frames += 1
        frame = VadFrame(clean, at, activity.begins, activity.goes_on, activity.sounds)
        self._take(self._segmenter.push(frame, self._listen_state), now)
        return activity

    def source_opened(self, now: float) -> None:
        """Frames are to come from now on."""
        self._heard_at = now

    def source_lost(self, reason: str, now: float) -> None:
        """No frame comes until further notice; `reason` for a person."""
        self._deaf_because = reason
        self._heard_at = None
        self._zeros = 0
        self.finish(now)
        self._segmenter.forget()
        self._tell(now)

    def source_waits(self) -> None:
        """Nobody takes the frames for a while, so that none comes is no fault of the source."""
        self._heard_at = None

    def slept(self, now: float) -> None:
        """The machine slept: nobody knows how old it is what was said before."""
        self._take(self._segmenter.cut(CloseReason.SLEPT), now)
        self._segmenter.forget()
        self._conversation.slept()

    def told(self, message: Inbound, now: float) -> ServiceAnswer | None:
        """Heed a message; the answer, if it is one."""
        if message.topic == self._topics.topic("result"):
            return self._conversation.result(message.payload, now)
        if message.topic == self._topics.topic("state"):
            self._conversation.state(message.payload, message.retain)
        elif message.topic == self._topics.topic("satellite/set"):
            command = parse_command(message.payload, message.retain)
            if command.muted is not None:
                self._mute(command.muted, message.retain)
            if command.playing is not None:
                self.policy.play(command.playing, now)
            if command.listen is not None:
                self.listen(command.listen, now)
        elif not message.retain and self._config.mode is ListenMode.WAKE:
            self.listen(True, now)
        self._attend(now)
        return None

    def listen(self, listen: bool, now: float) -> None:
        """Wake it up, or press the button; or the opposite, which ends what is being said."""
        if listen:
            self.policy.listen(now)
        elif self._config.mode is not ListenMode.ALWAYS:
            self.policy.stop_listening()
            self.finish(now)

    def finish(self, now: float) -> None:
        """End what is being said: no more comes."""
        self._take(self._segmenter.cut(CloseReason.RELEASED), now)

    def connected(self, connection: int, receipt: Callable[[], None]) -> None:
        """A connection is up: say who is there, with `receipt` for it.

        `greeted` is to be called behind all that came in until then: a retained mute is among it.
        """
        self._connection = connection
        hello = Publication(
            self._topics.topic("availability"),
            b"online",
            retain=True,
            connection=connection,
            receipt=receipt,
        )
        self._publish(hello)

    def greeted(self, connection: int, now: float) -> None:
        """The broker knows who is there: send what is to be sent, from now on."""
        if connection != self._connection:
            return
        self.online, self._told = True, None
        self._attend(now)
        self._conversation.connected(connection, now)

    def disconnected(self) -> None:
        """The connection is gone; what is said from here on waits."""
        self._connection = 0
        self.online = False
        self._conversation.disconnected()

    def tick(self, now: float) -> DroppedUtterances | None:
        """Look at the clock, several times a second; what was given up since the last call."""
        if self._ticked_at is not None and now - self._ticked_at > STALL_S / 2:
            # We stood still ourselves: what the source has is yet to be read.
            self._heard_at = None if self._heard_at is None else now
        self._ticked_at = now
        if self._heard_at is not None and now - self._heard_at > STALL_S:
            self.source_lost(STALLED, now)
        self._attend(now)
        return self._conversation.tick(now)

    def _look_for_zeros(self, pcm: bytes) -> None:
        if self._zeros is not None:
            self._zeros = self._zeros + 1 if pcm.count(0) == len(pcm) else None
        self._deaf_because = ZEROS if (self._zeros or 0) * FRAME_S >= ZEROS_S else None

    def _mute(self, muted: bool, retained: bool) -> None:
        if retained and not muted and self._was_muted_live:
            # What is retained is older, and comes again with every connection.
            return
        if retained and muted and not self.policy.muted:
            # Nobody knows since when it should have been deaf.
            self._conversation.clear()
        self._was_muted_live = muted and not retained
        self.policy.muted = muted

    def _attend(self, now: float) -> None:
        """Find out how to listen; what is open ends when nothing may be heard any more."""
        self._listen_state = self.policy.state(now, self.speaking)
        if self._listen_state is ListenState.OFF:
            reason = CloseReason.MUTED if self.policy.muted else CloseReason.PLAYING
            self._take(self._segmenter.cut(reason), now)
        self._tell(now)

    def _state(self, now: float) -> SatelliteState:
        return SatelliteState(
            mode=self._config.mode.value,
            codec=self._config.codec.value,
            muted=self.policy.muted,
            playing=self.policy.is_playing(now),
            listening=self._listen_state.may_begin and self._deaf_because is None,
            reason=self._deaf_because,
            dropped=self.uplink.dropped,
        )

    def _tell(self, now: float) -> None:
        state = self._state(now)
        if self.online and state != self._told:
            self._told = state
            topic = self._topics.topic("satellite/state")
            self._publish(Publication(topic, state.as_json(), retain=True))

    def _take(self, step: SegmenterOutput, now: float) -> None:
        if step.opened_at is not None:
            self._encoder = make_encoder(Codec(self._config.codec.value), self._config.opus_kbps)
            self._conversation.open()
            log.debug("utterance %s begins", self._conversation.id)
        for pcm in step.frames:
            self._send(pcm)
        if step.closed is not None:
            self._end(step.closed, now)

    def _send(self, pcm: bytes) -> None:
        assert self._encoder is not None
        self._pending += self._encoder.push(pcm)
        self._pending_frames += 1
        if self._pending_frames >= CHUNK_FRAMES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self.uplink.audio(bytes(self._pending))
        self._pending.clear()
        self._pending_frames = 0

    def _end(self, reason: CloseReason, now: float) -> None:
        assert self._encoder is not None
        self._pending += self._encoder.finish()
        self._encoder = None
        if reason in {CloseReason.MUTED, CloseReason.SLEPT}:
            self._pending.clear()
            self._pending_frames = 0
            self._conversation.cancel()
        else:
            self._flush()
            self._conversation.close(now)
        log.debug("utterance %s ends: %s", self._conversation.id, reason)
        if self._config.mode is ListenMode.WAKE or reason is CloseReason.CAP:
            self.policy.stop_listening()
