"""`audio:`: how audio is decoded."""

from __future__ import annotations

from stt_mqtt.config.section import Section


class AudioConfig(Section):
    """How audio is decoded."""

    isolate: bool = False
    """Decode each utterance in a process of its own, confined by the system. Needs Linux."""
