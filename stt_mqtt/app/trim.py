"""Returns memory to the system when nothing was transcribed for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stt_mqtt.engine.resources import give_back_freed_memory

IDLE_BEFORE_TRIM_S = 20.0
"""Idle time of the model before its working memory is returned to the system."""


class Trim:
    """Waits for an idle time. `is_idle`: whether nothing is being transcribed."""

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        self._is_idle = is_idle
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """Something was transcribed: wait for the idle time from now on."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(IDLE_BEFORE_TRIM_S, self._give_back)

    def _give_back(self) -> None:
        if self._is_idle():
            give_back_freed_memory()
