"""All rooms speaking at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from stt_mqtt.demo.connection import BrokerAddress
from stt_mqtt.demo.samples import SAMPLES, Sample
from stt_mqtt.demo.satellite import DemoSatellite, Exchange
from stt_mqtt.doors.native.topics import Topics

PAUSE_S = 3.0
"""Between an answer and the next command of the same room."""
STAGGER_S = 0.9
"""Between the first commands of two rooms: they overlap, but do not begin together."""


async def speak(
    broker: BrokerAddress, topics: Topics, heard: Callable[[Exchange], None]
) -> list[Exchange]:
    """Let a satellite per room speak its samples; `heard` is told of each answer as it comes.

    Returns the answers in the order of the samples. Ends within bounded time. Raises
    `BrokerError` if a satellite finds no broker or no service.
    """
    by_room: dict[str, list[Sample]] = {}
    for sample in SAMPLES:
        by_room.setdefault(sample.room, []).append(sample)

    async def room(number: int, samples: Sequence[Sample]) -> list[Exchange]:
        spoken = [(sample.text, await asyncio.to_thread(sample.pcm)) for sample in samples]
        exchanges: list[Exchange] = []
        async with DemoSatellite(samples[0].room, broker, topics) as satellite:
            await asyncio.sleep(number * STAGGER_S)
            for text, pcm in spoken:
                if exchanges:
                    await asyncio.sleep(PAUSE_S)
                exchange = await satellite.say(text, pcm)
                heard(exchange)
                exchanges.append(exchange)
        return exchanges

    rooms = [asyncio.create_task(room(*item)) for item in enumerate(by_room.values())]
    try:
        return [exchange for task in rooms for exchange in await task]
    finally:
        for task in rooms:
            task.cancel()
        await asyncio.gather(*rooms, return_exceptions=True)
