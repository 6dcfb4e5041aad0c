"""The announcement on the network, with a fake of the `zeroconf` package."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stt_mqtt.config import WyomingConfig
from stt_mqtt.doors.wyoming import announce
from stt_mqtt.doors.wyoming.announce import Announcer, install_name, machine_id
from tests.doors.wyoming.peers import TcpBench, drive, until

ADDRESS = "tcp://192.0.2.7:10300"


class Network:
    """A network that takes every name, unless it is told to fail or to hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.close_error: Exception | None = None
        self.hangs = False
        self.opened = 0
        self.calls: list[str] = []
        self.registered: list[dict[str, Any]] = []
        module = ModuleType("zeroconf.asyncio")
        module.__dict__["AsyncZeroconf"] = self._open
        module.__dict__["AsyncServiceInfo"] = lambda *names, **rest: {"names": names, **rest}
        monkeypatch.setitem(sys.modules, "zeroconf", ModuleType("zeroconf"))
        monkeypatch.setitem(sys.modules, "zeroconf.asyncio", module)

    async def async_register_service(self, info: dict[str, Any]) -> Awaitable[None]:
        if self.error is not None:
            raise self.error
        self.registered.append(info)
        if self.hangs:
            await asyncio.Event().wait()
        return asyncio.sleep(0)

    async def async_unregister_all_services(self) -> None:
        self.calls.append("unregister")

    async def async_close(self) -> None:
        self.calls.append("close")
        if self.close_error is not None:
            raise self.close_error

    def _open(self) -> Network:
        self.opened += 1
        return self


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def announce_and_close(*uris: str) -> None:
    async def scenario() -> None:
        announcer = Announcer("machine")
        for address in WyomingConfig(listen=uris).addresses:
            announcer.announce(address)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        await announcer.close()
        await announcer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "uri",
    [
        "tcp://127.0.0.1:10300",
        "tcp://[::1]:10300",
        "tcp://localhost:10300",
        "unix:///x",
        "stdio://",
    ],
)
def test_what_only_this_machine_can_reach_is_not_announced(uri: str, network: Network) -> None:
    announce_and_close(uri)
    assert (network.opened, network.calls) == (0, [])


def test_an_address_of_the_network_is_announced_with_a_host_name_of_its_own_and_withdrawn(
    network: Network,
) -> None:
    announce_and_close(ADDRESS)
    name = install_name("machine", 10300)
    assert network.registered == [
        {
            "names": ("_wyoming._tcp.local.", f"{name}._wyoming._tcp.local."),
            "addresses": [bytes([192, 0, 2, 7])],
            "port": 10300,
            "server": f"{name}.local.",
        }
    ]
    assert network.calls == ["unregister", "close"]


def test_several_addresses_share_one_responder(network: Network) -> None:
    announce_and_close(ADDRESS, "tcp://192.0.2.7:10301")
    assert sorted(info["port"] for info in network.registered) == [10300, 10301]
    assert (network.opened, network.calls) == (1, ["unregister", "close"])


def test_all_interfaces_are_announced_by_the_address_of_the_default_route(
    monkeypatch: pytest.MonkeyPatch, network: Network
) -> None:
    own = ipaddress.ip_address("192.168.1.5")
    monkeypatch.setattr(announce, "default_route_address", lambda _: own)
    announce_and_close("tcp://0.0.0.0:10300")
    assert network.registered[0]["addresses"] == [own.packed]


@pytest.mark.parametrize("family", [4, 6])
def test_the_address_of_the_default_route_is_one_of_ours(family: int) -> None:
    unspecified = ipaddress.ip_address("0.0.0.0" if family == 4 else "::")
    try:
        own = announce.default_route_address(unspecified)
    except OSError:
        return  # A machine without a network of this kind announces nothing.
    assert own.version == family
    assert not own.is_unspecified


def test_a_failing_announcement_is_a_warning(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    network.error = OSError("no network")
    announce_and_close(ADDRESS)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "wyoming.zeroconf: false" in record.getMessage()


def test_without_the_extra_the_log_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stt_mqtt")
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)
    announce_and_close(ADDRESS)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "pip install 'stt-mqtt[zeroconf]'" in record.getMessage()


def test_an_end_that_fails_is_a_warning(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    network.close_error = OSError("no network any more")
    announce_and_close(ADDRESS)
    (record,) = caplog.records
    assert "no network any more" in record.getMessage()


def test_the_end_does_not_wait_for_an_announcement_that_hangs(network: Network) -> None:
    network.hangs = True

    async def scenario() -> None:
        announcer = Announcer("machine")
        announcer.announce(WyomingConfig(listen=(ADDRESS,)).addresses[0])
        await until(lambda: network.registered)
        await announcer.close()

    asyncio.run(scenario())
    assert network.calls == ["unregister", "close"]


def test_the_name_is_the_installs_own_and_stays() -> None:
    assert install_name("a", 10300) == install_name("a", 10300)
    assert len({install_name(m, p) for m in "ab" for p in (10300, 10301)}) == 4
    prefix, _, digits = install_name("a", 10300).rpartition("-")
    assert prefix == "stt-mqtt"
    assert len(digits) == 8
    assert int(digits, 16) >= 0


@pytest.mark.parametrize("zeroconf", [True, False])
def test_a_door_announces_what_it_listens_on_unless_it_is_told_not_to(
    zeroconf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports: list[int] = []
    monkeypatch.setattr(Announcer, "announce", lambda _, address: ports.append(address.port))
    bench = TcpBench(zeroconf=zeroconf)

    async def scenario() -> None:
        assert ports == ([bench.port] if zeroconf else [])

    drive(bench, scenario)


def test_the_machine_is_known_by_its_id_or_else_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "machine-id"
    assert machine_id(path) == socket.gethostname()
    path.write_text("0123abcd\n")
    assert machine_id(path) == "0123abcd"
