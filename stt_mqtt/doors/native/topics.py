"""Every topic of the native door in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias

from stt_mqtt.config.root import RESERVED_NAME

DOOR = "native"
BRIDGE = RESERVED_NAME
ONLINE, OFFLINE = b"online", b"offline"
"""What a device says of its availability, and the service of its state."""

_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_REPLY_TOPIC = 256
_MAX_TOPIC = 300
"""Longer than the longest base topic with the longest device and request."""


class Verb(StrEnum):
    """What a message from outside is about, as the rest of its topic after the device."""

    CHUNK = "audio"
    START = "audio/start"
    STOP = "audio/stop"
    ABORT = "audio/abort"
    UTTERANCE = "utterance"
    SET = "set"
    ENABLED = "enabled/set"
    AVAILABILITY = "availability"
    SATELLITE = "satellite/state"
    STATE = "state"
    SETTINGS = "settings"


_VERBS = {verb.value: verb for verb in Verb}
_BRIDGE_OUTPUT = frozenset({"state", "info", "health", "response/health_check"})


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """A topic that belongs to a device."""

    device: str
    verb: Verb


@dataclass(frozen=True, slots=True)
class BridgeRequest:
    """A topic that asks something of the service."""

    request: str


@dataclass(frozen=True, slots=True)
class BridgeOutput:
    """A topic on which a service describes itself: this one, one before it, or another one."""

    name: str


@dataclass(frozen=True, slots=True)
class IllegalDevice:
    """A topic of a device whose name is not allowed."""

    name: str


Route: TypeAlias = DeviceMessage | BridgeRequest | BridgeOutput | IllegalDevice


@dataclass(frozen=True, slots=True)
class Topics:
    """The native topics under one base topic."""

    base: str

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Filters of the native input: they do not overlap, so nothing is delivered twice."""
        return (
            f"{self.base}/+/audio/#",
            f"{self.base}/+/utterance",
            f"{self.base}/+/set",
            f"{self.base}/+/enabled/set",
            f"{self.base}/+/availability",
            f"{self.base}/+/satellite/state",
            self.of_bridge("request/+"),
            self.of_bridge("info"),
            self.of_bridge("state"),
        )

    @property
    def read_first(self) -> tuple[str, ...]:
        """Filters that are read before any input: other services, and what a previous run left."""
        return (
            self.of_bridge("request/+"),
            self.of_bridge("info"),
            self.of_bridge("response/health_check"),
            self.of_bridge("health"),
            # With the state of the service itself, which then comes twice for a moment.
            f"{self.base}/+/state",
            f"{self.base}/+/settings",
        )

    @property
    def bulk(self) -> tuple[str, ...]:
        """Filters with a retained message for each device."""
        return (f"{self.base}/+/state", f"{self.base}/+/settings")

    def parse(self, topic: str) -> Route | None:
        """What a topic is about; None if it is none of ours or names no legal device."""
        # Checked before the cache, so that nobody fills it with long topics.
        return _parse(self.base, topic) if len(topic) <= _MAX_TOPIC else None

    def of_device(self, device: str, name: str) -> str:
        """Topic of what the service says about a device."""
        return f"{self.base}/{device}/{name}"

    def of_bridge(self, name: str) -> str:
        """Topic of what the service says about itself."""
        return f"{self.base}/{BRIDGE}/{name}"

    def is_reply(self, device: str, topic: str) -> bool:
        """Whether a device may ask for a copy of its results on this topic."""
        prefix = f"{self.base}/{device}/reply/"
        return (
            topic.startswith(prefix)
            and len(prefix) < len(topic) <= _MAX_REPLY_TOPIC
            and not any(character in topic for character in "+#\0")
        )


def is_device(name: str) -> bool:
    """Whether a name is legal for a device, apart from being reserved."""
    return _DEVICE.fullmatch(name) is not None


def is_satellite(name: str) -> bool:
    """Whether a configured name may be a device of this door: an address is none."""
    try:
        ip_address(name)
    except ValueError:
        return is_device(name)
    return False


@lru_cache(maxsize=4096)
def _parse(base: str, topic: str) -> Route | None:
    """Cached because a device sends fifty chunks a second on one topic."""
    if not topic.startswith(base + "/"):
        return None
    device, _, rest = topic[len(base) + 1 :].partition("/")
    verb = _VERBS.get(rest)
    if device == BRIDGE:
        head, _, request = rest.partition("/")
        if head == "request" and is_device(request):
            return BridgeRequest(request)
        if rest in _BRIDGE_OUTPUT:
            return BridgeOutput(rest)
        return None if verb is None else IllegalDevice(device)
    if verb is None:
        return None
    return DeviceMessage(device, verb) if is_device(device) else IllegalDevice(device)
