"""The reader of events against streams that may hold anything."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wyoming.event import Event

from stt_mqtt.doors.wyoming.messages import encode
from stt_mqtt.doors.wyoming.reader import Bounds, EventReader, PayloadBudget
from stt_mqtt.errors import BadPayloadError, OverloadedError, PayloadTooLargeError, UtteranceError
from tests.thorough import examples
from tests.virtual_time import run_in_virtual_time

SMALL = replace(Bounds(), header_bytes=200, data_bytes=100, payload_bytes=300)


@dataclass
class Stream:
    """Gives out `content` in pieces of at most `piece` bytes, then the end."""

    content: bytes
    piece: int = 1 << 20
    taken: int = 0

    async def read(self, n: int) -> bytes:
        assert 0 < n <= 64 * 1024
        part = self.content[self.taken : self.taken + min(n, self.piece)]
        self.taken += len(part)
        return part


def reader_of(
    stream: Stream, bounds: Bounds = SMALL, budget: PayloadBudget | None = None
) -> EventReader:
    return EventReader(
        cast(asyncio.StreamReader, stream), bounds, budget or PayloadBudget(1 << 20), lambda: None
    )


def read_all(stream: Stream, bounds: Bounds = SMALL) -> list[Event | type[UtteranceError]]:
    """The events of a stream, and the error that it ends with, if any."""

    async def read() -> list[Event | type[UtteranceError]]:
        reader, found = reader_of(stream, bounds), list[Event | type[UtteranceError]]()
        try:
            while (event := await reader.next()) is not None:
                found.append(event)
        except UtteranceError as error:
            found.append(type(error))
        return found

    return asyncio.run(read())


def header(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_events_come_out_as_the_library_writes_them(piece: int) -> None:
    written = [
        Event("describe"),
        Event("audio-chunk", {"rate": 16000}, bytes(range(256))),
        Event("ping", {"text": "Grüße\n"}),
    ]
    assert read_all(Stream(encode(*written), piece)) == written


def test_data_may_stand_in_the_header_beside_data_behind_it() -> None:
    behind = b'{"b": 2}'
    stream = Stream(header(type="x", data={"a": 1, "b": 1}, data_length=len(behind)) + behind)
    assert read_all(stream) == [Event("x", {"a": 1, "b": 2})]


@pytest.mark.parametrize("nothing", [None, 0])
def test_lengths_of_nothing_are_none(nothing: int | None) -> None:
    stream = Stream(header(type="x", data=None, data_length=nothing, payload_length=nothing))
    assert read_all(stream) == [Event("x")]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b'{"type": 7}',
        b'{"data": {}}',
        b'{"type": "x", "data": [1]}',
        b'{"type": "x", "data_length": -1}',
        b'{"type": "x", "payload_length": -5}',
        b'{"type": "x", "payload_length": 1.5}',
        b'{"type": "x", "payload_length": "3"}',
        b'{"type": "x", "payload_length": true}',
        b'{"type": "x", "data_length": 1e400}',
        b'{"type": "x", "data_length": 4}\nnull',
        b'{"type": "x", "data_length": 2}\n[]',
    ],
)
def test_what_is_no_event_is_a_bad_payload(line: bytes) -> None:
    assert read_all(Stream(line + b"\n")) == [BadPayloadError]


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_that_is_nested_without_end_is_a_bad_payload(opening: bytes) -> None:
    assert read_all(Stream(opening * 10_000 + b"\n"), Bounds()) == [BadPayloadError]


def test_a_number_that_is_longer_than_python_reads_is_a_bad_payload() -> None:
    line = b'{"type": "x", "data_length": ' + b"9" * 5000 + b"}\n"
    assert read_all(Stream(line), Bounds()) == [BadPayloadError]


@pytest.mark.parametrize(
    ("name", "cap"), [("data_length", SMALL.data_bytes), ("payload_length", SMALL.payload_bytes)]
)
def test_lengths_over_the_cap_are_refused_before_anything_is_read(name: str, cap: int) -> None:
    line = header(**{"type": "x", name: cap + 1})
    stream = Stream(line + bytes(1000), piece=len(line))
    assert read_all(stream) == [PayloadTooLargeError]
    assert stream.taken == len(line)


def test_a_payload_as_large_as_the_cap_is_taken() -> None:
    stream = Stream(header(type="x", payload_length=300) + bytes(300))
    assert read_all(stream) == [Event("x", {}, bytes(300))]


@pytest.mark.parametrize("length", [199, 200, 201, 5000])
def test_a_header_ends_within_its_cap(length: int) -> None:
    line = b'{"type": "x"' + b" " * (length - 13) + b"}"
    stream = Stream(line + b"\n")
    if length <= SMALL.header_bytes:
        assert read_all(stream) == [Event("x")]
    else:
        assert read_all(stream) == [PayloadTooLargeError]
        assert stream.taken <= SMALL.header_bytes + 1


@pytest.mark.parametrize(
    "half", [b'{"type": "x"', header(type="x", data_length=9) + b"{", header(type="x") + b"{"]
)
def test_half_an_event_at_the_end_is_an_end(half: bytes) -> None:
    assert UtteranceError not in read_all(Stream(half))
    assert read_all(Stream(half))[1:] == []


def test_large_payloads_share_their_memory_and_give_it_back() -> None:
    budget = PayloadBudget(100_000)
    large = header(type="x", payload_length=70_000)

    async def scenario() -> None:
        waiting = asyncio.StreamReader()
        waiting.feed_data(large + b"x")
        bounds = replace(Bounds(), event_s=30)
        first = asyncio.create_task(EventReader(waiting, bounds, budget, lambda: None).next())
        await asyncio.sleep(0)
        second = reader_of(Stream(large + bytes(70_000)), bounds, budget)
        with pytest.raises(OverloadedError):
            await second.next()
        small = reader_of(Stream(header(type="x", payload_length=9) + bytes(9)), bounds, budget)
        assert await small.next() is not None
        waiting.feed_data(bytes(69_999))
        assert await first is not None
        third = reader_of(Stream(large + bytes(70_000)), bounds, budget)
        assert await third.next() is not None

    asyncio.run(scenario())


class Broken:
    """A connection that was reset."""

    async def read(self, n: int) -> bytes:
        raise ConnectionResetError


def test_a_connection_that_breaks_is_an_end() -> None:
    async def scenario() -> None:
        broken = cast(asyncio.StreamReader, Broken())
        reader = EventReader(broken, SMALL, PayloadBudget(0), lambda: None)
        assert await reader.next() is None
        await reader.discard()

    asyncio.run(scenario())


def test_silence_is_an_end_once_nothing_is_pending_for_long_enough() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        asked: list[float | None] = []
        since: list[float | None] = [None, None, 0.0]

        def idle_since() -> float | None:
            asked.append(since[len(asked)])
            return asked[-1]

        bounds = replace(SMALL, idle_s=60.0)
        reader = EventReader(asyncio.StreamReader(), bounds, PayloadBudget(0), idle_since)
        assert await reader.next() is None
        assert asked == [None, None, 0.0]
        assert loop.time() == pytest.approx(120.0)

    run_in_virtual_time(scenario())


def test_an_event_has_to_be_complete_in_time() -> None:
    async def scenario() -> None:
        stream = asyncio.StreamReader()
        stream.feed_data(b'{"type": "audio-')
        reader = EventReader(stream, replace(SMALL, event_s=10.0), PayloadBudget(0), lambda: None)
        with pytest.raises(BadPayloadError, match="complete within"):
            await reader.next()
        assert asyncio.get_running_loop().time() == pytest.approx(10.0)

    run_in_virtual_time(scenario())


PARTS = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"\n", b'{"type":"x"}\n', b"[" * 50, b"{}", b'"', b"\\ud800"]),
    st.builds(
        lambda data, payload: header(type="x", data_length=data, payload_length=payload),
        st.integers(-5, 400),
        st.integers(-5, 400),
    ),
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(PARTS, max_size=12), st.integers(1, 500))
def test_anything_at_all_gives_events_and_then_an_end_or_an_error(
    parts: list[bytes], piece: int
) -> None:
    stream = Stream(b"".join(parts), piece)
    *events, last = read_all(stream) or [Event("none")]
    for event in (*events, last):
        if isinstance(event, Event):
            assert isinstance(event.type, str)
            assert len(event.payload or b"") <= SMALL.payload_bytes
        else:
            assert event is last
            assert issubclass(event, UtteranceError)
    if isinstance(last, Event):
        assert stream.taken == len(stream.content)


@settings(max_examples=examples(30), deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 500))
def test_no_more_is_held_than_one_event_may_have(noise: bytes, piece: int) -> None:
    most = SMALL.header_bytes + 1 + SMALL.data_bytes + SMALL.payload_bytes

    async def scenario() -> None:
        stream = Stream(noise, piece)
        reader, consumed = reader_of(stream), 0
        try:
            while (event := await reader.next()) is not None:
                consumed = stream.taken
                assert event.type is not None
        except UtteranceError:
            pass
        assert stream.taken - consumed <= most

    asyncio.run(scenario())
