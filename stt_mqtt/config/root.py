"""The whole configuration, and which sections can change while the service runs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, field_validator, model_validator

from stt_mqtt.config.audio import AudioConfig, KeepAudioConfig
from stt_mqtt.config.devices import DeviceConfig, is_glob, settings_for
from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.config.network import (
    BrokerConfig,
    HermesConfig,
    HomeAssistantConfig,
    MqttConfig,
    WyomingConfig,
)
from stt_mqtt.config.phrases import PhrasesConfig
from stt_mqtt.config.satellite import SatelliteConfig
from stt_mqtt.config.section import KeyType, Section
from stt_mqtt.config.service import (
    DEFAULT_RUNG,
    EngineConfig,
    GateConfig,
    LadderConfig,
    LimitsConfig,
    LogConfig,
    ServiceConfig,
)
from stt_mqtt.config.web import WebConfig
from stt_mqtt.nodes import Role
from stt_mqtt.rungs import Rung

RESERVED_NAME = "bridge"
"""The topic level of the service, which no device may have."""

RUNG_KEYS = ("model", "beam_size", "compute_type")
"""Keys of `engine` that each rung of a ladder sets itself."""

NAME_PATTERN = r"^[A-Za-z0-9_.:*?\[\]!-]{1,64}$"
"""Keys of `devices`: names and globs."""
DevicePattern = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class Config(Section):
    """The configuration file."""

    RESTART_SECTIONS: ClassVar[frozenset[str]] = frozenset(
        {
            "broker",
            "mqtt",
            "hermes",
            "wyoming",
            "homeassistant",
            "web",
            "audio",
            "engine",
            "fleet",
            "ladder",
            "limits",
            "phrases",
            "satellite",
        }
    )
    """Sections whose changes take a restart; the others are reloaded while running."""

    broker: BrokerConfig = Field(default_factory=BrokerConfig)
    """Which broker to use: `external`, or `embedded` for one inside this process."""
    mqtt: MqttConfig = Field(default_factory=MqttConfig)
    """Connection to the broker."""
    hermes: HermesConfig = Field(default_factory=HermesConfig)
    """Hermes, the protocol of Rhasspy and Snips."""
    wyoming: WyomingConfig = Field(default_factory=WyomingConfig)
    """Wyoming, the protocol of Home Assistant's voice assistants."""
    homeassistant: HomeAssistantConfig = Field(default_factory=HomeAssistantConfig)
    """Devices in Home Assistant, by MQTT discovery."""
    web: WebConfig = Field(default_factory=WebConfig)
    """The pages over HTTP: status, and the browser as a satellite."""
    audio: AudioConfig = Field(default_factory=AudioConfig)
    """How audio is decoded."""
    engine: EngineConfig = Field(default_factory=EngineConfig)
    """The Whisper model and how it runs."""
    ladder: LadderConfig = Field(default_factory=LadderConfig)
    """Models to choose from by load."""
    gate: GateConfig = Field(default_factory=GateConfig)
    """What counts as speech."""
    phrases: PhrasesConfig = Field(default_factory=PhrasesConfig)
    """The sentences of the home and the names in them."""
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    """Limits per utterance and over all devices."""
    device_defaults: DeviceConfig = Field(default_factory=DeviceConfig)
    """Settings of all devices. Entries of `devices` override them."""
    devices: dict[DevicePattern, DeviceConfig] = Field(default_factory=dict)
    """Settings of devices, by name or glob. Other keys come from `device_defaults`."""
    keep_audio: KeepAudioConfig = Field(default_factory=KeepAudioConfig)
    """Recordings of what was said."""
    fleet: FleetConfig | None = None
    """Several processes that share the work over NATS. null: this process works alone."""
    satellite: SatelliteConfig = Field(default_factory=SatelliteConfig)
    """Settings of `stt-mqtt satellite`. The service ignores them."""
    log: LogConfig = Field(default_factory=LogConfig)
    """Logs."""
    service: ServiceConfig = Field(default_factory=ServiceConfig)
    """Behaviour of the service process."""

    @field_validator("devices")
    @classmethod
    def _bridge_is_reserved(cls, devices: dict[str, DeviceConfig]) -> dict[str, DeviceConfig]:
        if RESERVED_NAME in devices:
            raise ValueError(f"{RESERVED_NAME} is the name of the service itself")
        return devices

    @model_validator(mode="after")
    def _places_for_named_devices(self) -> Config:
        if len(self.named_devices) > self.limits.max_devices:
            raise ValueError("devices has more names than limits.max_devices has places")
        return self

    @model_validator(mode="after")
    def _models_stand_in_one_place(self) -> Config:
        twice = [key for key in RUNG_KEYS if key in self.engine.model_fields_set]
        if self.ladder.rungs and twice:
            raise ValueError(
                f"engine.{twice[0]} has no effect beside ladder.rungs; "
                f"write {twice[0]} into the rungs that it is for"
            )
        return self

    @model_validator(mode="after")
    def _every_door_has_its_own_topics(self) -> Config:
        base = self.mqtt.base_topic
        others = [
            *(["hermes", "rhasspy"] if self.hermes.enabled else []),
            *([self.homeassistant.discovery_prefix] if self.homeassistant.enabled else []),
        ]
        for other in others:
            if f"{base}/".startswith(f"{other}/") or f"{other}/".startswith(f"{base}/"):
                raise ValueError(
                    f"mqtt.base_topic and another door both use {other}; give mqtt.base_topic "
                    "another name, or switch that door off"
                )
        return self

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The ladder in force, best rung first; at least one."""
        if self.ladder.rungs:
            return tuple(listed.rung for listed in self.ladder.rungs)
        engine = self.engine
        return (Rung(DEFAULT_RUNG, engine.model, engine.beam_size, engine.compute_type),)

    @property
    def has_model(self) -> bool:
        """Whether this process transcribes. A gateway of a fleet leaves that to workers."""
        return self.fleet is None or self.fleet.role is not Role.GATEWAY

    @property
    def has_doors(self) -> bool:
        """Whether this process has doors. A worker of a fleet has none."""
        return self.fleet is None or self.fleet.role is not Role.WORKER

    @property
    def named_devices(self) -> list[str]:
        """Names of the devices that have an entry of their own, which are never forgotten."""
        return [name for name in self.devices if not is_glob(name)]

    def device(self, name: str) -> DeviceConfig:
        """Settings of the device called `name`."""
        return settings_for(name, self.device_defaults, self.devices)


ROOT = KeyType(section=Config)
"""The whole file."""


def type_at(path: tuple[str, ...]) -> KeyType:
    """Type of the key at `path`, which the configuration has."""
    key_type = ROOT
    for key in path:
        child = key_type.child(key)
        assert child is not None
        key_type = child
    return key_type
