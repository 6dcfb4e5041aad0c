"""The connection of a fleet, against real NATS servers."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stt_mqtt.config.fleet import FleetConfig
from stt_mqtt.errors import ConfigError, FleetError, JobsFullError
from stt_mqtt.fleet.connection import FleetConnection
from stt_mqtt.fleet.wire import decode_job
from stt_mqtt.nodes import Role
from tests.fleet.keys import public_key_of, seed_of
from tests.fleet.peers import Fleet, Peer, a_fleet, an_operator, ask, job, until
from tools.brokers import PATIENCE_S, Certificates, free_port
from tools.nats_servers import NatsServer, a_nats_cluster, a_nats_server, needs_nats

pytestmark = needs_nats

Scenario = Callable[[Fleet], Coroutine[Any, Any, None]]
PATIENT = {"ack_wait_s": 60.0}
"""For workers that are never taken for dead, however busy the machine is."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with a_nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that a test may stop."""
    with a_nats_server(tmp_path) as running:
        yield running


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that takes no large messages."""
    with a_nats_server(tmp_path, "max_payload: 64KB") as running:
        yield running


@pytest.fixture(autouse=True)
def no_tracebacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens, nothing is logged that quotes what was sent."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
    assert not [record.name for record in caplog.records if record.name.startswith("nats")]


def run(server: NatsServer, scenario: Scenario, **config: Any) -> None:
    async def play() -> None:
        async with a_fleet(server, **config) as fleet:
            await scenario(fleet)

    asyncio.run(play())


async def until_subscribed(peer: Peer) -> None:
    """The server has handled what this peer sent: one answer comes after it."""
    await peer.connection.forget_job("hall.0", 0)


async def count_of(fleet: Fleet, server: NatsServer, what: str = "JOBS") -> int:
    """Messages in a stream of the fleet."""
    async with an_operator(server) as operator:
        info = await ask(operator, f"STREAM.INFO.STT_{fleet.config['name']}_{what}")
    return int(info["state"]["messages"])


async def counts(fleet: Fleet, server: NatsServer, expected: int) -> None:
    """Wait until so many jobs are there."""
    async with asyncio.timeout(PATIENCE_S):
        while await count_of(fleet, server) != expected:
            pass


async def waiting(fleet: Fleet, server: NatsServer, expected: int) -> None:
    """Wait until so many requests for jobs wait at the server."""
    path = f"CONSUMER.INFO.STT_{fleet.config['name']}_JOBS.workers"
    async with asyncio.timeout(PATIENCE_S), an_operator(server) as operator:
        while (await ask(operator, path))["num_waiting"] != expected:
            pass


async def inbox_of(node: str, server: NatsServer) -> str:
    """Where a worker that pulls expects jobs: the server tells it there that it is alive."""
    async with an_operator(server) as operator:
        spy = await operator.subscribe(f"_INBOX_{node}.>")
        return (await spy.next_msg(PATIENCE_S)).subject


def test_a_job_gets_from_a_gateway_to_a_worker_that_waits(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await worker.pull()
        sequence = await gateway.connection.publish_job(job(7))
        delivery = await worker.delivery(0)
        assert decode_job(delivery.data, 0.0).utterance.audio.data == job(7).utterance.audio.data
        assert (delivery.sequence, delivery.attempt, delivery.stored) == (sequence, 1, False)
        await until(lambda: worker.ended == 1)

    run(server, scenario, **PATIENT)


def test_a_worker_gets_as_many_as_wait_up_to_what_it_asks_for(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        for number in range(5):
            await gateway.connection.publish_job(job(number))
        await worker.pull(3)
        await until(lambda: worker.ended == 1)
        assert worker.numbers == [0, 1, 2]
        await worker.pull(3)
        await until(lambda: worker.ended == 2)
        assert worker.numbers == [0, 1, 2, 3, 4]

    run(server, scenario, **PATIENT)


def test_a_worker_that_asks_for_several_gets_the_next_one_at_once(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await worker.pull(8)
        await gateway.connection.publish_job(job(1))
        await until(lambda: worker.ended == 1)
        assert worker.numbers == [1]

    run(server, scenario, **PATIENT)


def test_the_job_of_a_worker_that_falls_silent_is_given_to_another_one(
    server: NatsServer,
) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker, other = (
            await fleet.gateway(),
            await fleet.worker(),
            await fleet.worker("b"),
        )
        sequence = await gateway.connection.publish_job(job(1))
        await worker.next()
        delivery = await other.next()
        assert (delivery.sequence, delivery.attempt) == (sequence, 2)

    run(server, scenario, ack_wait_s=1.0)


def test_a_job_that_is_given_back_is_delivered_again_at_once(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await gateway.connection.publish_job(job(1))
        await (await worker.next()).nak(0.0)
        delivery = await worker.next()
        assert delivery.attempt == 2
        await delivery.nak(0.01)
        assert (await worker.next()).attempt == 3

    run(server, scenario, **PATIENT)


@pytest.mark.parametrize("way", ["ack", "term"])
def test_a_job_that_is_over_is_deleted(server: NatsServer, way: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await gateway.connection.publish_job(job(1))
        delivery = await worker.next()
        await delivery.working()
        assert await count_of(fleet, server) == 1
        await getattr(delivery, way)()
        await counts(fleet, server, 0)

    run(server, scenario, **PATIENT)


def test_of_two_workers_that_wait_the_one_with_the_lower_number_gets_the_job(
    server: NatsServer,
) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, slow, fast = await fleet.gateway(), await fleet.worker(), await fleet.worker("b")
        # The slow one asks first.
        await slow.pull(1, priority=3)
        await waiting(fleet, server, 1)
        await fast.pull(1, priority=0)
        await waiting(fleet, server, 2)
        await gateway.connection.publish_job(job(1))
        await gateway.connection.publish_job(job(2))
        await fast.delivery(0)
        await slow.delivery(0)
        assert (fast.numbers, slow.numbers) == ([1], [2])

    run(server, scenario, **PATIENT)


def test_a_job_that_is_published_twice_is_there_once(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.gateway()
        first = await gateway.connection.publish_job(job(1))
        assert await gateway.connection.publish_job(job(1, attempt=2)) == first
        assert await count_of(fleet, server) == 1

    run(server, scenario)


def test_a_job_whose_result_was_lost_can_be_published_again(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        first = await gateway.connection.publish_job(job(1))
        await (await worker.next()).ack()
        await counts(fleet, server, 0)
        again = await gateway.connection.publish_job(job(1, attempt=2))
        assert again != first
        assert (await worker.next()).sequence == again

    run(server, scenario, **PATIENT)


def test_a_job_whose_result_was_lost_is_there_once_however_often_it_is_published(
    server: NatsServer,
) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        publish = gateway.connection.publish_job
        await publish(job(1))
        await (await worker.next()).ack()
        await counts(fleet, server, 0)
        again = await publish(job(1, attempt=2))
        assert await publish(job(1, attempt=3)) == again
        delivery = await worker.next()
        assert await publish(job(1, attempt=4)) == again
        assert await count_of(fleet, server) == 1
        await delivery.ack()
        await counts(fleet, server, 0)
        last = await publish(job(1, attempt=5))
        assert last not in {None, again}
        assert await publish(job(1, attempt=6)) == last
        assert await count_of(fleet, server) == 1

    run(server, scenario, **PATIENT)


def test_a_job_that_is_too_large_for_a_message_travels_in_parts_that_its_gateway_deletes(
    small_server: NatsServer,
) -> None:
    large = job(1, size=700_001)

    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await gateway.connection.publish_job(large)
        delivery = await worker.next()
        assert delivery.stored
        assert decode_job(delivery.data, 0.0).stored
        assert await delivery.fetch_audio() == large.utterance.audio.data
        assert await count_of(fleet, small_server, "AUDIO") == 12
        await delivery.ack()
        await counts(fleet, small_server, 0)
        assert await count_of(fleet, small_server, "AUDIO") == 12
        await gateway.connection.forget_job(large.id, None)
        assert await count_of(fleet, small_server, "AUDIO") == 0
        with pytest.raises(FleetError, match="has been deleted"):
            await delivery.fetch_audio()

    run(small_server, scenario, **PATIENT)


def test_audio_that_is_far_too_large_is_not_fetched(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stt_mqtt.fleet.delivery.MAX_AUDIO_BYTES", 1_999_999)

    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await gateway.connection.publish_job(job(1, size=2_000_000))
        delivery = await worker.next()
        with pytest.raises(FleetError, match="more than 1999999 bytes"):
            await delivery.fetch_audio()

    run(server, scenario, **PATIENT)


def test_a_gateway_takes_back_a_job_and_its_audio(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.gateway()
        large = job(1, size=2_000_000)
        sequence = await gateway.connection.publish_job(large)
        assert await count_of(fleet, server, "AUDIO") > 0
        for _ in range(2):
            await gateway.connection.forget_job(large.id, sequence)
            assert await count_of(fleet, server) == 0
            assert await count_of(fleet, server, "AUDIO") == 0

    run(server, scenario)


def test_only_for_audio_that_is_stored_apart_the_server_is_asked_to_delete_it(
    server: NatsServer,
) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.gateway()
        small, large = job(1), job(2, size=2_000_000)
        async with an_operator(server) as operator:
            spy = await operator.subscribe("$JS.API.STREAM.PURGE.>")
            await operator.flush()
            for one in (small, large):
                sequence = await gateway.connection.publish_job(one)
                await gateway.connection.forget_job(one.id, sequence)
            assert large.id.encode() in (await spy.next_msg(PATIENCE_S)).data
        assert await count_of(fleet, server, "AUDIO") == 0

    run(server, scenario)


def test_a_full_stream_says_so(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.gateway()
        publish = gateway.connection.publish_job
        for number in range(5):
            await publish(job(number, size=100_000))
        with pytest.raises(JobsFullError, match="no room for more jobs"):
            await publish(job(5, size=100_000))
        with pytest.raises(JobsFullError, match=r"fleet\.max_stored_mib"):
            await publish(job(30, size=2_000_000))
        await publish(job(31, size=10))

    run(server, scenario, max_stored_mib=1)


def test_a_job_on_which_every_worker_fails_is_told_to_the_gateways(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        failed: list[int] = []
        await gateway.connection.hear_failures(failed.append)
        sequence = await gateway.connection.publish_job(job(1))
        for _ in range(2):
            await (await worker.next()).nak()
        await worker.pull()
        await until(lambda: failed)
        assert failed == [sequence]
        await gateway.connection.forget_job(job(1).id, sequence)
        assert await count_of(fleet, server) == 0

    run(server, scenario, max_deliver=2, **PATIENT)


def test_a_gateway_says_whether_a_result_is_in_time(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await gateway.connection.answer_results(lambda data: data == b"in time")
        tell = worker.connection.tell_result
        await until_subscribed(gateway)
        assert await tell("hall", b"in time", 60.0) is True
        assert await tell("hall", b"too late", 60.0) is False
        assert await tell("nobody", b"in time", 60.0) is None
        assert await tell("*", b"in time", 60.0) is None

    run(server, scenario)


def test_heartbeats_of_workers_reach_all(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker, other = (
            await fleet.gateway(),
            await fleet.worker(),
            await fleet.worker("b"),
        )
        heard: list[bytes] = []
        await gateway.connection.hear_workers(heard.append)
        await other.connection.hear_workers(heard.append)
        await until_subscribed(gateway)
        await until_subscribed(other)
        await worker.connection.say_worker(b"alive")
        await until(lambda: heard == [b"alive", b"alive"])

    run(server, scenario)


def test_gateways_see_each_other_come_and_go(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        first = await fleet.gateway("first")
        await first.connection.say_gateway(b"1")
        second = Peer(FleetConfig.model_validate(fleet.config | {"role": "gateway"}), "second")
        fleet.peers.append(second)
        seen: list[tuple[str, bytes | None]] = []
        await second.connection.watch_gateways(lambda name, data: seen.append((name, data)))
        second.connection.on_ready = lambda: seen.append(("ready", None))
        await second.connection.open()
        await until(lambda: ("ready", None) in seen)
        # Whoever is there is known before there is anything to do.
        assert seen == [("first", b"1"), ("ready", None)]
        await second.connection.say_gateway(b"2")
        await first.connection.leave_gateway()
        await until(lambda: len(seen) == 4)
        assert sorted(seen[2:], key=str) == [("first", None), ("second", b"2")]

    run(server, scenario)


def test_an_entry_that_was_deleted_is_not_told(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        first = await fleet.gateway("first")
        await first.connection.say_gateway(b"1")
        await first.connection.leave_gateway()
        seen: list[str] = []
        second = Peer(FleetConfig.model_validate(fleet.config | {"role": "gateway"}), "second")
        fleet.peers.append(second)
        await second.connection.watch_gateways(lambda name, data: seen.append(name))
        await second.connection.open()
        await second.ready()
        assert seen == []

    run(server, scenario)


def test_a_worker_waits_for_a_gateway_and_says_so(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        worker = await fleet.open(Role.WORKER, "cellar")
        await worker.failing("no gateway of the fleet has been here yet")
        with pytest.raises(FleetError, match="no gateway of the fleet"):
            await worker.pull()
        await fleet.gateway()
        await worker.ready()

    run(server, scenario)


def test_who_is_away_says_nothing_and_asks_nothing(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)

    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.open(Role.BOTH, "hall")
        await gateway.failing("cannot be reached")
        connection = gateway.connection
        assert not connection.connected
        assert connection.ack_wait_s == 3.0
        await connection.say_gateway(b"1")
        await connection.leave_gateway()
        await connection.say_worker(b"1")
        await connection.forget_job("hall.1", 1)
        for asking in (
            connection.publish_job(job(1)),
            connection.tell_result("hall", b"1", 1.0),
            gateway.pull(),
        ):
            with pytest.raises(FleetError, match="cannot be reached"):
                await asking

    run(server, scenario)


def test_after_a_server_came_back_empty_everything_is_there_again(own_server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await gateway.connection.answer_results(lambda data: True)
        await until_subscribed(gateway)
        before = await gateway.connection.publish_job(job(1))
        delivery = await worker.next()
        await worker.pull()
        own_server.kill()
        await until(lambda: "lost" in gateway.events and "lost" in worker.events)
        assert worker.ended == 2
        with pytest.raises(FleetError):
            await delivery.ack()
        own_server.start()
        await gateway.ready(2)
        await worker.ready(2)
        assert gateway.events == worker.events == ["ready", "lost", "ready"]
        after = await gateway.connection.publish_job(job(1))
        assert before is not None
        assert after is not None
        assert after > before
        assert (await worker.next()).sequence == after
        assert await worker.connection.tell_result("hall", b"1", 60.0) is True

    run(own_server, scenario, **PATIENT)


def test_with_file_storage_a_job_survives_the_server(own_server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        sequence = await gateway.connection.publish_job(job(1))
        own_server.stop()
        own_server.start()
        await gateway.ready(2)
        await worker.ready(2)
        assert await gateway.connection.publish_job(job(1)) == sequence
        assert (await worker.next()).sequence == sequence

    run(own_server, scenario, storage="file", **PATIENT)


def test_what_somebody_deletes_on_the_server_is_made_again(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        await worker.pull()
        await waiting(fleet, server, 1)
        async with an_operator(server) as operator:
            await ask(operator, f"STREAM.DELETE.STT_{fleet.config['name']}_JOBS")
        await until(lambda: worker.ended == 1)
        assert await gateway.connection.publish_job(job(1)) is not None
        await gateway.ready(2)
        await worker.ready(2)
        assert (await worker.next()).attempt == 1

    run(server, scenario, **PATIENT)


def test_a_pull_that_is_withdrawn_gets_nothing_any_more(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        await fleet.gateway()
        worker, other = await fleet.worker(), await fleet.worker("b")
        pull = await worker.pull()
        await waiting(fleet, server, 1)
        # It is delivered while the event loop does something else.
        publish_without_the_loop(server, f"stt.{fleet.config['name']}.job", b"a job")
        await pull.stop()
        await pull.stop()
        assert worker.ended == 1
        assert not worker.came
        assert (await other.next()).attempt == 2

    run(server, scenario, **PATIENT)


def test_a_job_on_its_way_to_a_pull_that_is_withdrawn_comes_and_no_other_one_does(
    server: NatsServer,
) -> None:
    async def scenario(fleet: Fleet) -> None:
        await fleet.gateway()
        worker, other = await fleet.worker(), await fleet.worker("b")
        pulls = [await worker.pull(), await worker.pull()]
        await waiting(fleet, server, 2)
        publish_without_the_loop(server, f"stt.{fleet.config['name']}.job", b"a job")
        await asyncio.gather(*(pull.withdraw() for pull in [*pulls, *pulls]))
        (delivery,) = worker.came
        assert (delivery.attempt, worker.ended) == (1, 2)
        await delivery.nak()
        assert (await other.next()).attempt == 2
        assert len(worker.came) == 1

    run(server, scenario, **PATIENT)


def publish_without_the_loop(server: NatsServer, subject: str, data: bytes) -> None:
    """Publish into a stream, and wait until a consumer had time to deliver it."""
    with socket.create_connection((server.host, server.port)) as raw:
        raw.sendall(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n')
        raw.sendall(f"PUB {subject} answer {len(data)}\r\n".encode() + data + b"\r\n")
        while b'"seq":' not in raw.recv(4096):
            pass
    time.sleep(0.1)


def test_a_change_of_the_configuration_reaches_the_server_and_the_workers(
    server: NatsServer,
) -> None:
    async def scenario(fleet: Fleet) -> None:
        await fleet.gateway("old", ack_wait_s=5.0, max_stored_mib=8)
        worker = await fleet.worker()
        assert worker.connection.ack_wait_s == 5.0
        await fleet.gateway("new", ack_wait_s=9.0, max_stored_mib=16)
        worker = await fleet.worker("b")
        assert worker.connection.ack_wait_s == 9.0
        async with an_operator(server) as operator:
            info = await ask(operator, f"STREAM.INFO.STT_{fleet.config['name']}_JOBS")
        assert info["config"]["max_bytes"] == 8 * 1024 * 1024

    run(server, scenario)


def test_who_comes_later_changes_nothing(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        await fleet.gateway("a")
        async with an_operator(server) as operator:
            changes = [
                await operator.subscribe(f"$JS.API.{subject}.>")
                for subject in ("STREAM.CREATE", "STREAM.UPDATE", "CONSUMER.CREATE")
            ]
            await ask(operator, "INFO")
            gateway = await fleet.gateway("b")
            await until_subscribed(gateway)
            await ask(operator, "INFO")
            assert [subscription.pending_msgs for subscription in changes] == [0, 0, 0]

    run(server, scenario)


def test_storage_that_cannot_be_changed_is_a_sentence(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        await fleet.gateway()
        other = await fleet.open(Role.GATEWAY, "b", storage="file")
        failure = await other.failing("can not change storage type")
        assert "check fleet.storage" in failure
        assert f"nats stream rm STT_{fleet.config['name']}_JOBS" in failure

    run(server, scenario)


def test_replicas_that_a_single_server_does_not_have_are_a_sentence(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.open(Role.GATEWAY, "hall")
        assert "fleet.replicas" in await gateway.failing("replicas > 1 not supported")

    run(server, scenario, replicas=3)


def test_a_server_without_jetstream_is_a_sentence(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.open(Role.GATEWAY, "hall")
        assert "`jetstream` section" in await gateway.failing("has no JetStream")

    with a_nats_server(tmp_path, "jetstream: disabled") as server:
        run(server, scenario)


def users(**rights: str) -> str:
    """Users of a server, by the seed of each: its permissions."""
    lines = [f"{{ nkey: {public_key_of(seed)}, {text} }}" for seed, text in rights.items()]
    return f"authorization {{ users: [ {', '.join(lines)} ] }}"


@pytest.fixture
def key_files(tmp_path: Path) -> tuple[str, str]:
    """The files of two seeds."""
    paths = tmp_path / "1.nk", tmp_path / "2.nk"
    for number, path in enumerate(paths, 1):
        path.write_text(seed_of(number) + "\n")
    return str(paths[0]), str(paths[1])


def test_a_server_is_told_who_we_are_over_tls(
    tmp_path: Path,
    certificates: Certificates,
    key_files: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tls = {"ca_file": str(certificates.ca)}
    right, wrong = key_files

    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.gateway(tls=tls, nkey_file=right)
        assert await gateway.connection.publish_job(job(1)) is not None
        stranger = await fleet.open(Role.WORKER, "b", tls=tls, nkey_file=wrong)
        nameless = await fleet.open(Role.WORKER, "c", tls=tls)
        distrustful = await fleet.open(Role.WORKER, "d", tls={}, nkey_file=right)
        assert "check fleet.nkey_file" in await stranger.failing("refuses the key")
        assert "set fleet.nkey_file" in await nameless.failing("demands a login")
        assert "fleet.tls.ca_file" in await distrustful.failing("certificate of")

    config = users(**{seed_of(1): ""}) + (
        f'\ntls {{ cert_file: "{certificates.server}", key_file: "{certificates.server_key}" }}'
    )
    with a_nats_server(tmp_path, config) as server:
        run(server, scenario)
    assert not any(seed_of(number) in caplog.text for number in (1, 2))
    refusals = [record for record in caplog.records if "refuses the key" in record.getMessage()]
    assert refusals[0].levelno == logging.ERROR


def test_where_tls_is_demanded_nothing_is_sent_in_the_clear(
    server: NatsServer, key_files: tuple[str, str]
) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.open(Role.GATEWAY, "hall", tls={}, nkey_file=key_files[0])
        await gateway.failing("does not demand TLS")

    run(server, scenario)


def test_a_key_that_cannot_be_used_stops_the_start(server: NatsServer) -> None:
    config = FleetConfig(servers=(server.url,), nkey_file="/none")
    with pytest.raises(ConfigError, match=r"fleet\.nkey_file cannot be read"):
        asyncio.run(FleetConnection(config, "hall").open())


def test_a_right_that_is_missing_is_named(tmp_path: Path, key_files: tuple[str, str]) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway = await fleet.open(Role.GATEWAY, "hall", nkey_file=key_files[0])
        failure = await gateway.failing("check the rights of its user")
        assert "permissions violation for publish to" in failure

    rights = 'permissions: { publish: { deny: ["$JS.API.STREAM.>"] } }'
    with a_nats_server(tmp_path, users(**{seed_of(1): rights})) as server:
        run(server, scenario)


RIGHTS_OF_A_GATEWAY = """
    publish: { allow: [
        "stt.home.job", "stt.home.audio.hall.>", "$KV.STT_home_GATEWAYS.hall",
        "$JS.API.STREAM.INFO.STT_home_JOBS", "$JS.API.STREAM.CREATE.STT_home_JOBS",
        "$JS.API.STREAM.UPDATE.STT_home_JOBS", "$JS.API.STREAM.INFO.STT_home_AUDIO",
        "$JS.API.STREAM.CREATE.STT_home_AUDIO", "$JS.API.STREAM.UPDATE.STT_home_AUDIO",
        "$JS.API.STREAM.INFO.KV_STT_home_GATEWAYS", "$JS.API.STREAM.CREATE.KV_STT_home_GATEWAYS",
        "$JS.API.STREAM.UPDATE.KV_STT_home_GATEWAYS",
        "$JS.API.CONSUMER.INFO.STT_home_JOBS.workers",
        "$JS.API.CONSUMER.CREATE.STT_home_JOBS.workers",
        "$JS.API.STREAM.MSG.GET.STT_home_JOBS", "$JS.API.STREAM.MSG.DELETE.STT_home_JOBS",
        "$JS.API.STREAM.MSG.GET.KV_STT_home_GATEWAYS", "$JS.API.STREAM.PURGE.STT_home_AUDIO"
    ] }
    subscribe: { allow: [
        "_INBOX_hall.>", "stt.home.result.hall", "stt.home.worker.*", "$KV.STT_home_GATEWAYS.*",
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.STT_home_JOBS.workers"
    ] }
    allow_responses: true
"""
RIGHTS_OF_A_WORKER = """
    publish: { allow: [
        "stt.home.result.*", "stt.home.worker.cellar",
        "$JS.API.CONSUMER.INFO.STT_home_JOBS.workers",
        "$JS.API.CONSUMER.MSG.NEXT.STT_home_JOBS.workers", "$JS.ACK.STT_home_JOBS.workers.>",
        "$JS.API.STREAM.MSG.GET.STT_home_AUDIO"
    ] }
    subscribe: { allow: ["_INBOX_cellar.>", "stt.home.worker.*"] }
"""


def test_these_rights_are_enough(tmp_path: Path, key_files: tuple[str, str]) -> None:
    async def scenario(fleet: Fleet) -> None:
        fleet.config["name"] = "home"
        gateway = await fleet.gateway(nkey_file=key_files[0])
        worker = await fleet.worker(nkey_file=key_files[1])
        entries: list[str] = []
        alive: list[bytes] = []
        failed: list[int] = []
        await gateway.connection.watch_gateways(lambda name, _: entries.append(name))
        for peer in (gateway, worker):
            await peer.connection.hear_workers(alive.append)
        await gateway.connection.hear_failures(failed.append)
        await gateway.connection.answer_results(lambda _: True)
        await until_subscribed(gateway)
        await gateway.connection.say_gateway(b"1")
        await worker.connection.say_worker(b"1")
        await until(lambda: (len(alive), len(entries)) == (2, 1))
        large = job(1, size=2_000_000)
        await gateway.connection.publish_job(large)
        delivery = await worker.next()
        await delivery.working()
        assert len(await delivery.fetch_audio()) == 2_000_000
        await delivery.nak()
        delivery = await worker.next()
        assert await worker.connection.tell_result("hall", b"1", 60.0) is True
        await delivery.ack()
        sequence = await gateway.connection.publish_job(large)
        await gateway.connection.forget_job(large.id, sequence)
        # It changes the streams, and reads who is there.
        another = await fleet.gateway("hall", nkey_file=key_files[0], max_stored_mib=4)
        await another.connection.publish_job(job(2))
        for _ in range(2):
            await (await worker.next()).nak()
        await worker.pull()
        await until(lambda: failed)
        assert gateway.connection.failure is another.connection.failure is None

    config = users(
        **{
            seed_of(1): f"permissions: {{ {RIGHTS_OF_A_GATEWAY} }}",
            seed_of(2): f"permissions: {{ {RIGHTS_OF_A_WORKER} }}",
        }
    )
    with a_nats_server(tmp_path, config) as server:
        run(server, scenario, max_deliver=2, **PATIENT)


def test_a_connection_on_which_nonsense_comes_is_ended_and_made_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b'INFO {"headers":true,"max_payload":1048576}\r\n')
        async for line in reader:
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\nINFO {secret words\r\n")
        writer.close()
        await writer.wait_closed()

    async def scenario() -> None:
        port = free_port()
        async with await asyncio.start_server(serve, "127.0.0.1", port):
            peer = Peer(FleetConfig(servers=(f"nats://127.0.0.1:{port}",)), "hall")
            await peer.connection.open()
            await peer.failing("was lost")
            await until(lambda: connections >= 2)
            await peer.connection.close(5.0)
            await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(scenario())
    assert "nats-py failed at what a server sent: JSONDecodeError" in caplog.text
    assert "secret words" not in caplog.text


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"220 mail.example.org\r\n", "does not answer like a NATS server"),
        (b"INFO {garbage\r\n", "does not answer like a NATS server"),
        (b"INFO " + b"x" * 100_000, "does not answer like a NATS server"),
        (b"", "does not answer like a NATS server"),
    ],
    ids=["mail", "no JSON", "endless", "silent"],
)
def test_what_is_no_nats_server_is_a_sentence(greeting: bytes, words: str) -> None:
    async def scenario() -> None:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(greeting)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

        port = free_port()
        async with await asyncio.start_server(greet, "127.0.0.1", port):
            config = FleetConfig(servers=(f"nats://127.0.0.1:{port}",))
            peer = Peer(config, "hall")
            await peer.connection.open()
            await peer.failing(words)
            await peer.connection.close(5.0)
            await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(scenario())


def test_a_connection_can_be_closed_at_any_moment(server: NatsServer) -> None:
    async def scenario() -> None:
        config = FleetConfig(servers=(server.url,), name="short", max_stored_mib=8)
        for turns in range(60):
            connection = FleetConnection(config, "hall")
            await connection.open()
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_S):
                await connection.close(1.0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_garbage_does_no_harm(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        heard: list[object] = []
        name = fleet.config["name"]

        def late(data: bytes) -> bool:
            heard.append(data)
            return False

        await gateway.connection.answer_results(late)
        await gateway.connection.hear_workers(heard.append)
        await gateway.connection.hear_failures(heard.append)
        await gateway.connection.watch_gateways(lambda *entry: heard.append(entry))
        await until_subscribed(gateway)
        await worker.pull()
        await waiting(fleet, server, 1)
        subjects = (
            f"stt.{name}.result.hall",
            f"stt.{name}.worker.x",
            f"$KV.STT_{name}_GATEWAYS.x",
            f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.STT_{name}_JOBS.workers",
        )
        inbox = await inbox_of("cellar", server)
        with socket.create_connection((server.host, server.port)) as raw:
            raw.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n')
            for subject in (*subjects, inbox):
                to = subject.encode()
                raw.sendall(b"PUB " + to + b" 4\r\n\xff\x00{]\r\n")
                raw.sendall(b"HPUB " + to + b" x 16 16\r\nNATS/1.0 \xff\xfe\xfd\r\n\r\n\r\n")
                raw.sendall(b"HPUB " + to + b" 16 16\r\nNATS/1.0\r\n:\xff\r\n\r\n\r\n")
            raw.sendall(b"PUB stt." + name.encode() + b".worker.\xff\xfe 2\r\nhi\r\n")
            raw.sendall(b"PING\r\n")
            while b"PONG" not in raw.recv(4096):
                pass
        await gateway.connection.publish_job(job(1))
        await worker.delivery(0)
        await until(lambda: heard.count(b"\xff\x00{]") == 2)
        assert gateway.events == worker.events == ["ready"]
        assert all("{]" not in record.getMessage() for record in caplog.records)

    run(server, scenario, **PATIENT)


def test_a_job_that_is_garbage_is_delivered_as_it_is(server: NatsServer) -> None:
    async def scenario(fleet: Fleet) -> None:
        await fleet.gateway()
        worker = await fleet.worker()
        async with an_operator(server) as operator:
            await operator.publish(
                f"stt.{fleet.config['name']}.job", b"\x00", headers={"Stt-Audio": "../>.1 99999"}
            )
        delivery = await worker.next()
        assert (delivery.data, delivery.stored) == (b"\x00", False)
        await delivery.term()
        await counts(fleet, server, 0)

    run(server, scenario, **PATIENT)


def test_a_handler_that_fails_is_reported_and_the_next_message_is_handled(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        heard: list[bytes] = []

        def handle(data: bytes) -> None:
            heard.append(data)
            raise RuntimeError

        await gateway.connection.hear_workers(handle)
        await until_subscribed(gateway)
        for _ in range(2):
            await worker.connection.say_worker(b"1")
        await until(lambda: len(heard) == 2)

    run(server, scenario)
    assert "could not be handled, please report this" in caplog.text
    caplog.clear()


def test_jobs_survive_the_death_of_the_server_that_leads_their_stream(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet) -> None:
        gateway, worker = await fleet.gateway(), await fleet.worker()
        for number in range(3):
            await gateway.connection.publish_job(job(number))
        async with an_operator(servers[0]) as operator:
            info = await ask(operator, f"STREAM.INFO.STT_{fleet.config['name']}_JOBS")
        next(one for one in servers if one.name == info["cluster"]["leader"]).kill()
        await publish_at_last(gateway, 3)
        while len(set(worker.numbers)) < 4:
            with suppress(FleetError):
                await worker.pull(8)
            await asyncio.sleep(0.1)

    with a_nats_cluster(tmp_path) as servers:
        urls = tuple(server.url for server in servers)
        run(servers[0], scenario, servers=urls, replicas=3, ack_wait_s=5.0)


async def publish_at_last(gateway: Peer, number: int) -> None:
    """Publish as a gateway does, again and again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(FleetError):
                await gateway.connection.publish_job(job(number))
                return
            await asyncio.sleep(0.1)
