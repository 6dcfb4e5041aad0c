from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stt_mqtt.app.sources import resolve_authorities
from stt_mqtt.config import NamesFromHomeAssistantConfig
from stt_mqtt.errors import ConfigError
from stt_mqtt.names import client as module
from stt_mqtt.names.client import HomeAssistantAccess, NamesClient, Timing
from stt_mqtt.names.connection import Timeouts
from stt_mqtt.names.store import FILE, NamesStore
from stt_mqtt.phrases.names import HomeNames
from tests.names.server import TOKEN, FakeHomeAssistant, home_assistant
from tools.brokers import Certificates, FakeServer, only_old_tls

PATIENCE_S = 30.0
"""After this, a test has failed."""
FAST = Timing(
    settle_s=0.01,
    refresh_s=60.0,
    starting_s=0.01,
    refused_s=0.05,
    first_delay_s=0.01,
    longest_delay_s=0.05,
    timeouts=Timeouts(connect_s=10.0, request_s=10.0, heartbeat_s=10.0),
)


@dataclass
class Follower:
    """A client, and what it said."""

    client: NamesClient
    heard: asyncio.Queue[HomeNames]
    folder: Path
    told: list[str | None]
    """What `status.waiting` became."""
    status_changed: asyncio.Event

    async def names(self) -> HomeNames:
        """The next names that it says."""
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)


@dataclass
class Bench:
    """Makes clients whose state is in one folder."""

    folder: Path
    token: Callable[[], str] = field(default=lambda: TOKEN)
    on_names: Callable[[HomeNames], None] | None = None
    tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def follow(self, url: str, timing: Timing = FAST) -> AsyncIterator[Follower]:
        heard: asyncio.Queue[HomeNames] = asyncio.Queue()
        store = NamesStore(self.folder)
        access = HomeAssistantAccess(url, self.token, self.tls)
        on_names = self.on_names or heard.put_nowait
        told: list[str | None] = []
        changed = asyncio.Event()

        def on_status() -> None:
            told.append(client.status.waiting)
            changed.set()

        client = NamesClient(access, store, on_names, on_status, timing)
        if (stored := client.load()) != HomeNames():
            heard.put_nowait(stored)
        task = asyncio.create_task(client.run())
        try:
            yield Follower(client, heard, self.folder, told, changed)
        finally:
            task.cancel()
            ended = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(ended[0], asyncio.CancelledError), ended


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def nothing_of_the_home_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    words = ("kitchen", "lounge", "mood", "glow", "garden", "reading", "downstairs", "conserv")
    for record in caplog.get_records("call"):
        text = record.getMessage() + (record.exc_text or "")
        assert not any(word in text.lower() for word in words), text
        assert TOKEN not in text


def entity_names(home: HomeNames) -> dict[str, tuple[str, ...]]:
    return {entity.id: entity.names for entity in home.entities}


def test_the_names_of_the_home_are_heard_and_kept(bench: Bench) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            names = await follower.names()
            assert len(names.entities) == 8
            assert names.area_called("lounge") is not None
            assert NamesStore(bench.folder).load() == names
            status = follower.client.status
            assert (status.waiting, status.entities) == (None, 8)
            assert follower.told == [None]
            assert status.age_s is not None
            assert 0 <= status.age_s < PATIENCE_S

    asyncio.run(scenario())


def test_changes_are_followed_while_it_runs(bench: Bench) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            await follower.names()

            home.entries["light.standing_light"]["aliases"] = ["Conservatory lamp"]
            await home.fire("entity_registry_updated", {"changes": {"name": "Reading Lamp"}})
            names = entity_names(await follower.names())
            assert names["light.standing_light"] == ("Reading Lamp", "Conservatory lamp")

            home.areas.append({"area_id": "conservatory", "name": "Conservatory", "aliases": []})
            await home.fire("area_registry_updated")
            assert (await follower.names()).area_called("conservatory") is not None

            home.floors[0]["name"] = "Basement"
            await home.fire("floor_registry_updated")
            assert (await follower.names()).floors[0].names[0] == "Basement"

            home.devices[1]["area_id"] = "conservatory"
            await home.fire("device_registry_updated")
            entity = (await follower.names()).entities[0]
            assert (entity.id, entity.area) == ("event.kitchen_utterance", "conservatory")

            del home.exposed["exposed_entities"]["light.standing_light"]
            await home.fire("entity_registry_updated")
            assert "light.standing_light" not in entity_names(await follower.names())

    asyncio.run(scenario())


def test_many_events_at_once_cause_one_question(bench: Bench) -> None:
    async def scenario() -> None:
        timing = Timing(settle_s=0.3, timeouts=FAST.timeouts)
        async with home_assistant() as home, bench.follow(home.url, timing) as follower:
            await follower.names()
            home.asked = asyncio.Queue()
            home.areas[0]["name"] = "Conservatory"
            for _ in range(50):
                await home.fire("entity_registry_updated")
            await follower.names()
            asked = [home.asked.get_nowait() for _ in range(home.asked.qsize())]
            assert asked.count("get_states") == 1

    asyncio.run(scenario())


def test_an_event_that_changes_no_name_is_not_reported(bench: Bench) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            await follower.names()
            home.asked = asyncio.Queue()
            await home.fire("entity_registry_updated")
            await asyncio.wait_for(home.commanded("get_states"), PATIENCE_S)
            home.areas[0]["name"] = "Conservatory"
            await home.fire("area_registry_updated")
            assert (await follower.names()).area_called("conservatory") is not None
            assert follower.heard.empty()

    asyncio.run(scenario())


def test_a_changed_exposure_without_an_event_is_found_after_a_while(bench: Bench) -> None:
    async def scenario() -> None:
        timing = Timing(settle_s=0.01, refresh_s=0.05, timeouts=FAST.timeouts)
        async with home_assistant() as home, bench.follow(home.url, timing) as follower:
            await follower.names()
            del home.exposed["exposed_entities"]["zone.home"]
            assert "zone.home" not in entity_names(await follower.names())

    asyncio.run(scenario())


def test_without_home_assistant_the_names_of_the_last_run_are_known(bench: Bench) -> None:
    async def scenario() -> None:
        async with home_assistant() as home:
            async with bench.follow(home.url) as follower:
                names = await follower.names()
            url = home.url
        async with bench.follow(url) as follower:
            assert await follower.names() == names
            status = follower.client.status
            assert status.waiting is not None
            assert (status.entities, status.age_s) == (8, None)

    asyncio.run(scenario())


def test_a_damaged_file_is_survived(bench: Bench) -> None:
    (bench.folder / FILE).write_bytes(b'{"v":1,"entities":[["light')

    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            names = await follower.names()
            assert NamesStore(bench.folder).load() == names

    asyncio.run(scenario())


def test_home_assistant_may_restart(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            await follower.names()
            await home.stop()
            home.areas[0]["name"] = "Conservatory"
            home.config["state"] = "STARTING"
            home.entries, complete = {}, home.entries
            await home.start()
            home.asked = asyncio.Queue()
            await asyncio.wait_for(home.commanded("get_config"), PATIENCE_S)
            await asyncio.wait_for(home.commanded("get_config"), PATIENCE_S)
            assert follower.heard.empty(), "names that are not complete yet"
            home.entries, home.config["state"] = complete, "RUNNING"
            assert (await follower.names()).area_called("conservatory") is not None
            await home.fire("area_registry_updated")
            home.areas[0]["name"] = "Garden shed"
            await home.fire("area_registry_updated")
            assert (await follower.names()).area_called("garden shed") is not None
            reasons = [reason for reason in follower.told if reason != "unreachable"]
            assert reasons == [None, "connection_lost", "starting", None]

    asyncio.run(scenario())
    assert "the connection was lost" in caplog.text


def test_the_answers_of_a_home_assistant_that_stops_are_not_believed(bench: Bench) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            await follower.names()
            home.config["state"] = "STOPPING"
            areas, home.areas = home.areas, []
            home.asked = asyncio.Queue()
            await home.fire("area_registry_updated")
            await asyncio.wait_for(home.commanded("get_states"), PATIENCE_S)
            await asyncio.wait_for(home.commanded("get_config"), PATIENCE_S)
            await asyncio.wait_for(home.commanded("get_config"), PATIENCE_S)
            assert follower.heard.empty()
            home.config["state"] = "RUNNING"
            home.areas = areas[1:]
            assert (await follower.names()).area_called("living room") is None
            assert follower.told[:2] == [None, "stopping"]
            assert follower.told[-1] is None

    asyncio.run(scenario())


def test_a_wrong_token_is_reported_once_with_what_to_do_and_tried_again_when_it_is_right(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = ["wrong", "wrong", "wrong", TOKEN]
    bench.token = lambda: tokens.pop(0) if len(tokens) > 1 else tokens[0]

    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            await follower.names()
            assert (home.refusals, home.logins) == (3, 1)
            assert follower.told == ["token_refused", None]

    asyncio.run(scenario())
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "it refuses the access token; make a long-lived access token" in caplog.text
    assert "wrong" not in caplog.text


def test_a_refused_token_is_tried_again_after_minutes_and_a_network_error_after_seconds() -> None:
    timing = Timing()
    assert timing.refused_s == 300
    assert [timing.delay_after(failures, 0.0) for failures in (1, 2, 3, 7, 99)] == [1, 2, 4, 60, 60]
    assert timing.delay_after(1, 1.0) == 0.75


def test_a_token_that_cannot_be_read_is_reported_until_it_can(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    readable = False

    def token() -> str:
        nonlocal readable
        if readable:
            return TOKEN
        readable = True
        raise ConfigError(["/token: cannot be read: No such file or directory"])

    bench.token = token

    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            assert len((await follower.names()).entities) == 8
            assert follower.told == ["token_unreadable", None]

    asyncio.run(scenario())
    assert "/token: cannot be read: No such file or directory" in caplog.text


def test_a_defect_is_reported_without_what_it_says_and_survived(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    defects = [RuntimeError("Kitchen")]

    def token() -> str:
        if defects:
            raise defects.pop()
        return TOKEN

    bench.token = token

    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            assert len((await follower.names()).entities) == 8

    asyncio.run(scenario())
    assert "RuntimeError, please report this" in caplog.text


def test_a_user_without_the_rights_is_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            home.is_admin = False
            await asyncio.wait_for(home.commanded("homeassistant/expose_entity/list"), PATIENCE_S)
            await asyncio.wait_for(home.commanded("homeassistant/expose_entity/list"), PATIENCE_S)
            home.is_admin = True
            await follower.names()
            assert follower.told == ["no_administrator", None]

    asyncio.run(scenario())
    assert "the user of the access token is not an administrator" in caplog.text


def trusting(ca: Path) -> ssl.SSLContext:
    context = resolve_authorities(
        NamesFromHomeAssistantConfig(url="https://home", token=SecretStr(TOKEN), ca_file=str(ca))
    )
    assert context is not None
    return context


def test_an_authority_of_the_home_is_trusted_when_it_is_given(
    bench: Bench, certificates: Certificates
) -> None:
    bench.tls = trusting(certificates.ca)

    async def scenario() -> None:
        async with home_assistant(certificates) as home, bench.follow(home.url) as follower:
            assert home.url.startswith("https://")
            assert len((await follower.names()).entities) == 8

    asyncio.run(scenario())


def test_without_its_authority_the_message_says_what_to_check(
    bench: Bench, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with home_assistant(certificates) as home, bench.follow(home.url) as follower:
            await asyncio.wait_for(follower.status_changed.wait(), PATIENCE_S)
            assert follower.told == ["certificate"]
            assert (home.logins, home.refusals) == (0, 0)

    asyncio.run(scenario())
    assert "its certificate is not accepted: " in caplog.text
    assert "check phrases.home_assistant.ca_file" in caplog.text


@pytest.mark.parametrize("has_own_authority", [True, False])
def test_versions_of_tls_before_1_2_are_refused_in_words(
    bench: Bench,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    has_own_authority: bool,
) -> None:
    bench.tls = trusting(certificates.ca) if has_own_authority else None

    server = FakeServer(only_old_tls(certificates))

    async def scenario() -> None:
        async with bench.follow(f"https://127.0.0.1:{server.port}") as follower:
            await asyncio.wait_for(follower.status_changed.wait(), PATIENCE_S)
            assert follower.told == ["unreachable"]

    try:
        asyncio.run(scenario())
    finally:
        server.close()
    assert "it speaks only versions of TLS before 1.2" in caplog.text


GARBAGE = [
    "",
    "no JSON",
    "[" * 100_000,
    "[1, 2]",
    '{"type": "result"}',
    '{"id": 1, "type": "result", "success": false, "error": "Kitchen"}',
    '{"id": 9999, "type": "result", "success": true}',
    '{"type": "pong", "id": "Kitchen"}',
]


@pytest.mark.parametrize("command", ["get_states", "homeassistant/expose_entity/list"])
@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_survived(bench: Bench, text: str, command: str) -> None:
    timing = Timing(
        settle_s=0.01,
        first_delay_s=0.01,
        longest_delay_s=0.01,
        timeouts=Timeouts(connect_s=10.0, request_s=0.5),
    )

    async def scenario() -> None:
        async with home_assistant() as home:
            home.raw[command] = text
            async with bench.follow(home.url, timing) as follower:
                await asyncio.wait_for(home.commanded(command), PATIENCE_S)
                await asyncio.wait_for(home.commanded(command), PATIENCE_S)
                assert follower.heard.empty()
                home.raw.clear()
                await follower.names()

    asyncio.run(scenario())


@pytest.mark.parametrize("result", [None, "Kitchen", 5, [], {}, [None], {"Kitchen": ["Kitchen"]}])
def test_results_of_another_form_have_no_names(bench: Bench, result: Any) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            await follower.names()
            home.areas = home.floors = home.devices = home.states = home.exposed = result
            await home.fire("area_registry_updated")
            assert await follower.names() == HomeNames()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "command", ["get_config", "subscribe_events", "config/entity_registry/get_entries"]
)
def test_an_answer_that_never_comes_ends_the_connection(
    bench: Bench, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    timing = Timing(
        first_delay_s=0.01,
        longest_delay_s=0.01,
        timeouts=Timeouts(connect_s=10.0, request_s=0.2),
    )

    async def scenario() -> None:
        async with home_assistant() as home:
            home.silent.add(command)
            async with bench.follow(home.url, timing) as follower:
                await asyncio.wait_for(home.commanded(command), PATIENCE_S)
                await asyncio.wait_for(home.commanded(command), PATIENCE_S)
                home.silent.clear()
                await follower.names()
            assert home.logins > 1

    asyncio.run(scenario())
    assert f"it does not answer {command}" in caplog.text


def test_something_else_on_the_port_is_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    logged = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        if caplog.records:
            logged.set()

    async def scenario() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, bench.follow(f"http://127.0.0.1:{port}/api/websocket"):
            await asyncio.wait_for(logged.wait(), PATIENCE_S)

    asyncio.run(scenario())
    assert "it answers with status 404" in caplog.text


def test_a_failing_receiver_is_reported_without_what_it_says(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    called = asyncio.Event()

    def fail(names: HomeNames) -> None:
        called.set()
        raise ValueError(names.areas[0].names[0] + " Kitchen")

    bench.on_names = fail

    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            await asyncio.wait_for(called.wait(), PATIENCE_S)
            assert follower.client.status.entities == 8

    asyncio.run(scenario())
    assert "new names could not be used: ValueError, please report this" in caplog.text


def test_what_exceeds_the_bounds_is_reported_as_a_number(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with home_assistant() as home, bench.follow(home.url) as follower:
            home.areas[0]["aliases"] = ["kitchen" * 20, "garden" * 20]
            await follower.names()
            home.areas[1]["name"] = "Conservatory"
            await home.fire("area_registry_updated")
            await follower.names()

    asyncio.run(scenario())
    assert caplog.text.count("2 names of Home Assistant are left out") == 1


def test_the_same_reason_is_logged_again_after_an_hour(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPEAT_LOG_S", 0.0)
    attempts = 0
    enough = asyncio.Event()

    def token() -> str:
        nonlocal attempts
        attempts += 1
        if attempts > 3:
            enough.set()
        raise ConfigError(["unreadable"])

    bench.token = token

    async def scenario() -> None:
        async with bench.follow("http://127.0.0.1:1/api/websocket"):
            await asyncio.wait_for(enough.wait(), PATIENCE_S)

    asyncio.run(scenario())
    assert caplog.text.count("unreadable") >= 3


def large_home(home: FakeHomeAssistant, entities: int) -> None:
    """Give the home this many entities, each as large as one of a real home."""
    entry = home.entries["light.living_room_lamp"]
    state = home.states[3]
    home.areas = [{**home.areas[0], "area_id": f"a{n}", "name": f"Area {n}"} for n in range(200)]
    ids = [f"light.lamp_{n}" for n in range(entities)]
    home.exposed = {"exposed_entities": {id: {"conversation": True} for id in ids}}
    home.entries = {
        id: {**entry, "entity_id": id, "aliases": [f"lamp number {id[11:]}"], "area_id": "a7"}
        for id in ids
    }
    home.states = [
        {
            **state,
            "entity_id": id,
            "attributes": {"friendly_name": f"Lamp {id[11:]}", "effects": ["x" * 20] * 20},
        }
        for id in ids
    ]


def test_a_home_of_5000_entities_is_taken_in_reasonable_time_and_memory(bench: Bench) -> None:
    async def scenario() -> tuple[HomeNames, int]:
        async with home_assistant() as home:
            large_home(home, 5000)
            assert 2_000_000 < len(json.dumps(home.states)) < 32 * 1024 * 1024
            async with bench.follow(home.url) as follower:
                names = await follower.names()
                tracemalloc.start()
                home.areas[0]["name"] = "Conservatory"
                await home.fire("area_registry_updated")
                assert len((await follower.names()).entities) == 5000
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                return names, peak

    started_at = time.monotonic()
    names, peak = asyncio.run(scenario())
    assert time.monotonic() - started_at < PATIENCE_S
    assert names.entities[0].names == ("Lamp 0", "lamp number 0")
    # The server, which is in the same process, takes the larger part of it.
    assert peak < 150 * 1024 * 1024
    assert (bench.folder / FILE).stat().st_size < 2 * 1024 * 1024
