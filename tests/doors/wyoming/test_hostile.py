"""Clients that send anything, too much, too slowly or nothing at all, while others are served."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from dataclasses import replace

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event

from stt_mqtt.doors.wyoming.reader import Bounds
from stt_mqtt.types import DeviceKey, OutcomeKind, UtteranceStart
from tests.doors.wyoming.peers import (
    CHUNK,
    LOOPBACK,
    MONO,
    TcpBench,
    drive,
    hang_up,
    info_like_home_assistant,
    read_all,
    read_rest,
    say,
    transcript_like_home_assistant,
    until,
)
from tests.fakes import RecordingOutlet

BOUNDS = Bounds()


async def is_served(bench: TcpBench) -> None:
    """Somebody else is heard and described to as if nothing were."""
    assert await info_like_home_assistant(bench.port, tries=1) is not None
    async with bench.client() as client:
        await say(client)
        await bench.answer()
        assert await transcript_like_home_assistant(client) == "Turn on the light."


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b'{"type": "audio-chunk", "payload_length": 10000000000}\n', "payload_too_large"),
        (b'{"type": "transcribe", "data_length": 10000000000}\n', "payload_too_large"),
        (b'{"type": "describe", "payload_length": -1}\n', "bad_payload"),
        (b"x" * 1_000_000, "payload_too_large"),
        (b"[" * 60_000 + b"\n", "bad_payload"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "bad_payload"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n", "bad_payload"),
        (b'{"type": "ping", "data": {"text": 7}}\nnonsense\n', "bad_payload"),
    ],
)
def test_what_is_not_wyoming_is_answered_with_an_error_and_hung_up_on(
    sent: bytes, code: str
) -> None:
    bench = TcpBench(replace(BOUNDS, linger_s=0.2))

    async def scenario() -> None:
        reader, writer = await bench.dial()
        writer.write(sent)
        told = await read_rest(reader)
        assert [event.data.get("code") for event in told if event.type == "error"] == [code]
        await hang_up(writer)
        await until(lambda: bench.door.connections == 0)
        await is_served(bench)

    drive(bench, scenario)
    assert bench.service.metrics.errors == {code: 1}


def test_half_an_event_and_a_lost_connection_leave_nothing_behind() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        for half in (b'{"type": "audio-ch', b'{"type": "audio-chunk", "payload_length": 900}\nxx'):
            _, writer = await bench.dial()
            writer.write(half)
            await writer.drain()
            await hang_up(writer)
        await until(lambda: bench.door.connections == 0)
        await is_served(bench)

    drive(bench, scenario)
    assert not bench.service.metrics.errors


def test_half_an_event_and_silence_is_given_up() -> None:
    bench = TcpBench(replace(BOUNDS, event_s=0.05))

    async def scenario() -> None:
        reader, writer = await bench.dial()
        writer.write(b'{"type": "audio-chunk", "payload_length": 900}\nxx')
        (event,) = await read_rest(reader)
        assert event.data["code"] == "bad_payload"
        await hang_up(writer)

    drive(bench, scenario)


def test_a_bad_event_takes_back_what_was_open() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        async with bench.client() as client:
            await client.write_event(AudioStart(**MONO).event())
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await client.write_event(Event("audio-chunk", {**MONO, "rate": []}, CHUNK))
            (event,) = await read_all(client)
            assert event.data["code"] == "bad_payload"
        assert bench.service.budget.used_bytes == 0

    drive(bench, scenario)
    kinds = [outcome.kind for outcome in bench.door.outcomes]
    assert kinds == [OutcomeKind.ABORTED, OutcomeKind.ERROR]


def test_a_silent_client_is_sent_away_but_never_one_that_waits_for_its_words() -> None:
    bench = TcpBench(replace(BOUNDS, idle_s=1.0))

    async def scenario() -> None:
        async with bench.client() as client:
            await say(client)
            await bench.utterance()
            reader, writer = await bench.dial()
            assert await read_rest(reader) == []
            await hang_up(writer)
            assert bench.door.connections == 1
            await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."
            assert [event.type for event in await read_all(client)] == ["transcript-stop"]

    drive(bench, scenario)


def test_two_hundred_silent_connections_do_not_keep_another_one_from_being_served() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        silent = [await bench.dial() for _ in range(200)]
        await until(lambda: bench.door.connections == 200)
        await is_served(bench)
        for _, writer in silent:
            await hang_up(writer)

    drive(bench, scenario)


async def dial_in(bench: TcpBench) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection that the door knows of, so that the order of several is certain."""
    before = bench.door.connections
    pair = await bench.dial()
    await until(lambda: bench.door.connections > before)
    return pair


def test_who_was_silent_longest_makes_room_for_a_newcomer() -> None:
    bench = TcpBench(replace(BOUNDS, connections=3, fresh_s=0.0))

    async def scenario() -> None:
        silent = [await dial_in(bench) for _ in range(3)]
        first = silent[0][1]
        first.write(b'{"type": "ping"}\n')
        await silent[0][0].readline()
        await is_served(bench)
        # The two newcomers of `is_served` took one place, since the first of them had left.
        (event,) = await read_rest(silent[1][0])
        assert event.data["code"] == "overloaded"
        first.write(b'{"type": "ping"}\n')
        assert b"pong" in await silent[0][0].readline()
        for _, writer in silent:
            await hang_up(writer)

    drive(bench, scenario)


SENTENCE = b"".join(
    json.dumps({"type": kind, "data": MONO, "payload_length": len(payload)}).encode()
    + b"\n"
    + payload
    for kind, payload in [("audio-start", b""), ("audio-chunk", CHUNK), ("audio-stop", b"")]
)


def test_many_connections_of_one_address_make_no_other_room_overloaded() -> None:
    bench = TcpBench(limits={"max_queued": 64})
    kitchen = DeviceKey("native", "kitchen")
    outlet = RecordingOutlet()
    bench.service.attach("native", outlet)

    async def scenario() -> None:
        hog = [await bench.dial("127.0.0.2") for _ in range(80)]
        for _, writer in hog:
            writer.write(SENTENCE)
        await until(lambda: len(bench.door.outcomes) == 80 - 64 - 1)
        bench.service.single(kitchen, bytes(6400), UtteranceStart())
        assert outlet.outcomes == []
        while not outlet.outcomes:
            await bench.answer()
        assert outlet.outcomes[0].kind is OutcomeKind.TRANSCRIPT
        for _, writer in hog:
            await hang_up(writer)

    drive(bench, scenario)


def test_where_all_are_busy_an_address_with_more_than_its_share_gives_way() -> None:
    bench = TcpBench(replace(BOUNDS, connections=3))

    async def scenario() -> None:
        hog = [await bench.dial("127.0.0.2") for _ in range(3)]
        for _, writer in hog:
            writer.write(SENTENCE.partition(b'{"type": "audio-stop"')[0])
        await until(lambda: sum(device.listening for device in bench.service.registry) == 3)
        async with bench.client() as client:
            await say(client)
            await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."
        told = [await read_rest(reader) for reader, _ in hog[2:]]
        assert [event.data["code"] for event in told[0]] == ["overloaded"]
        for _, writer in hog:
            await hang_up(writer)

    drive(bench, scenario)


def test_who_is_about_to_speak_keeps_its_place_in_a_crowd_of_one_address() -> None:
    bench = TcpBench(replace(BOUNDS, connections=3, fresh_s=60.0))

    async def scenario() -> None:
        hog = [await bench.dial("127.0.0.2") for _ in range(2)]
        for _, writer in hog:
            writer.write(SENTENCE.partition(b'{"type": "audio-stop"')[0])
        await until(lambda: sum(device.listening for device in bench.service.registry) == 2)
        async with bench.client() as client:
            await until(lambda: bench.door.connections == 3)
            reader, writer = await bench.dial("127.0.0.2")
            writer.write(SENTENCE)
            (event,) = await read_rest(reader)
            assert event.data["code"] == "overloaded"
            await say(client)
            await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."
            await hang_up(writer)
        for _, writer in hog:
            await hang_up(writer)

    drive(bench, scenario)


def test_of_refused_clients_only_some_are_waited_for() -> None:
    bench = TcpBench(replace(BOUNDS, connections=1, refused=1, linger_s=60.0))

    async def scenario() -> None:
        async with bench.client() as busy:
            await busy.write_event(AudioStart(**MONO).event())
            await until(lambda: len(bench.service.registry) == 1)
            first, second = [await bench.dial() for _ in range(2)]
            for reader, writer in (first, second):
                (event,) = await read_rest(reader)
                assert event.data["code"] == "overloaded"
                await hang_up(writer)

    drive(bench, scenario)


def test_of_idle_clients_that_make_room_only_some_are_waited_for() -> None:
    bench = TcpBench(replace(BOUNDS, connections=1, refused=1, linger_s=60.0))

    async def scenario() -> None:
        told, cut_off, last = [await bench.dial() for _ in range(3)]
        (event,) = await read_rest(told[0])
        assert event.data["code"] == "overloaded"
        assert await read_rest(cut_off[0]) == []
        assert bench.door.connections == 1
        for _, writer in (told, cut_off, last):
            await hang_up(writer)

    drive(bench, scenario)


def test_where_all_are_busy_a_newcomer_is_told_so() -> None:
    bench = TcpBench(replace(BOUNDS, connections=2))

    async def scenario() -> None:
        busy = [bench.client() for _ in range(2)]
        for client in busy:
            await client.connect()
            await client.write_event(AudioStart(**MONO).event())
        await until(lambda: len(bench.service.registry) == 2)
        async with bench.client() as newcomer:
            (event,) = await read_all(newcomer)
            assert event.data["code"] == "overloaded"
            assert "all 2 connections" in event.data["text"]
        for client in busy:
            await client.write_event(AudioChunk(**MONO, audio=CHUNK).event())
            await client.write_event(AudioStop().event())
            await bench.answer()
            assert await transcript_like_home_assistant(client) == "Turn on the light."
            await client.disconnect()

    drive(bench, scenario)
    assert bench.service.metrics.dropped == {"too_many_connections": 1}


async def describe_until_cut_off(port: int) -> None:
    """Ask and ask without ever reading an answer, with as little room for them as there can be."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.setblocking(False)
        await loop.sock_connect(client, (LOOPBACK, port))
        with suppress(ConnectionError):
            while True:
                await loop.sock_sendall(client, b'{"type": "describe"}\n' * 20_000)


def test_a_client_that_never_reads_is_cut_off_in_time_and_read_no_further() -> None:
    bench = TcpBench(replace(BOUNDS, write_s=0.3, outgoing_bytes=1 << 20))

    async def scenario() -> None:
        await describe_until_cut_off(bench.port)
        await until(lambda: bench.door.connections == 0)
        await is_served(bench)

    drive(bench, scenario)


def test_answers_that_nobody_takes_are_bounded() -> None:
    bench = TcpBench(replace(BOUNDS, outgoing_bytes=2000))

    async def scenario() -> None:
        await describe_until_cut_off(bench.port)

    drive(bench, scenario)


def test_a_flood_of_describes_leaves_room_for_others() -> None:
    bench = TcpBench()

    async def scenario() -> None:
        reader, writer = await bench.dial()
        drinking = asyncio.create_task(reader.read(-1))

        async def flood() -> None:
            while True:
                writer.write(b'{"type": "describe"}\n' * 1000)
                await writer.drain()

        flooding = asyncio.create_task(flood())
        for _ in range(3):
            await is_served(bench)
        for task in (flooding, drinking):
            task.cancel()
        await asyncio.wait({flooding, drinking})
        writer.transport.abort()

    drive(bench, scenario)


def test_a_defect_costs_one_connection_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = TcpBench()

    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(bench.service, "stop", stumble)
            async with bench.client() as client:
                await say(client)
                assert await read_all(client) == []
        await is_served(bench)

    drive(bench, scenario)
    assert "please report this" in caplog.text
    assert bench.service.budget.used_bytes == 0
