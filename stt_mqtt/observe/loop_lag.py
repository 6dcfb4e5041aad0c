"""Measures how late the event loop is."""

from __future__ import annotations

import asyncio

from stt_mqtt.observe.histogram import Histogram

INTERVAL_S = 1.0
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the histogram in seconds."""


class LoopLag:
    """How late a timer of the event loop is, measured every `INTERVAL_S`.

    While nothing runs on the loop except short calls, this is about a millisecond. It uses the
    clock of the loop, which stops while the machine sleeps.
    """

    def __init__(self) -> None:
        self.histogram = Histogram(LAGS)
        self.last_s = 0.0
        """The last measurement."""

    async def measure(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.last_s = max(loop.time() - due_at, 0.0)
            self.histogram.observe(self.last_s)
