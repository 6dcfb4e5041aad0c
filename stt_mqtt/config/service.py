"""`log:` and `service:`: how the process behaves."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from stt_mqtt.config.base import Section


class LogLevel(StrEnum):
    """Least important messages that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogConfig(Section):
    """Logs, written to standard error."""

    level: LogLevel = LogLevel.INFO
    """`debug` also writes the words that were heard; the others never do."""
    format: LogFormat = LogFormat.TEXT
    """`text` for people, `json` for log collectors (one object per line)."""


class ServiceConfig(Section):
    """The process."""

    shutdown_grace_s: float = Field(default=10.0, ge=0.0, le=300.0)
    """Time that open utterances get to be transcribed when the service stops, in seconds."""
    health_interval_s: float = Field(default=30.0, ge=1.0, le=3600.0)
    """Seconds between two messages on `stt/bridge/health`."""
