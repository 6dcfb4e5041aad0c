"""What the self-check sees of a fleet on real NATS servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nkeys
import pytest

from stt_mqtt.config import FleetConfig
from stt_mqtt.errors import ConfigError
from stt_mqtt.fleet import probe
from stt_mqtt.fleet.identity import read_identity
from stt_mqtt.fleet.keeping import MAX_AGE_S
from stt_mqtt.fleet.link import connect
from stt_mqtt.fleet.probe import FleetSight, ServerSight, look
from stt_mqtt.fleet.stores import Stores
from stt_mqtt.fleet.wire import encode_worker
from tests.fleets import WORKER, worker
from tools.brokers import Certificates, free_port, make_certificates, sign
from tools.nats_servers import NatsServer, a_nats_server, needs_nats

pytestmark = needs_nats

BEAT_S = 0.05
SEED = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with a_nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


def at(*urls: str, name: str = "home", **others: object) -> FleetConfig:
    """The section of a fleet on these servers."""
    return FleetConfig.model_validate({"servers": urls, "name": name, "node": "hall", **others})


def seen(config: FleetConfig, listen_s: float = 0.0) -> FleetSight:
    return asyncio.run(look(config, "hall", listen_s))


@asynccontextmanager
async def gateway_and_workers(config: FleetConfig, *heartbeats: bytes) -> AsyncIterator[None]:
    """A fleet: what a gateway makes there, and heartbeats again and again."""
    link = await connect(config.servers[0], read_identity(config), "test", "_INBOX_test")
    stores = Stores(link, config, MAX_AGE_S)
    await stores.make()

    async def beat() -> None:
        while True:
            for number, heartbeat in enumerate(heartbeats):
                await link.publish(stores.subjects.worker(f"w{number}"), heartbeat)
            await asyncio.sleep(BEAT_S)

    beating = asyncio.create_task(beat())
    yield
    beating.cancel()
    await link.close(1.0)


def test_a_server_without_the_fleet_is_seen_and_nothing_is_made_there(server: NatsServer) -> None:
    config = at(server.url, name="new")
    for _ in range(2):
        assert seen(config) == FleetSight((ServerSight(f"127.0.0.1:{server.port}"),))


def test_what_a_gateway_made_and_the_heartbeats_of_workers_are_seen(server: NatsServer) -> None:
    config = at(server.url)

    async def scenario() -> FleetSight:
        workers = (encode_worker(one) for one in (WORKER, worker("attic")))
        async with gateway_and_workers(config, *workers, b"garbage"):
            return await look(config, "hall")

    sight = asyncio.run(scenario())
    assert (sight.made, sight.problem) == (True, None)
    assert [one.worker for one in sight.workers] == ["attic", "cellar"]


def test_the_number_of_workers_is_bounded(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MAX_WORKERS", 1)
    config = at(server.url, name="many")

    async def scenario() -> FleetSight:
        workers = (encode_worker(one) for one in (WORKER, worker("attic")))
        async with gateway_and_workers(config, *workers):
            return await look(config, "hall")

    assert len(asyncio.run(scenario()).workers) == 1


def test_each_server_that_is_away_is_named(server: NatsServer) -> None:
    away = free_port()
    sight = seen(at(f"nats://127.0.0.1:{away}", server.url))
    first, second = sight.servers
    assert first.problem is not None
    assert first.problem.startswith(f"127.0.0.1:{away} cannot be reached")
    assert (second.problem, first.refuses) == (None, False)
    assert seen(at(f"nats://127.0.0.1:{away}")).servers == (first,)


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CONNECT_S", 0.05)

    async def scenario() -> FleetSight:
        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        sight = await look(at(f"nats://127.0.0.1:{port}"), "hall")
        silent.close()
        return sight

    (sight,) = asyncio.run(scenario()).servers
    assert sight.problem == f"{sight.address} does not answer within 0.05 s"


def test_a_server_with_another_key_refuses_and_a_key_that_cannot_be_read_is_a_mistake(
    tmp_path: Path,
) -> None:
    other = nkeys.from_seed(bytearray(nkeys.encode_seed(b"x" * 32, nkeys.PREFIX_BYTE_USER)))
    users = f"authorization {{ users: [{{ nkey: {other.public_key.decode()} }}] }}"
    key = tmp_path / "key.nk"
    with a_nats_server(tmp_path, users) as server:
        key.write_text(SEED)
        for files in ({}, {"nkey_file": str(key)}):
            (refusing,) = seen(at(server.url, **files)).servers
            assert refusing.refuses
            assert refusing.problem is not None
            assert SEED not in refusing.problem
        key.write_text("no seed")
        with pytest.raises(ConfigError, match=r"fleet\.nkey_file"):
            seen(at(server.url, nkey_file=str(key)))


def test_a_server_without_jetstream_says_so(tmp_path: Path) -> None:
    with a_nats_server(tmp_path, "accounts { A { users: [{ user: a, password: b }] } }") as server:
        config = server.config + '\nno_auth_user: "a"'
        server.stop()
        server.config = config
        server.start()
        sight = seen(at(server.url))
    assert sight.servers[0].problem is None
    assert sight.problem is not None
    assert "has no JetStream" in sight.problem


def test_tls_that_only_a_person_can_mend_is_told_from_a_server_that_is_away(
    certificates: Certificates, tmp_path: Path, server: NatsServer
) -> None:
    files = f'cert_file: "{certificates.server}", key_file: "{certificates.server_key}"'
    with a_nats_server(tmp_path, f"tls {{ {files} }}") as encrypted:
        (stranger,) = seen(at(encrypted.url, tls={})).servers
    (plain,) = seen(at(server.url, tls={})).servers
    assert stranger.refuses
    assert "; check fleet.tls.ca_file" in (stranger.problem or "")
    assert plain.refuses
    assert "does not demand TLS" in (plain.problem or "")


def test_a_certificate_of_a_server_that_has_expired_may_be_a_matter_of_the_clock(
    tmp_path: Path,
) -> None:
    certificates = make_certificates(tmp_path)
    sign(tmp_path, "server", days=-1)
    files = f'cert_file: "{certificates.server}", key_file: "{certificates.server_key}"'
    with a_nats_server(tmp_path, f"tls {{ {files} }}") as encrypted:
        (expired,) = seen(at(encrypted.url, tls={"ca_file": str(certificates.ca)})).servers
    assert not expired.refuses
    assert "; check the clock of this machine" in (expired.problem or "")
