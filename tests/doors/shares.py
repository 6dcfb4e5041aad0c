"""The share of a gateway that the test decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from stt_mqtt.core.ownership import Ownership


@dataclass
class Share(Ownership):
    """One of several gateways. It owns `names`, with `bridge` for the lead."""

    names: set[str] = field(default_factory=set)
    live: set[str] = field(default_factory=lambda: {"a"})
    told: list[str] = field(default_factory=list)
    is_alone: bool = False

    shared = True
    gateway = "a"
    deadline = None

    @property
    def leads(self) -> bool:
        return self.owns("bridge")

    @property
    def alone(self) -> bool:
        return self.is_alone

    def owns(self, name: str) -> bool:
        return name in self.names

    def is_live(self, gateway: str) -> bool:
        return gateway in self.live

    def connected(self) -> None:
        self.told.append("connected")

    def disconnected(self) -> None:
        self.told.append("disconnected")

    def heard(self, payload: bytes) -> None:
        self.told.append(payload.decode())

    def said_offline(self) -> bool:
        self.told.append("offline?")
        return False

    def say_goodbye(self) -> None:
        self.told.append("goodbye")

    def tick(self) -> None:
        return
