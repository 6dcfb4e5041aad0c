"""Faults of broker, network, clients and Home Assistant."""

from __future__ import annotations

import time

from benchmarks.faults.house import BATH, Fault, Hits, House

KILLED_S = 5.0


def kill_broker(house: House) -> None:
    """The broker is killed in mid-utterance and started again."""
    house.await_speech(BATH)
    house.broker.kill()
    time.sleep(KILLED_S)
    house.broker.start()


FAULTS: tuple[Fault, ...] = (
    Fault(
        f"broker killed in mid-utterance, started again after {KILLED_S:g} s",
        "broker",
        kill_broker,
        Hits.MQTT,
        says="the connection to .* broke",
    ),
)
