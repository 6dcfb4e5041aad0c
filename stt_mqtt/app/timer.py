"""One timer of the event loop for all the deadlines of the line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class DeadlineTimer:
    """Calls `tick` when the earliest deadline is due.

    A deadline that moves later costs nothing: the timer fires early and is set again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline: Callable[[], float | None],
        tick: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._tick = tick
        self._handle: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Look at the deadline again; to be called after anything that may bring it forward."""
        deadline = self._deadline()
        if deadline is None:
            return
        if self._handle is not None:
            if self._handle.when() <= deadline:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(deadline, self._fire)

    def cancel(self) -> None:
        """Never fire again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        try:
            self._tick()
        finally:
            self.arm()
