"""Chooses who decodes the audio."""

from __future__ import annotations

import sys

from stt_mqtt.audio.decoders import IN_THIS_PROCESS, Decoders
from stt_mqtt.config.audio import AudioConfig
from stt_mqtt.errors import ConfigError


def start_decoders(config: AudioConfig) -> Decoders:
    """Start what decodes.

    Raises ConfigError if this system cannot isolate it.
    """
    if not config.isolate:
        return IN_THIS_PROCESS
    if sys.platform != "linux":
        raise ConfigError(["audio.isolate needs Linux: remove it, or use a container"])
    from stt_mqtt.engine.isolated import IsolatedDecoders

    decoders = IsolatedDecoders()
    decoders.start()
    return decoders
