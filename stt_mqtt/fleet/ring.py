"""Which gateway owns which name, by rendezvous hashing. Pure.

Each gateway has a score for each name, and the one with the highest score owns it. If a gateway
comes or goes, only the names move that it gets or had.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from stt_mqtt.config.fleet import NodeName

MAX_GATEWAYS = 64
"""Most gateways of a fleet. Others are ignored."""

Names = Annotated[tuple[NodeName, ...], Field(max_length=MAX_GATEWAYS)]


def owner(name: str, gateways: Iterable[str]) -> str | None:
    """The gateway that owns a name; None: there is no gateway."""
    return max(gateways, key=lambda gateway: (_score(gateway, name), gateway), default=None)


@checked(frozen=True, slots=True, config=ConfigDict(extra="ignore"))
class Ring:
    """The gateways that share the names, as one of them published it.

    `epoch` and `by` identify it: each gateway numbers the rings that it publishes upwards.
    `leaving`: gateways that own nothing any more and still finish what they have open.
    """

    epoch: Annotated[int, Field(ge=0, lt=2**53)]
    by: NodeName
    gateways: Names
    leaving: Names = ()
    v: Literal[1] = 1

    @property
    def id(self) -> str:
        """Identifies it among all rings of the fleet."""
        return f"{self.epoch}.{self.by}"

    @property
    def members(self) -> frozenset[str]:
        """All gateways that have something open or may open something."""
        return frozenset(self.gateways) | frozenset(self.leaving)

    def owner(self, name: str) -> str | None:
        """The gateway that owns a name."""
        return owner(name, self.gateways)


def _score(gateway: str, name: str) -> bytes:
    return blake2b(f"{gateway}\0{name}".encode("utf-8", "replace"), digest_size=8).digest()
