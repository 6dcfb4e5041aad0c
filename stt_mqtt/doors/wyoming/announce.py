"""Tells the network by mDNS where Wyoming is spoken, so that Home Assistant finds it."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stt_mqtt.config import ListenAddress, Scheme

log = logging.getLogger(__name__)

SERVICE_TYPE = "_wyoming._tcp.local."
REGISTER_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is told: a name on the network, and the addresses (packed) and port behind it."""

    name: str
    addresses: Sequence[bytes]
    port: int


class Responder(Protocol):
    """Who answers the network's questions."""

    async def register(self, announcement: Announcement) -> None:
        """Announce, once the name is known to be free."""

    async def close(self) -> None:
        """Take everything back that was announced."""


class Announcer:
    """Announces addresses in the background. A failure is a warning, never more."""

    def __init__(self, machine: str, open_responder: Callable[[], Responder]) -> None:
        self._machine = machine
        self._open_responder = open_responder
        self._responder: Responder | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def announce(self, address: ListenAddress) -> None:
        """Announce an address that is listened on, unless only this machine can reach it."""
        if address.scheme is not Scheme.TCP:
            return
        task = asyncio.create_task(self._announce(address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Take everything back."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        responder, self._responder = self._responder, None
        if responder is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await responder.close()
            except Exception as error:
                log.warning("zeroconf could not be ended in good order: %r", error)

    async def _announce(self, address: ListenAddress) -> None:
        try:
            async with asyncio.timeout(REGISTER_TIMEOUT_S):
                reachable = await _reachable(address)
                if not reachable:
                    return
                if self._responder is None:
                    self._responder = self._open_responder()
                name = install_name(self._machine, address.port)
                await self._responder.register(
                    Announcement(name, [ip.packed for ip in reachable], address.port)
                )
            log.info("announced by zeroconf as %s", name)
        except ModuleNotFoundError:
            log.info(
                "wyoming is not announced on the network; that needs: "
                "pip install 'stt-mqtt[zeroconf]'"
            )
        except Exception as error:
            log.warning(
                "wyoming could not be announced by zeroconf (%r); enter its address in Home "
                "Assistant by hand, or set wyoming.zeroconf: false",
                error,
            )


def install_name(machine: str, port: int) -> str:
    """A name that stays the same for this machine and port and is nobody else's."""
    return f"stt-mqtt-{hashlib.sha256(f'{machine}:{port}'.encode()).hexdigest()[:8]}"


def machine_id() -> str:
    """What tells this machine from others: systemd's machine id, else the host's name."""
    with suppress(OSError, UnicodeError):
        if found := _MACHINE_ID.read_text(encoding="ascii").strip():
            return found
    return socket.gethostname()


_IP = ipaddress.IPv4Address | ipaddress.IPv6Address


async def _reachable(address: ListenAddress) -> list[_IP]:
    """Where others reach what listens on `address`; nowhere if it is a loopback."""
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    )
    resolved = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    own = [_outgoing(ip) if ip.is_unspecified else ip for ip in resolved]
    return [ip for ip in dict.fromkeys(own) if not ip.is_loopback]


def _outgoing(unspecified: _IP) -> _IP:
    """The address by which this machine is known where its default route leads. Sends nothing."""
    family, beyond = socket.AF_INET, "192.0.2.1"
    if isinstance(unspecified, ipaddress.IPv6Address):
        family, beyond = socket.AF_INET6, "2001:db8::1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((beyond, 9))
        return ipaddress.ip_address(probe.getsockname()[0])
