"""All targets."""

from __future__ import annotations

from tests.fuzz import containers, streams
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (*containers.TARGETS, *streams.TARGETS)
