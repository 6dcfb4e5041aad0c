"""`satellite:`: a microphone at the edge. The service itself does not read this section."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from stt_mqtt.config.section import Section

SatelliteName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
WakeTopic = Annotated[
    str,
    StringConstraints(
        pattern=r"^([^+#\x00-\x1f/]*|\+)(/([^+#\x00-\x1f/]*|\+))*(/#)?$", max_length=256
    ),
]
"""A topic filter: + stands for a whole level, # only at the end."""


class ListenMode(StrEnum):
    """When the satellite listens."""

    ALWAYS = "always"
    WAKE = "wake"
    PUSH_TO_TALK = "push_to_talk"


class SatelliteCodec(StrEnum):
    """How the satellite sends audio; the names are those of the wire contract."""

    OPUS = "opus"
    FLAC = "flac"
    PCM_S16LE = "pcm_s16le"


class VadConfig(Section):
    """Where an utterance begins and ends."""

    aggressiveness: int = Field(default=2, ge=0, le=3)
    """Mode of webrtcvad: 0 takes most for a voice, 3 takes least."""
    begin_db: float = Field(default=9.0, ge=0, le=40)
    """How far above the noise of the room speech begins, in dB."""
    go_on_db: float = Field(default=5.0, ge=0, le=40)
    """How far above the noise of the room it goes on once it has begun, in dB."""
    min_speech_ms: int = Field(default=150, ge=30, le=480)
    """Speech within half a second, at least, for an utterance to begin, in milliseconds."""
    pre_roll_ms: int = Field(default=300, ge=0, le=2000)
    """Audio before the first sound of speech that belongs to the utterance, in milliseconds."""
    hangover_ms: int = Field(default=600, ge=60, le=5000)
    """Pause after the last sound of speech that ends it, in milliseconds."""
    max_utterance_s: float = Field(default=20.0, ge=1, le=30)
    """Length at which an utterance ends in any case, in seconds."""

    @model_validator(mode="after")
    def _begins_above_where_it_goes_on(self) -> VadConfig:
        if self.go_on_db > self.begin_db:
            raise ValueError("go_on_db is above begin_db; speech goes on where it is weaker")
        return self


class CleanupConfig(Section):
    """What is done to the audio before anything else hears it."""

    high_pass: bool = True
    """Take out rumble and hum below the voice."""
    auto_gain: bool = False
    """Make quiet voices louder, by `max_gain_db` at most."""
    max_gain_db: float = Field(default=18.0, ge=0, le=40)
    """Most that `auto_gain` amplifies, in dB."""
    noise_suppression: bool = False
    """Take out steady noise. Together with `high_pass` it saved no words when measured."""


class SatelliteConfig(Section):
    """A microphone that sends speech, and only speech."""

    device: SatelliteName | None = None
    """Name of this satellite in its topics; null: the name of the machine."""
    mode: ListenMode = ListenMode.ALWAYS
    """`always`, `wake` (once after each wake-up) or `push_to_talk` (while told to)."""
    wake_topic: WakeTopic | None = Field(default=None, min_length=1)
    """Topic filter of a wake-word engine: any message there wakes the satellite."""
    listen_timeout_s: float = Field(default=8.0, ge=1, le=60)
    """How long a satellite that was woken waits for speech, in seconds."""
    playing_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    """How long it does not listen after `{"playing": true}` if no `false` follows, in seconds."""
    microphone: str | None = Field(default=None, min_length=1, max_length=256)
    """Microphone by name or a part of it, see --list-devices; null: the default one."""
    codec: SatelliteCodec = SatelliteCodec.OPUS
    """`opus` (small), `flac` (exact, half the size) or `pcm_s16le` (exact, no work)."""
    opus_kbps: int = Field(default=32, ge=16, le=48)
    """Bit rate of Opus in kbit/s; less than 32 costs the model some of its certainty."""
    qos: int = Field(default=1, ge=0, le=1)
    """MQTT quality of service of audio and marks: 1 is confirmed by the broker, 0 is not."""
    spool_max_age_s: float = Field(default=30.0, ge=1, le=600)
    """Speech older than this is never sent, in seconds. See also `limits.max_age_s`."""
    spool_max_kib: int = Field(default=2048, ge=64, le=65536)
    """Most audio that waits for a broker that is away, in KiB; the oldest is dropped first."""
    on_text: str | None = Field(default=None, min_length=1, max_length=1024)
    """Command that is run for each transcript, as in `notify-send {text}`; without a shell."""
    vad: VadConfig = Field(default_factory=VadConfig)
    """Where an utterance begins and ends."""
    cleanup: CleanupConfig = Field(default_factory=CleanupConfig)
    """What is done to the audio first."""

    @field_validator("device")
    @classmethod
    def _bridge_is_reserved(cls, device: str | None) -> str | None:
        if device == "bridge":
            raise ValueError("bridge is the name of the service itself")
        return device
