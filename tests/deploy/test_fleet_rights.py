"""Who of a fleet may do what, as a real nats-server with the keys of `fleet-keys` enforces it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from nats.aio.msg import Msg

from stt_mqtt.config import FleetConfig
from stt_mqtt.demo.samples import SAMPLES
from stt_mqtt.fleet.connection import FleetConnection
from stt_mqtt.fleet.delivery import Delivery
from stt_mqtt.fleet.keys import UserKey
from stt_mqtt.fleet.rights import rights_of
from stt_mqtt.fleet.subjects import Subjects
from stt_mqtt.fleet.wire import Job
from stt_mqtt.nodes import Role
from stt_mqtt.types import AudioFormat, Codec, DeviceKey, EncodedAudio, EndReason, Utterance
from tests.deploy.files import ROOT
from tests.deploy.keyed import NODES, ORACLE, SUBJECTS, a_node, keyed_server
from tools.brokers import Broker, eventually
from tools.nats_servers import NatsServer, needs_nats
from tools.program import PATIENT, Peer, Service

pytestmark = needs_nats

PAGE = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
GATEWAY, WORKER = "hall", "cellar"
JOBS, AUDIO, GATEWAYS = SUBJECTS.jobs, SUBJECTS.audio, SUBJECTS.gateway_stream
OF_THE_FLEET = (
    SUBJECTS.job,
    SUBJECTS.audio_part(f"{GATEWAY}.1", 0),
    SUBJECTS.result(GATEWAY),
    SUBJECTS.names(GATEWAY),
    f"_INBOX_{GATEWAY}.1",
    SUBJECTS.worker(WORKER),
    f"_INBOX_{WORKER}.1",
    SUBJECTS.gateway_entry(GATEWAY),
    SUBJECTS.failures,
)
OF_JETSTREAM = (
    f"$JS.ACK.{JOBS}.workers.1.1.1.1.0",
    *(
        f"$JS.API.CONSUMER.{verb}.{JOBS}.workers"
        for verb in ("MSG.NEXT", "INFO", "CREATE", "DELETE")
    ),
    f"$JS.API.CONSUMER.CREATE.{JOBS}.another",
    *(
        f"$JS.API.STREAM.{verb}.{stream}"
        for verb in ("INFO", "CREATE", "UPDATE", "DELETE", "PURGE", "MSG.GET", "MSG.DELETE")
        for stream in (JOBS, AUDIO, GATEWAYS)
    ),
    "$JS.API.STREAM.CREATE.another",
    "$JS.API.STREAM.NAMES",
    "$JS.API.INFO",
    "$SYS.REQ.SERVER.PING",
    "another",
)
SUBJECTS_TRIED = (*OF_THE_FLEET, *OF_JETSTREAM)
CELLS = {"": "", "s": "subscribes", "p": "publishes", "ps": "publishes, subscribes"}
Rights: TypeAlias = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def server(keys: Path) -> Iterator[NatsServer]:
    with keyed_server(keys) as running:
        yield running


@pytest.fixture(scope="module")
def enforced(server: NatsServer, keys: Path) -> Rights:
    """For each node and subject, what the server let it do: `p`, `s`, `ps` or nothing."""
    return asyncio.run(rights_on(server, keys))


async def rights_on(server: NatsServer, keys: Path) -> Rights:
    rights: Rights = {}
    for name in NODES:
        async with a_node(server, keys, name) as node:
            rights[name] = {
                subject: "p" * await node.may_publish(subject)
                + "s" * await node.may_subscribe(subject)
                for subject in SUBJECTS_TRIED
            }
    return rights


def cell(subjects: list[str]) -> str:
    shown = [
        subject.replace(f".{GATEWAY}", ".<gateway>").replace(f"_{GATEWAY}.", "_<gateway>.")
        .replace(f".{WORKER}", ".<worker>").replace(f"_{WORKER}.", "_<worker>.")
        for subject in subjects
    ]  # fmt: skip
    return ", ".join(f"`{subject}`" for subject in shown)


def table_of(enforced: Rights) -> str:
    """The table of docs/fleet.md. Subjects with the same rights share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for subject in SUBJECTS_TRIED:
        cells = tuple(CELLS[enforced[node][subject]] for node in NODES[:4])
        group = "fleet" if subject in OF_THE_FLEET else "jetstream"
        rows.setdefault((group, *cells), []).append(subject)
    lines = [
        "| subject | gateway `<gateway>` | another gateway | worker `<worker>` | another worker |",
        "|---|---|---|---|---|",
    ]
    for (_, *rights), subjects in rows.items():
        lines.append(f"| {' | '.join((cell(subjects), *rights))} |")
    return "\n".join(lines)


def test_the_table_of_the_page_is_what_the_server_enforces(enforced: Rights) -> None:
    table = PAGE.split("<!-- table: rights -->\n\n")[1].split("\n\n")[0]
    assert table == table_of(enforced)


def test_a_process_with_both_roles_has_the_rights_of_both_under_its_name(enforced: Rights) -> None:
    """And where a right depends on the name, those of a gateway and a worker of another name."""
    for subject in SUBJECTS_TRIED:
        either = set(enforced["porch"][subject]) | set(enforced["attic"][subject])
        assert set(enforced["pi"][subject]) == either, subject


@pytest.mark.parametrize("name", NODES)
def test_nobody_hears_more_than_its_own_with_a_wildcard(
    server: NatsServer, keys: Path, name: str
) -> None:
    wildcards = (
        ">", "*.>", "stt.>", "stt.home.>", "stt.home.*", "stt.*.job", "stt.home.result.*",
        "stt.home.result.>", "stt.home.audio.>", "*.1", "$JS.>", "$JS.API.>", "$JS.ACK.>",
        "$KV.>", "$O.>", "$SYS.>",
    )  # fmt: skip

    async def heard() -> list[str]:
        async with a_node(server, keys, name) as node:
            return [one for one in wildcards if await node.may_subscribe(one)]

    assert asyncio.run(heard()) == []


def test_who_was_asked_may_answer_once_and_nobody_else_may(server: NatsServer, keys: Path) -> None:
    async def asked() -> tuple[bytes, bool, bool]:
        async with a_node(server, keys, GATEWAY) as gateway, a_node(server, keys, WORKER) as worker:
            inboxes: list[str] = []

            async def answer(message: Msg) -> None:
                inboxes.append(message.reply)
                await message.respond(b"taken")

            await gateway.client.subscribe(SUBJECTS.result(GATEWAY), cb=answer)
            # The first ping overtakes what is buffered.
            await gateway.client.flush(60)
            await gateway.client.flush(60)
            result = SUBJECTS.result(GATEWAY)
            answered = await worker.client.request(result, b"words", timeout=60)
            again = await gateway.may_publish(inboxes[0])
            async with a_node(server, keys, "porch") as other:
                return answered.data, again, await other.may_publish(inboxes[0])

    assert asyncio.run(asked()) == (b"taken", False, False)


def job_with(audio: bytes, number: int) -> Job:
    audio_format = AudioFormat(Codec.PCM_S16LE, 16000, 1)
    utterance = Utterance(
        DeviceKey("native", "kitchen"), f"utterance-{number}", EncodedAudio(audio_format, audio),
        "en", None, EndReason.STOP, ended_at=0.0,
    )  # fmt: skip
    return Job(GATEWAY, number, 1, 60.0, may_retry=True, utterance=utterance)


@asynccontextmanager
async def connected(
    server: NatsServer, keys: Path, role: Role, name: str
) -> AsyncIterator[FleetConnection]:
    """The connection of a process of that name, which can use the fleet."""
    config = FleetConfig(
        role=role, node=name, servers=(server.url,), nkey_file=str(keys / f"{name}.nk")
    )
    connection = FleetConnection(config, name)
    ready = asyncio.Event()
    connection.on_ready = ready.set
    await connection.open()
    try:
        async with asyncio.timeout(60):
            await ready.wait()
        yield connection
    finally:
        await connection.close(5)


@pytest.mark.parametrize(("gateway", "worker"), [("hall", "cellar"), ("pi", "pi")])
def test_a_gateway_and_a_worker_need_no_other_rights(
    tmp_path: Path, gateway: str, worker: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first stream to the last acknowledgement, and audio of more than a message."""
    roles = (Role.BOTH, Role.BOTH) if gateway == worker else (Role.GATEWAY, Role.WORKER)

    async def work(server: NatsServer) -> None:
        came: asyncio.Queue[Delivery] = asyncio.Queue()
        results: list[bytes] = []
        alive, here, named = asyncio.Event(), asyncio.Event(), asyncio.Event()

        def take(result: bytes) -> bool:
            results.append(result)
            return True

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(asyncio.timeout(60))
            one = await stack.enter_async_context(connected(server, tmp_path, roles[0], gateway))
            other = one
            if worker != gateway:
                other = await stack.enter_async_context(
                    connected(server, tmp_path, roles[1], worker)
                )
            await one.answer_results(take)
            await one.hear_failures(lambda _sequence: None)
            for connection in {one, other}:
                await connection.hear_workers(lambda _status: alive.set())
            await one.watch_gateways(lambda _name, _data: here.set())
            await other.hear_names(lambda _gateway, _data: named.set())
            # Until the servers know the subscriptions, they have nobody to tell.
            while not (alive.is_set() and here.is_set() and named.is_set()):
                await other.say_worker(b"alive")
                await one.say_gateway(b"alive")
                await one.say_names(b"lamp")
                await asyncio.sleep(0.02)
            for number, audio in enumerate((b"short", bytes(range(256)) * 8192), 1):
                job = replace(job_with(audio, number), gateway=gateway)
                assert await one.publish_job(job) is not None
                assert await one.publish_job(job) is not None
                await other.pull(1, 0, came.put_nowait, lambda: None)
                delivery = await came.get()
                if delivery.stored:
                    assert await delivery.fetch_audio() == audio
                await delivery.working()
                assert await other.tell_result(gateway, f"words {number}".encode(), 30)
                await delivery.ack()
                await one.forget_job(job.id, None)
            given_up = await one.publish_job(replace(job_with(b"late", 3), gateway=gateway))
            await one.forget_job(f"{gateway}.3", given_up)
            await one.leave_gateway()
            async with a_node(server, tmp_path, ORACLE) as oracle:
                jetstream = oracle.client.jetstream()
                for stream in (JOBS, AUDIO):
                    state = (await jetstream.stream_info(stream)).state
                    while state.messages:
                        state = (await jetstream.stream_info(stream)).state
        assert results == [b"words 1", b"words 2"]

    with keyed_server(tmp_path) as server:
        asyncio.run(work(server))
    assert "check the rights" not in caplog.text


def test_the_program_needs_no_other_rights(tmp_path: Path, broker: Broker) -> None:
    roles = {GATEWAY: "gateway", WORKER: "worker"}
    peer = Peer(broker, "stt/+/result", "stt/bridge/state", "stt/bridge/info")
    with keyed_server(tmp_path) as server, ExitStack() as stack:
        stack.callback(peer.close)
        services: list[Service] = []
        for name, role in roles.items():
            # A worker that comes before any gateway warns of that.
            eventually(lambda: not services or "the fleet is ready" in services[0].log)
            folder = tmp_path / name
            folder.mkdir()
            key = str(tmp_path / f"{name}.nk")
            fleet = {"role": role, "node": name, "servers": [server.url], "nkey_file": key}
            services.append(Service(folder, broker, fleet=fleet, limits=PATIENT))
            stack.callback(services[-1].stop)
        eventually(lambda: b"online" in peer.payloads("stt/bridge/state"))
        peer.publish("stt/kitchen/utterance", SAMPLES[1].read())
        (result,) = peer.json("stt/kitchen/result")
        assert result["outcome"] == "transcript", result
        for service in reversed(services):
            assert service.stop() == 0, service.log
        for service in services:
            assert " INFO " in service.log
            assert " WARNING " not in service.log
            assert " ERROR " not in service.log


def test_a_worker_finishes_only_the_jobs_that_it_was_given(tmp_path: Path) -> None:
    async def work(server: NatsServer) -> None:
        came: asyncio.Queue[Delivery] = asyncio.Queue()
        async with (
            connected(server, tmp_path, Role.GATEWAY, GATEWAY) as gateway,
            connected(server, tmp_path, Role.WORKER, WORKER) as worker,
            a_node(server, tmp_path, "attic") as other,
            a_node(server, tmp_path, ORACLE) as oracle,
            asyncio.timeout(60),
        ):
            reply = asyncio.get_running_loop().create_future()
            taken = await oracle.client.subscribe(f"_INBOX_{WORKER}.>")
            await oracle.client.flush(60)
            await gateway.publish_job(job_with(b"audio", 1))
            await worker.pull(1, 0, came.put_nowait, lambda: None)
            await came.get()
            async for message in taken.messages:
                if message.reply.startswith("$JS.ACK."):
                    reply.set_result(message.reply)
                    break
            assert not await other.may_publish(await reply, b"+TERM")
            state = (await oracle.client.jetstream().stream_info(JOBS)).state
            assert state.messages == 1

    with keyed_server(tmp_path) as server:
        asyncio.run(work(server))


def test_two_fleets_on_one_server_have_nothing_in_common() -> None:
    """Each right has the name of the fleet in it, or that of the process."""
    for role in Role:
        rights = rights_of(role, "node", Subjects("inn"))
        for subject in (*rights.publish, *rights.subscribe):
            assert "inn" in re.split(r"[._]", subject) or subject.startswith("_INBOX_node."), (
                subject
            )


@pytest.mark.parametrize("key", ["none", "unknown", "name only"])
def test_nobody_connects_without_a_key_that_the_server_knows(
    server: NatsServer, keys: Path, key: str
) -> None:
    with socket.create_connection((server.host, server.port), 60) as connection:
        file = connection.makefile("rwb")
        nonce = json.loads(file.readline().removeprefix(b"INFO "))["nonce"]
        unknown = UserKey.new()
        known = UserKey.read((keys / f"{GATEWAY}.nk").read_text().strip())
        login = {
            "none": {},
            "unknown": {"nkey": unknown.public, "sig": unknown.sign(nonce)},
            "name only": {"nkey": known.public, "sig": unknown.sign(nonce)},
        }[key]
        file.write(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
        file.flush()
        assert file.readline() == b"-ERR 'Authorization Violation'\r\n"
        assert file.readline() == b""


def test_the_server_knows_who_may_do_everything_only_in_this_test(
    server: NatsServer, keys: Path
) -> None:
    """Otherwise the refusals could come from something else than the rights."""

    async def may() -> bool:
        async with a_node(server, keys, ORACLE) as oracle:
            return all([await oracle.may_publish(one) for one in OF_THE_FLEET])

    assert asyncio.run(may())
