"""The gateways of a fleet: who owns which name, and what they tell each other. Pure.

Names have owners by rendezvous hashing: each gateway has a score for each name, and the one with
the highest score owns it. If a gateway comes or goes, only the names move that it gets or had.

The gateways tell each other on the topic `bridge/fleet`, and in the bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from stt_mqtt.config.fleet import NodeName
from stt_mqtt.fleet.wire import load_object

MAX_GATEWAYS = 64
"""Most gateways of a fleet. Others are ignored."""
MAX_MESSAGE_BYTES: Final = 16 * 1024

_CONFIG = ConfigDict(extra="ignore", allow_inf_nan=False)
Names = Annotated[tuple[NodeName, ...], Field(max_length=MAX_GATEWAYS)]
Session = Annotated[str, Field(min_length=1, max_length=64)]


def owner(name: str, gateways: Iterable[str]) -> str | None:
    """The gateway that owns a name; None: there is no gateway."""
    return max(gateways, key=lambda gateway: (_score(gateway, name), gateway), default=None)


@checked(frozen=True, slots=True, config=_CONFIG)
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


@checked(frozen=True, slots=True, config=_CONFIG)
class Here:
    """A gateway gets the messages of the broker, on a connection that is subscribed to the input.

    `session`: a random id of its process. `asks`: the others shall say this, too. `sees`: it sees
    the others in the bucket. `joins`: its name is its own, so that it may own names. `leaving`: it
    takes no new utterances. `left`: it has none open, and says nothing more.
    """

    here: NodeName
    session: Session
    asks: bool
    sees: bool
    joins: bool
    leaving: bool = False
    left: bool = False
    v: Literal[1] = 1


@checked(frozen=True, slots=True, config=_CONFIG)
class Entry:
    """The entry of a gateway in the bucket, written once a second.

    `beat`: monotonic seconds of the gateway, which mean something only to itself. `ready`: it is
    subscribed to the input. `epoch`: the highest that it has heard of. `ring`: the id of the ring
    in force there; None: it knows none.
    """

    session: Session
    beat: float
    ready: bool
    leaving: bool
    epoch: Annotated[int, Field(ge=0, lt=2**53)]
    ring: Annotated[str, Field(max_length=64)] | None
    v: Literal[1] = 1


Message: TypeAlias = Here | Ring


def encode_message(message: Message) -> bytes:
    """A message for the topic of the gateways."""
    return _MESSAGES.dump_json(message)


def decode_message(data: bytes) -> Message:
    """A message on the topic of the gateways. Raises WireError."""
    return load_object(_MESSAGES, data, MAX_MESSAGE_BYTES)


def encode_entry(entry: Entry) -> bytes:
    """An entry for the bucket."""
    return _ENTRIES.dump_json(entry)


def decode_entry(data: bytes) -> Entry:
    """An entry in the bucket. Raises WireError."""
    return load_object(_ENTRIES, data, MAX_MESSAGE_BYTES)


def _score(gateway: str, name: str) -> bytes:
    return blake2b(f"{gateway}\0{name}".encode("utf-8", "replace"), digest_size=8).digest()


_MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)
_ENTRIES = TypeAdapter(Entry)
