"""All targets."""

from __future__ import annotations

from tests.fuzz import containers, messages, packets, services, streams, texts
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (
    *containers.TARGETS,
    *streams.TARGETS,
    *messages.TARGETS,
    *packets.TARGETS,
    *texts.TARGETS,
    *services.TARGETS,
)
