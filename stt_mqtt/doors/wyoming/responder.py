"""mDNS by the `zeroconf` package, which is an extra."""

from __future__ import annotations

from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from stt_mqtt.doors.wyoming.announce import SERVICE_TYPE, Announcement


class ZeroconfResponder:
    """Answers on all interfaces from now on."""

    def __init__(self) -> None:
        self._zeroconf = AsyncZeroconf()

    async def register(self, announcement: Announcement) -> None:
        """Announce, once the name is known to be free."""
        info = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{announcement.name}.{SERVICE_TYPE}",
            addresses=list(announcement.addresses),
            port=announcement.port,
            server=f"{announcement.name}.local.",
        )
        await (await self._zeroconf.async_register_service(info))

    async def close(self) -> None:
        """Take everything back that was announced."""
        await self._zeroconf.async_unregister_all_services()
        await self._zeroconf.async_close()
