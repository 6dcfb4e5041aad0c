from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from aiohttp import ClientError, ClientSession

from stt_mqtt.doors.web import status
from stt_mqtt.doors.web.status import MAX_STREAMS, MAX_STREAMS_OF_ONE
from tests.doors.web.status_bench import (
    PATIENCE_S,
    Reader,
    StatusBench,
    last_outcome,
    reading,
    until,
)


def test_a_page_gets_a_snapshot_at_once_and_a_new_one_with_each_utterance() -> None:
    async def scenario() -> None:
        bench = StatusBench()
        async with bench.serving() as url, reading(url) as reader:
            assert (await reader.snapshot())["rooms"] == []
            bench.says()
            await reader.until(lambda found: last_outcome(found) == "transcript")
            bench.says("")
            await reader.until(lambda found: last_outcome(found) == "no_speech")

    asyncio.run(scenario())


def test_without_any_change_a_snapshot_comes_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "SAMPLE_S", 0.01)

    async def scenario() -> None:
        async with StatusBench().serving() as url, reading(url) as reader:
            for _ in range(3):
                await reader.snapshot()

    asyncio.run(scenario())


def test_a_page_that_opens_later_gets_what_was_said_before() -> None:
    async def scenario() -> None:
        bench = StatusBench()
        async with bench.serving() as url:
            bench.says()
            async with reading(url) as reader:
                assert last_outcome(await reader.snapshot()) == "transcript"

    asyncio.run(scenario())


def test_many_changes_at_once_are_one_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "SAMPLE_S", 3600.0)

    async def scenario() -> None:
        bench = StatusBench()
        async with bench.serving() as url, reading(url) as reader:
            await reader.snapshot()
            for _ in range(50):
                bench.says()
            seen = 0
            heard = 0
            while heard < 50:
                heard = (await reader.snapshot())["rooms"][0]["utterances"]
                seen += 1
            assert seen <= 2

    asyncio.run(scenario())


def test_one_page_too_many_is_refused_and_a_closed_one_makes_room() -> None:
    async def scenario() -> None:
        async with StatusBench().serving() as url, ClientSession() as session:
            async with AsyncExitStack() as pages:
                for number in range(MAX_STREAMS):
                    reader = await pages.enter_async_context(reading(url, number % 2 + 1))
                    await reader.snapshot()
                async with session.get(f"{url}events") as response:
                    assert response.status == 503
                    assert response.headers["Retry-After"]
                    assert f"at most {MAX_STREAMS}" in await response.text()
            async with asyncio.timeout(PATIENCE_S):
                status = 503
                while status != 200:
                    async with session.get(f"{url}events") as response:
                        status = response.status

    asyncio.run(scenario())


def test_one_address_cannot_hold_all_places() -> None:
    async def scenario() -> None:
        async with StatusBench().serving() as url, AsyncExitStack() as pages:
            for _ in range(MAX_STREAMS_OF_ONE):
                await pages.enter_async_context(reading(url))
            async with ClientSession() as session, session.get(f"{url}events") as response:
                assert response.status == 503
                assert f"{MAX_STREAMS_OF_ONE} of one address" in await response.text()
            other = await pages.enter_async_context(reading(url, 2))
            await other.snapshot()

    asyncio.run(scenario())


def test_an_address_without_a_page_gets_a_place_of_the_one_that_has_the_most() -> None:
    async def scenario() -> None:
        async with StatusBench().serving() as url, AsyncExitStack() as pages:
            first = [
                await pages.enter_async_context(reading(url)) for _ in range(MAX_STREAMS_OF_ONE)
            ]
            for number in range(MAX_STREAMS_OF_ONE):
                await pages.enter_async_context(reading(url, number + 2))
            late = await pages.enter_async_context(reading(url, 100))
            await late.snapshot()
            with pytest.raises(EOFError):
                await first[-1].to_the_end()
            await first[0].snapshot()

    asyncio.run(scenario())


def test_events_has_no_head() -> None:
    async def scenario() -> None:
        bench = StatusBench()
        async with bench.serving() as url, ClientSession() as session:
            async with session.head(f"{url}events") as response:
                assert response.status == 405
            async with session.head(url) as response:
                assert response.status == 200

    asyncio.run(scenario())


def test_a_reader_that_does_not_read_misses_snapshots_and_costs_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(status, "SLOW_S", 0.2)

    async def scenario() -> None:
        bench = StatusBench()
        # More than the buffers of the system take.
        bench.phrases = {"book": "x" * 8_000_000}
        async with bench.serving() as url:
            host, port = "127.0.0.1", bench.service.config.web.port
            reading_end, lazy = await asyncio.open_connection(host, port, limit=1024)
            lazy.write(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            # Not before its first snapshot is on the way.
            await asyncio.wait_for(reading_end.readuntil(b"data: "), PATIENCE_S)
            bench.phrases = None
            async with reading(url) as reader:
                # The server runs in the same loop: by then it has given up the other one.
                patience = asyncio.get_running_loop().time() + 2 * status.SLOW_S
                while asyncio.get_running_loop().time() < patience:
                    bench.says()
                    await reader.snapshot()
            received = 0
            with suppress(ConnectionError):
                while piece := await asyncio.wait_for(reading_end.read(65_536), PATIENCE_S):
                    received += len(piece)
            assert received < 8_000_000
            lazy.close()
            with suppress(ConnectionError):
                await lazy.wait_closed()

    asyncio.run(scenario())


def test_a_defect_in_one_snapshot_does_not_end_the_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(status, "SAMPLE_S", 0.01)
    monkeypatch.setattr(status, "MIN_INTERVAL_S", 0.01)

    async def scenario() -> None:
        bench = StatusBench()
        async with bench.serving() as url, reading(url) as reader:
            await reader.snapshot()
            right, bench.doors = bench.doors, []
            bench.doors = None  # type: ignore[assignment]
            await until(lambda: "could not be collected" in caplog.text)
            bench.doors = right
            await reader.snapshot()

    asyncio.run(scenario())


def test_a_defect_in_one_sample_does_not_end_the_sampling(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(status, "SAMPLE_S", 0.01)

    async def scenario() -> None:
        bench = StatusBench()
        bench.drops = None  # type: ignore[assignment]
        async with bench.serving() as url, reading(url) as reader:
            await until(lambda: "could not be sampled" in caplog.text)
            bench.drops = {"inbox_full": 1}
            await reader.until(lambda found: found["errors"])

    asyncio.run(scenario())


def test_the_streams_end_when_the_service_stops() -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as page:
            reader: Reader
            async with StatusBench().serving() as url:
                reader = await page.enter_async_context(reading(url))
                await reader.snapshot()
            with pytest.raises((EOFError, ClientError)):
                await reader.to_the_end()

    asyncio.run(scenario())
