"""What goes to one client, over a transport that a test empties."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from stt_mqtt.doors.wyoming.reader import Bounds
from stt_mqtt.doors.wyoming.writer import EventWriter, Peer
from tests.virtual_time import run_in_virtual_time

BOUNDS = replace(Bounds(), write_s=10.0, linger_s=1.0, outgoing_bytes=250)


class Sink:
    """A writer, its transport, and the peer behind it."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self.ended = self.closed = False
        self.hung_up_at: float | None = None
        self.transport = self
        writer = cast(asyncio.StreamWriter, self)
        self.out = EventWriter(Peer("x", asyncio.StreamReader(), writer, self._hang_up), BOUNDS)

    def write(self, data: bytes) -> None:
        self.waiting_bytes += len(data)

    def write_eof(self) -> None:
        self.ended = True
        raise OSError("not connected")

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def _hang_up(self) -> None:
        self.closed = True
        if self.hung_up_at is None:
            self.hung_up_at = asyncio.get_running_loop().time()


def run(scenario: Callable[[Sink], object]) -> Sink:
    """Let a scenario happen to a sink at 0 s, and an hour pass."""

    async def perform() -> Sink:
        sink = Sink()
        scenario(sink)
        await asyncio.sleep(3600)
        return sink

    return run_in_virtual_time(perform())


def test_a_client_that_takes_nothing_is_hung_up_on_after_the_time_to_write() -> None:
    sink = run(lambda sink: sink.out.send(bytes(100)))
    assert sink.hung_up_at == pytest.approx(10.0)


def test_a_client_that_takes_what_was_due_gets_the_time_again_for_what_came_since() -> None:
    def scenario(sink: Sink) -> None:
        sink.out.send(bytes(100))
        sink.out.send(bytes(100))
        sink.waiting_bytes = 100

    assert run(scenario).hung_up_at == pytest.approx(20.0)


def test_a_client_that_took_everything_stays() -> None:
    async def scenario() -> None:
        sink = Sink()
        sink.out.send(bytes(100))
        sink.waiting_bytes = 0
        await asyncio.sleep(3600)
        assert not sink.closed
        sink.out.send(bytes(10))
        await asyncio.sleep(3600)
        assert sink.hung_up_at == pytest.approx(3610.0)

    run_in_virtual_time(scenario())


def test_more_than_may_wait_is_not_sent_and_the_client_hung_up_on() -> None:
    def scenario(sink: Sink) -> None:
        sink.out.send(bytes(200))
        sink.out.send(bytes(51))

    sink = run(scenario)
    assert (sink.waiting_bytes, sink.hung_up_at) == (200, 0.0)


def test_after_the_last_word_nothing_is_sent_and_the_client_may_linger_for_a_moment() -> None:
    def scenario(sink: Sink) -> None:
        sink.out.finish()
        sink.out.finish()
        sink.out.send(b"too late")
        assert sink.ended
        assert not sink.closed

    sink = run(scenario)
    assert sink.waiting_bytes == 0
    assert sink.hung_up_at == pytest.approx(1.0)


def test_closing_lets_out_what_waits() -> None:
    async def scenario() -> None:
        sink = Sink()
        sink.out.send(bytes(100))
        sink.out.close()
        assert sink.closed
        assert sink.hung_up_at is None

    run_in_virtual_time(scenario())
