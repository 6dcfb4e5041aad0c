"""What the doors wait for goes by the one timer, which reads what came in before it counts."""

from __future__ import annotations

import asyncio

from stt_mqtt.app.doors import LEFTOVERS_WINDOW_S, PROBE_TIMEOUT_S, Doors, Wishes
from stt_mqtt.config import Changes, Config
from stt_mqtt.service.line import Line
from tests.brokers import free_port
from tests.fakes import FakeClock, engine_facts


def test_the_silence_of_other_services_and_the_end_of_what_is_retained_are_deadlines() -> None:
    clock = FakeClock()
    config = Config.model_validate(
        {"mqtt": {"host": "127.0.0.1", "port": free_port()}, "wyoming": {"enabled": False}}
    )
    settled: list[None] = []

    async def scenario() -> None:
        online = asyncio.Event()
        wishes = Wishes(
            reload=lambda: Changes((), ()),
            set_rung=lambda _: None,
            settled=lambda: settled.append(None),
            stop=lambda: None,
            give_up=lambda _: None,
            online=online,
        )
        doors = Doors(Line(config, engine_facts(), clock), clock, None, wishes)
        assert doors.deadline is None
        doors._on_connected()
        assert settled
        assert doors.deadline == clock.now() + PROBE_TIMEOUT_S
        doors.tick()
        assert not online.is_set()
        clock.advance(PROBE_TIMEOUT_S)
        doors.tick()
        assert online.is_set()
        assert doors.deadline == clock.now() + LEFTOVERS_WINDOW_S
        clock.advance(LEFTOVERS_WINDOW_S)
        doors.tick()
        assert doors.deadline is None
        await doors.close()

    asyncio.run(scenario())
