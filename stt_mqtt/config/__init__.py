"""The configuration: the models of its sections, and the reader of YAML and environment."""

from stt_mqtt.config.audio import KeepAudioConfig
from stt_mqtt.config.changes import Changes, compare, merge
from stt_mqtt.config.devices import DeviceConfig, is_glob
from stt_mqtt.config.export import json_schema, without_secrets
from stt_mqtt.config.fleet import FleetConfig, Storage
from stt_mqtt.config.network import (
    BrokerConfig,
    BrokerMode,
    HermesConfig,
    HomeAssistantConfig,
    ListenAddress,
    MqttConfig,
    Protocol,
    Scheme,
    TlsConfig,
    WyomingConfig,
    WyomingEndpointing,
)
from stt_mqtt.config.phrases import NamesFromHomeAssistantConfig, PhrasesConfig
from stt_mqtt.config.reader import read_config
from stt_mqtt.config.root import Config
from stt_mqtt.config.satellite import (
    CleanupConfig,
    ListenMode,
    SatelliteCodec,
    SatelliteConfig,
    VadConfig,
)
from stt_mqtt.config.service import (
    AUTO,
    EngineConfig,
    GateConfig,
    LadderConfig,
    LimitsConfig,
    LogConfig,
    LogFormat,
    LogLevel,
    RungConfig,
    ServiceConfig,
)
from stt_mqtt.config.web import WebConfig

__all__ = [
    "AUTO",
    "BrokerConfig",
    "BrokerMode",
    "Changes",
    "CleanupConfig",
    "Config",
    "DeviceConfig",
    "EngineConfig",
    "FleetConfig",
    "GateConfig",
    "HermesConfig",
    "HomeAssistantConfig",
    "KeepAudioConfig",
    "LadderConfig",
    "LimitsConfig",
    "ListenAddress",
    "ListenMode",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "MqttConfig",
    "NamesFromHomeAssistantConfig",
    "PhrasesConfig",
    "Protocol",
    "RungConfig",
    "SatelliteCodec",
    "SatelliteConfig",
    "Scheme",
    "ServiceConfig",
    "Storage",
    "TlsConfig",
    "VadConfig",
    "WebConfig",
    "WyomingConfig",
    "WyomingEndpointing",
    "compare",
    "is_glob",
    "json_schema",
    "merge",
    "read_config",
    "without_secrets",
]
