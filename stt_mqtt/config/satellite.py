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
    """Mode of webrtcvad. 0 takes most sounds for a voice, 3 the fewest."""
    begin_db: float = Field(default=9.0, ge=0, le=40)
    """Level above the noise of the room at which speech begins, in dB."""
    go_on_db: float = Field(default=5.0, ge=0, le=40)
    """Level above the noise of the room at which speech goes on, in dB."""
    min_speech_ms: int = Field(default=150, ge=30, le=480)
    """Speech that 500 ms of audio must have for an utterance to begin, in milliseconds."""
    pre_roll_ms: int = Field(default=300, ge=0, le=2000)
    """Audio before the beginning of speech that is sent as well, in milliseconds."""
    hangover_ms: int = Field(default=600, ge=60, le=5000)
    """Pause after speech that ends the utterance, in milliseconds."""
    max_utterance_s: float = Field(default=20.0, ge=1, le=30)
    """Longest utterance, in seconds."""

    @model_validator(mode="after")
    def _begins_above_where_it_goes_on(self) -> VadConfig:
        if self.go_on_db > self.begin_db:
            raise ValueError("go_on_db is above begin_db; speech goes on where it is weaker")
        return self


class CleanupConfig(Section):
    """Clean-up of the audio before speech detection and sending."""

    high_pass: bool = True
    """Filter out rumble and hum below the voice."""
    auto_gain: bool = False
    """Make quiet voices louder, by `max_gain_db` at most."""
    max_gain_db: float = Field(default=18.0, ge=0, le=40)
    """Largest gain of `auto_gain`, in dB."""
    noise_suppression: bool = False
    """Reduce steady noise. Measured together with `high_pass`, it corrected no words."""


class SatelliteConfig(Section):
    """`stt-mqtt satellite`: a microphone that sends only speech."""

    device: SatelliteName | None = None
    """Name of the satellite in its topics. null: the name of the machine."""
    mode: ListenMode = ListenMode.ALWAYS
    """`always`, `wake` (one utterance per wake-up) or `push_to_talk` (while a button is held)."""
    wake_topic: WakeTopic | None = Field(default=None, min_length=1)
    """Topic filter of a wake-word engine. Any message on it wakes the satellite."""
    listen_timeout_s: float = Field(default=8.0, ge=1, le=60)
    """Time that the satellite waits for speech after a wake-up, in seconds."""
    playing_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    """Time after `{"playing": true}` until it listens again if no `false` comes, in seconds."""
    microphone: str | None = Field(default=None, min_length=1, max_length=256)
    """Microphone, by its name or a part of it (see `--list-devices`). null: the default one."""
    codec: SatelliteCodec = SatelliteCodec.OPUS
    """`opus` (smallest), `flac` (lossless, under half of PCM) or `pcm_s16le` (uncompressed)."""
    opus_kbps: int = Field(default=32, ge=16, le=48)
    """Bit rate of Opus, in kbit/s. Below 32, the model is less certain."""
    qos: int = Field(default=1, ge=0, le=1)
    """MQTT QoS of audio, start and stop. 1: the broker confirms each message. 0: it does not."""
    spool_max_age_s: float = Field(default=30.0, ge=1, le=600)
    """Age above which speech is not sent, in seconds. See also `limits.max_age_s`."""
    spool_max_kib: int = Field(default=2048, ge=64, le=65536)
    """Audio kept while the broker is away, in KiB. The oldest is dropped first."""
    on_text: str | None = Field(default=None, min_length=1, max_length=1024)
    """Command to run for each transcript, such as `notify-send {text}`. No shell is used."""
    vad: VadConfig = Field(default_factory=VadConfig)
    """Where an utterance begins and ends."""
    cleanup: CleanupConfig = Field(default_factory=CleanupConfig)
    """Clean-up of the audio."""

    @field_validator("device")
    @classmethod
    def _bridge_is_reserved(cls, device: str | None) -> str | None:
        if device == "bridge":
            raise ValueError("bridge is the name of the service itself")
        return device
