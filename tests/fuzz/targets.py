"""All targets."""

from __future__ import annotations

from types import ModuleType

from tests.fuzz import containers, fleet, messages, packets, services, streams, texts, web, wyoming
from tests.fuzz.target import Target

MODULES: tuple[ModuleType, ...] = (
    containers,
    streams,
    messages,
    packets,
    texts,
    services,
    wyoming,
    web,
    fleet,
)
"""One for each family. A worker imports only what it needs."""
TARGETS: tuple[Target, ...] = tuple(target for module in MODULES for target in module.TARGETS)
FAMILY = {target.name: module.__name__ for module in MODULES for target in module.TARGETS}
"""The module of each target."""
