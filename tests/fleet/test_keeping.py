"""A connection that is kept although a server is cut off, and given up when the process ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.errors import FleetError
from stt_mqtt.fleet.connection import FleetConnection
from tests.fleet.peers import a_fleet
from tests.virtual_time import run_in_virtual_time
from tools.brokers import Certificates
from tools.nats_servers import NatsServer, a_nats_server, needs_nats

FEW_BYTES = 1024


class Cable:
    """A way to a server. When it is cut, no connection hears of it, and new ones are possible."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self._pumps: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> str:
        """Return the address of the server at this end."""
        self._listener = await asyncio.start_server(
            self._connect, self._server.host, 0, limit=FEW_BYTES
        )
        host, port = self._listener.sockets[0].getsockname()
        return f"nats://{host}:{port}"

    async def cut(self) -> None:
        """Nothing passes any more on the connections that there are."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.wait(self._pumps)

    async def close(self) -> None:
        await self.cut()
        self._listener.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            self._server.host, self._server.port, limit=FEW_BYTES
        )
        self._writers += writer, far_writer
        self._pumps.append(asyncio.create_task(_pump(reader, far_writer)))
        self._pumps.append(asyncio.create_task(_pump(far_reader, writer)))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@needs_nats
@pytest.mark.parametrize(
    ("tls", "sends"),
    [(False, True), (True, True), (True, False)],
    ids=["plain", "TLS", "TLS, nothing to send"],
)
def test_a_process_whose_server_is_cut_off_is_in_the_fleet_again_after_some_seconds(
    tmp_path: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tls: bool,
    sends: bool,
) -> None:
    monkeypatch.setattr("stt_mqtt.fleet.link.PING_INTERVAL_S", 0.3)
    lines, options = "", dict[str, Any]()
    if tls:
        files = f'cert_file: "{certificates.server}", key_file: "{certificates.server_key}"'
        lines = f"tls {{ {files} }}"
        options = {"tls": {"ca_file": str(certificates.ca)}}

    async def scenario() -> None:
        cable = Cable(server)
        try:
            async with a_fleet(server, servers=(await cable.open(),), **options) as fleet:
                gateway = await fleet.gateway()
                await cable.cut()
                times = gateway.events.count("ready")
                # The socket takes some of it.
                for _ in range(10 if sends else 0):
                    with suppress(FleetError):
                        await gateway.connection.say_names(bytes(1_000_000))
                # TLS says goodbye for 30 s.
                async with asyncio.timeout(20.0):
                    await gateway.ready(times + 1)
        finally:
            await cable.close()

    with a_nats_server(tmp_path, lines) as server:
        asyncio.run(scenario())


def test_a_process_ends_although_the_cancellation_of_its_login_gets_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hears = asyncio.Event()

    async def connect(*_: Any) -> None:
        while not hears.is_set():
            with suppress(asyncio.CancelledError):
                await hears.wait()
        raise FleetError

    async def scenario() -> None:
        connection = FleetConnection(FleetConfig(servers=("nats://server:4222",)), "hall")
        await connection.open()
        await asyncio.sleep(1.0)
        closing = asyncio.create_task(connection.close(1.0))
        await asyncio.wait({closing}, timeout=10.0)
        is_closed = closing.done()
        hears.set()
        await asyncio.sleep(10.0)
        assert is_closed
        assert connection.failure == "closed"
        assert len(asyncio.all_tasks()) == 1

    monkeypatch.setattr("stt_mqtt.fleet.keeping.connect", connect)
    run_in_virtual_time(scenario())
