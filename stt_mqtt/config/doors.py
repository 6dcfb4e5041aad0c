"""`hermes:`, `wyoming:` and `homeassistant:`: the doors beside the native one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from stt_mqtt.config.base import Section
from stt_mqtt.config.mqtt import BaseTopic

MAX_LISTENERS = 8

_HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_SOCKET = r"/[A-Za-z0-9_.@/+-]{1,100}"
"""Linux has no room for more than 107 bytes."""
Uri = Annotated[
    str, StringConstraints(pattern=rf"^(tcp://{_HOST}:{_PORT}|unix://{_SOCKET}|stdio://)$")
]


class Scheme(StrEnum):
    """How Wyoming is spoken."""

    TCP = "tcp"
    UNIX = "unix"
    STDIO = "stdio"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where Wyoming is spoken: host and port of `tcp`, path of `unix`."""

    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def uri(self) -> str:
        """The address as `wyoming.listen` has it."""
        if self.scheme is Scheme.TCP:
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"tcp://{host}:{self.port}"
        return f"{self.scheme.value}://{self.path}"


class HermesConfig(Section):
    """Hermes, the protocol of Rhasspy 2.5 and Snips, on the same broker."""

    enabled: bool = True
    """Off: nothing of Hermes is subscribed or answered."""


class WyomingConfig(Section):
    """Wyoming, the voice protocol of Home Assistant."""

    enabled: bool = True
    """Off: nothing listens."""
    listen: tuple[Uri, ...] = Field(default=("tcp://127.0.0.1:10300",), max_length=MAX_LISTENERS)
    """Where to listen: `tcp://0.0.0.0:10300` for the whole network, `unix:///path`, `stdio://`."""
    zeroconf: bool = True
    """Announce listeners that the network can reach, so that Home Assistant finds them."""

    @property
    def addresses(self) -> tuple[ListenAddress, ...]:
        """Where to listen, taken apart."""
        return tuple(_address(uri) for uri in self.listen)


class HomeAssistantConfig(Section):
    """Home Assistant's MQTT discovery, on the same broker."""

    enabled: bool = True
    """Off: nothing is announced to Home Assistant."""
    discovery_prefix: BaseTopic = "homeassistant"
    """Home Assistant's own setting of this name."""


def _address(uri: str) -> ListenAddress:
    parts = urlsplit(uri)
    return ListenAddress(Scheme(parts.scheme), parts.hostname or "", parts.port or 0, parts.path)
