"""The configuration: one small pydantic file per YAML section, and the YAML reader."""

from stt_mqtt.config.changes import Changes, compare, merge
from stt_mqtt.config.devices import DeviceConfig, is_glob
from stt_mqtt.config.doors import (
    HermesConfig,
    HomeAssistantConfig,
    ListenAddress,
    Scheme,
    WyomingConfig,
)
from stt_mqtt.config.engine import EngineConfig, GateConfig
from stt_mqtt.config.ladder import AUTO, LadderConfig, RungConfig
from stt_mqtt.config.limits import LimitsConfig
from stt_mqtt.config.mqtt import BrokerConfig, BrokerMode, MqttConfig, Protocol, TlsConfig
from stt_mqtt.config.public import without_secrets
from stt_mqtt.config.reader import read_config
from stt_mqtt.config.root import Config
from stt_mqtt.config.satellite import (
    CleanupConfig,
    ListenMode,
    SatelliteCodec,
    SatelliteConfig,
    VadConfig,
)
from stt_mqtt.config.schema import json_schema
from stt_mqtt.config.service import LogConfig, LogFormat, LogLevel, ServiceConfig

__all__ = [
    "AUTO",
    "BrokerConfig",
    "BrokerMode",
    "Changes",
    "CleanupConfig",
    "Config",
    "DeviceConfig",
    "EngineConfig",
    "GateConfig",
    "HermesConfig",
    "HomeAssistantConfig",
    "LadderConfig",
    "LimitsConfig",
    "ListenAddress",
    "ListenMode",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "MqttConfig",
    "Protocol",
    "RungConfig",
    "SatelliteCodec",
    "SatelliteConfig",
    "Scheme",
    "ServiceConfig",
    "TlsConfig",
    "VadConfig",
    "WyomingConfig",
    "compare",
    "is_glob",
    "json_schema",
    "merge",
    "read_config",
    "without_secrets",
]
