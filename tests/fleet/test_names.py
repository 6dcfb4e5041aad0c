"""The names of the home: from a gateway to the phrase books of the workers."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

import pytest

from stt_mqtt.errors import FleetError
from stt_mqtt.fleet import names as module
from stt_mqtt.fleet.names import MAX_GATEWAYS, NamesHeard, NamesTeller, decode_names, encode_names
from stt_mqtt.fleet.wire import WireError, encode_worker
from stt_mqtt.nodes import Role, WorkerStatus
from stt_mqtt.phrases.names import NO_NAMES, HomeNames, names_in_lists
from tests.fleet.peers import a_fleet, until
from tests.virtual_time import run_in_virtual_time
from tools.nats_servers import NatsServer, a_nats_server, needs_nats


def home(*drinks: str) -> HomeNames:
    names, _ = names_in_lists({"drink": drinks})
    return names


def heartbeat(worker: str, leaving: bool = False) -> bytes:
    languages = frozenset({"en"})
    status = WorkerStatus(worker, 1, 1, 0, 0.1, "default", "tiny.en", languages, leaving=leaving)
    return encode_worker(status)


class Link:
    """Remembers when names were told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, HomeNames]] = []
        self.broken = False

    async def say_names(self, data: bytes) -> None:
        if self.broken:
            raise FleetError("away")
        self.told.append((asyncio.get_running_loop().time(), decode_names(data)))

    @property
    def times(self) -> list[float]:
        return [round(at, 1) for at, _ in self.told]


def test_names_survive_the_way() -> None:
    assert decode_names(encode_names(home("tea", "Grüner Tee"))) == home("tea", "Grüner Tee")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain",
        zlib.compress(b"[]"),
        zlib.compress(b'{"v": 9}'),
        zlib.compress(b"{")[:-4],
        zlib.compress(bytes(17 * 1024 * 1024)),
        bytes(600 * 1024),
    ],
)
def test_what_are_no_names_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode_names(data)
    assert "plain" not in str(caught.value)


def test_workers_are_told_when_names_change_and_when_one_comes() -> None:
    async def scenario() -> None:
        link = Link()
        teller = NamesTeller(link, asyncio.get_running_loop().time)
        teller.heard(heartbeat("pc"))
        await asyncio.sleep(1)
        assert link.told == []
        teller.set(home("tea"))
        teller.set(home("tea", "milk"))
        teller.set(home("tea", "milk"))
        await asyncio.sleep(1)
        assert (link.times, link.told[0][1]) == ([1.2], home("tea", "milk"))
        for _ in range(3):
            teller.heard(heartbeat("pc"))
            teller.heard(b"no heartbeat")
            await asyncio.sleep(1)
        assert link.times == [1.2]
        teller.heard(heartbeat("attic"))
        teller.heard(heartbeat("cellar"))
        await asyncio.sleep(1)
        assert link.times == [1.2, 5.2]
        # It was away for long enough to have been started again.
        await asyncio.sleep(4)
        teller.heard(heartbeat("attic"))
        await asyncio.sleep(1)
        assert link.times == [1.2, 5.2, 10.2]

    run_in_virtual_time(scenario())


def test_nothing_is_told_as_long_as_no_worker_lives() -> None:
    async def scenario() -> None:
        link = Link()
        teller = NamesTeller(link, asyncio.get_running_loop().time)
        teller.set(home("tea"))
        await asyncio.sleep(5)
        assert link.told == []
        teller.heard(heartbeat("pc"))
        await asyncio.sleep(1)
        assert link.times == [5.2]

    run_in_virtual_time(scenario())


def test_names_that_could_not_be_told_are_told_when_a_worker_is_heard_again() -> None:
    async def scenario() -> None:
        link = Link()
        link.broken = True
        teller = NamesTeller(link, asyncio.get_running_loop().time)
        teller.heard(heartbeat("pc"))
        teller.set(home("tea"))
        await asyncio.sleep(1)
        link.broken = False
        teller.heard(heartbeat("pc"))
        await asyncio.sleep(1)
        assert link.times == [1.2]
        teller.set(home("milk"))
        teller.close()
        await asyncio.sleep(1)
        assert link.times == [1.2]
        NamesTeller(link, asyncio.get_running_loop().time).close()

    run_in_virtual_time(scenario())


def test_names_that_are_too_many_for_a_message_are_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(module, "MAX_NAMES_BYTES", 10)
        link = Link()
        teller = NamesTeller(link, asyncio.get_running_loop().time)
        teller.heard(heartbeat("pc"))
        teller.set(home("earl grey"))
        await asyncio.sleep(1)
        assert link.told == []

    run_in_virtual_time(scenario())
    assert "configure `phrases` at the workers" in caplog.text
    assert "earl" not in caplog.text


@needs_nats
def test_names_cross_the_servers_and_while_those_are_away_their_teller_knows(
    tmp_path: Path,
) -> None:
    async def scenario(server: NatsServer) -> None:
        heard: list[tuple[str, HomeNames]] = []
        async with a_fleet(server) as fleet:
            gateway = await fleet.gateway("hall")
            worker = await fleet.open(Role.WORKER, "pc")
            await worker.connection.hear_names(
                lambda name, data: heard.append((name, decode_names(data)))
            )
            await worker.ready()
            await gateway.connection.say_names(encode_names(home("tea")))
            await until(lambda: heard)
            assert heard == [("hall", home("tea"))]
        with pytest.raises(FleetError):
            await gateway.connection.say_names(b"")

    with a_nats_server(tmp_path) as server:
        asyncio.run(scenario(server))


def test_a_worker_joins_the_names_of_all_gateways(caplog: pytest.LogCaptureFixture) -> None:
    changes: list[HomeNames] = []
    heard = NamesHeard(changes.append)
    heard.heard("hall", encode_names(home("tea")))
    heard.heard("hall", encode_names(home("tea")))
    heard.heard("attic", encode_names(home("milk")))
    assert changes == [home("tea"), home("milk", "tea")]
    heard.heard("attic", b"nothing")
    assert len(changes) == 2
    assert "the names of gateway attic cannot be used" in caplog.text
    heard.heard("hall", encode_names(NO_NAMES))
    assert changes[2:] == [home("milk")]


def test_when_too_many_gateways_have_told_names_those_that_were_told_first_are_dropped() -> None:
    changes: list[HomeNames] = []
    heard = NamesHeard(changes.append)
    for number in range(MAX_GATEWAYS):
        heard.heard(f"g{number}", encode_names(home(f"drink {number}")))
    # It lives: it tells its names when a worker comes.
    heard.heard("g0", encode_names(home("drink 0")))
    assert len(changes) == MAX_GATEWAYS
    heard.heard("new", encode_names(home("tea")))
    (drinks,) = changes[-1].lists
    kept = {f"drink {number}" for number in range(MAX_GATEWAYS) if number != 1}
    assert set(drinks.values) == kept | {"tea"}
