"""All topics of the native door."""

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
"""Payloads of the availability of a device and the state of the service."""

_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_REPLY_TOPIC = 256
_MAX_TOPIC = 300
"""Longest topic that is parsed: more than the longest legal one."""


class Verb(StrEnum):
    """What a message of a device is about: the rest of its topic after the device."""

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
    RESULT = "result"


_VERBS = {verb.value: verb for verb in Verb}
NAMES = "names"
FLEET = "fleet"
_BRIDGE_OUTPUT = frozenset({"state", "info", "health", "response/health_check"})


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """A topic of a device."""

    device: str
    verb: Verb


@dataclass(frozen=True, slots=True)
class BridgeRequest:
    """A topic with a request to the service."""

    request: str


@dataclass(frozen=True, slots=True)
class BridgeOutput:
    """A topic that this service, a previous one or another one publishes about itself."""

    name: str


@dataclass(frozen=True, slots=True)
class BridgeNames:
    """The topic with names of the home, which somebody else publishes."""


@dataclass(frozen=True, slots=True)
class BridgeFleet:
    """The topic on which the gateways of a fleet agree who owns which device."""


@dataclass(frozen=True, slots=True)
class IllegalDevice:
    """A topic of a device with an illegal name."""

    name: str


Route: TypeAlias = (
    DeviceMessage | BridgeRequest | BridgeOutput | BridgeNames | BridgeFleet | IllegalDevice
)


@dataclass(frozen=True, slots=True)
class Topics:
    """The native topics under one base topic."""

    base: str

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Filters of the input. They do not overlap, so no message arrives twice."""
        return (
            f"{self.base}/+/audio/#",
            f"{self.base}/+/utterance",
            f"{self.base}/+/set",
            f"{self.base}/+/enabled/set",
            f"{self.base}/+/availability",
            f"{self.base}/+/satellite/state",
            self.of_bridge("request/+"),
            self.of_bridge(NAMES),
            self.of_bridge("info"),
            self.of_bridge("state"),
        )

    @property
    def of_fleet(self) -> tuple[str, ...]:
        """Filters that a gateway of a fleet needs besides."""
        return self.of_bridge(FLEET), f"{self.base}/+/{Verb.RESULT}"

    @property
    def read_first(self) -> tuple[str, ...]:
        """Filters read before any input: other services, and retained by the previous run."""
        return (
            self.of_bridge("request/+"),
            self.of_bridge(NAMES),
            self.of_bridge("info"),
            self.of_bridge("response/health_check"),
            self.of_bridge("health"),
            # This includes the state of the service, which then arrives twice for a moment.
            f"{self.base}/+/state",
            f"{self.base}/+/settings",
        )

    @property
    def bulk(self) -> tuple[str, ...]:
        """Filters with a retained message per device."""
        return (f"{self.base}/+/state", f"{self.base}/+/settings")

    def parse(self, topic: str) -> Route | None:
        """Parse a topic. None if it is not one of ours."""
        # Checked before the cache, so that long topics cannot fill it.
        return _parse(self.base, topic) if len(topic) <= _MAX_TOPIC else None

    def of_device(self, device: str, name: str) -> str:
        """A topic that the service publishes about a device."""
        return f"{self.base}/{device}/{name}"

    def of_bridge(self, name: str) -> str:
        """A topic that the service publishes about itself."""
        return f"{self.base}/{BRIDGE}/{name}"

    def is_reply(self, device: str, topic: str) -> bool:
        """Whether a device may request copies of its results on this topic."""
        prefix = f"{self.base}/{device}/reply/"
        return (
            topic.startswith(prefix)
            and len(prefix) < len(topic) <= _MAX_REPLY_TOPIC
            and not any(character in topic for character in "+#\0")
        )


def is_device(name: str) -> bool:
    """Whether a device name is legal. Reserved names are not checked."""
    return _DEVICE.fullmatch(name) is not None


def is_satellite(name: str) -> bool:
    """Whether a configured name may be a device of this door. IP addresses are not."""
    try:
        ip_address(name)
    except ValueError:
        return is_device(name)
    return False


@lru_cache(maxsize=4096)
def _parse(base: str, topic: str) -> Route | None:
    """Parse a topic. Cached, because a device sends 50 chunks a second on one topic."""
    if not topic.startswith(base + "/"):
        return None
    device, _, rest = topic[len(base) + 1 :].partition("/")
    verb = _VERBS.get(rest)
    if device == BRIDGE:
        about_service = _parse_bridge(rest)
        return IllegalDevice(device) if about_service is None and verb else about_service
    if verb is None:
        return None
    return DeviceMessage(device, verb) if is_device(device) else IllegalDevice(device)


def _parse_bridge(rest: str) -> Route | None:
    """Parse what follows `stt/bridge/`."""
    head, _, request = rest.partition("/")
    if head == "request" and is_device(request):
        return BridgeRequest(request)
    if rest == NAMES:
        return BridgeNames()
    if rest == FLEET:
        return BridgeFleet()
    return BridgeOutput(rest) if rest in _BRIDGE_OUTPUT else None
