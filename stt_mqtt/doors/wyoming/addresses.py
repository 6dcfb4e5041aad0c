"""Names of addresses: our own in messages, and a client's as the configuration knows it. Pure."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

from stt_mqtt.config import ListenAddress, Scheme

UNIX_PEER = "wyoming:unix"
STDIO_PEER = "wyoming:stdio"
UNKNOWN_PEER = "wyoming:unknown"
"""With a colon, which no native device can have in its name."""


def uri_of(address: ListenAddress) -> str:
    """The address as `wyoming.listen` has it."""
    if address.scheme is Scheme.TCP:
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"tcp://{host}:{address.port}"
    return f"{address.scheme.value}://{address.path}"


def peer_name(peername: object) -> str:
    """Name that selects the settings of a TCP client: its address, as IPv4 where it is mapped.

    `peername` is what the socket says; nothing if the client has already left.
    """
    if not isinstance(peername, tuple) or not peername:
        return UNKNOWN_PEER
    host = str(peername[0]).partition("%")[0]
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return host
