"""Announces the Wyoming door by mDNS, so that Home Assistant discovers it."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stt_mqtt.config import ListenAddress, Scheme

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

log = logging.getLogger(__name__)

SERVICE_TYPE = "_wyoming._tcp.local."
REGISTER_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
MACHINE_ID = Path("/etc/machine-id")


class Announcer:
    """Announces addresses in the background. A failure is a warning in the log.

    `machine`: unique id of this machine. Needs the optional package `zeroconf`.
    """

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._zeroconf: AsyncZeroconf | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def announce(self, address: ListenAddress) -> None:
        """Announce a listening address, unless it is a loopback address."""
        if address.scheme is not Scheme.TCP:
            return
        task = asyncio.create_task(self._announce(address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Withdraw all announcements."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await zeroconf.async_unregister_all_services()
                    await zeroconf.async_close()
            except Exception as error:
                log.warning("zeroconf could not be ended in good order: %r", error)

    async def _announce(self, address: ListenAddress) -> None:
        try:
            async with asyncio.timeout(REGISTER_TIMEOUT_S):
                if reachable := await _reachable(address):
                    await self._register(reachable, address.port)
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

    async def _register(self, reachable: list[_IP], port: int) -> None:
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

        if self._zeroconf is None:
            self._zeroconf = AsyncZeroconf()
        name = install_name(self._machine, port)
        info = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{name}.{SERVICE_TYPE}",
            addresses=[ip.packed for ip in reachable],
            port=port,
            server=f"{name}.local.",
        )
        # The second await returns when the name has been checked to be free.
        await (await self._zeroconf.async_register_service(info))
        log.info("announced by zeroconf as %s", name)


def install_name(machine: str, port: int) -> str:
    """A permanent name that is unique to this machine and port."""
    return f"stt-mqtt-{hashlib.sha256(f'{machine}:{port}'.encode()).hexdigest()[:8]}"


def machine_id(path: Path = MACHINE_ID) -> str:
    """The unique id of this machine: the machine id of systemd, else the host name."""
    with suppress(OSError, UnicodeError):
        if found := path.read_text(encoding="ascii").strip():
            return found
    return socket.gethostname()


_IP = ipaddress.IPv4Address | ipaddress.IPv6Address


async def _reachable(address: ListenAddress) -> list[_IP]:
    """The IP addresses by which other machines reach `address`; none for loopback."""
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    )
    resolved = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    own = [default_route_address(ip) if ip.is_unspecified else ip for ip in resolved]
    return [ip for ip in dict.fromkeys(own) if not ip.is_loopback]


def default_route_address(unspecified: _IP) -> _IP:
    """The IP address of this machine on its default route. Sends nothing."""
    family, beyond = socket.AF_INET, "192.0.2.1"
    if isinstance(unspecified, ipaddress.IPv6Address):
        family, beyond = socket.AF_INET6, "2001:db8::1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((beyond, 9))
        return ipaddress.ip_address(probe.getsockname()[0])
